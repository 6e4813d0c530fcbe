"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vsrcli.cli.failure import VERBOSITY


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-v``: more words; twice: tracebacks."""

    def remember(context: click.Context, parameter: click.Parameter, count: int) -> int:
        context.meta[VERBOSITY] = count
        return count

    return click.option(
        "-v",
        "--verbose",
        count=True,
        callback=remember,
        is_eager=True,
        help="Say more: ffmpeg, timings. Twice: a traceback with errors.",
    )(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-q``: errors only."""
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")(command)
