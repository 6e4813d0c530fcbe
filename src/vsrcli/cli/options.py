"""Options that several commands share, and what the command line leaves for its commands to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

VERBOSITY = "vsrcli.verbosity"  # key in the context's meta: how often -v was given
ARGUMENTS = "vsrcli.arguments"  # key in the context's meta: the command line as typed


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-v``: more words; twice: tracebacks, whatever the command itself makes of it."""

    def remember(context: click.Context, parameter: click.Parameter, count: int) -> int:
        context.meta[VERBOSITY] = count
        return count

    return click.option(
        "-v",
        "--verbose",
        count=True,
        callback=remember,
        is_eager=True,  # known even if another option turns out to be wrong
        help="Say more; twice: a traceback with errors.",
    )(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-q``: errors only."""
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")(command)
