"""Options that several commands share, and what the command line leaves for its commands to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsrcli.cli.values import Device, Size, Tile
from vsrcli.engine.offer import ENGINES, PRECISIONS

VERBOSITY = "vsrcli.verbosity"  # key in the context's meta: how often -v was given
LOG = "vsrcli.log"  # key in the context's meta: what closes the log file
ARGUMENTS = "vsrcli.arguments"  # key in the context's meta: the command line as typed


def is_typed(context: click.Context, option: str) -> bool:
    """Whether an option stands on the command line itself, not in a settings file or the environment."""
    return context.get_parameter_source(option.removeprefix("--")) is ParameterSource.COMMANDLINE


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


def log_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--log``: what happened, for a report or for the next morning."""

    def begin(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
        if file is not None:
            from vsrcli.cli.log import begin_log

            context.meta[LOG] = begin_log(file, context.meta.get(ARGUMENTS, ()))

    return click.option(
        "--log",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=begin,
        expose_value=False,
        help="Add everything that is said and done, with times, to this file.",
    )(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-q``: errors only."""
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")(command)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--gpu`` (as ``device``), ``--precision`` and ``--engine``: where and how a network computes."""
    for option in (
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            default="auto",
            show_default=True,
            help="What computes; auto: OpenVINO on a CPU, if it is installed, else Keras.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            show_default=True,
            help="Of the network's features; auto: fp16 on a GPU, fp32 or bf16 on a CPU.",
        ),
        click.option(
            "-g",
            "--gpu",
            "device",
            type=Device(),
            default="auto",
            show_default=True,
            metavar="auto|cpu|N",
            help="Which GPU, or the CPU.",
        ),
    ):
        command = option(command)
    return command


def memory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--tile`` and ``--max-memory``: how much is computed at a time."""
    for option in (
        click.option(
            "--max-memory",
            type=Size(),
            metavar="SIZE",
            help="What all of it may take, such as 4G or 800M; tiles are chosen to fit. Default: 75 % of "
            "what is free.",
        ),
        click.option(
            "-t",
            "--tile",
            type=Tile(),
            default="auto",
            show_default=True,
            metavar="auto|none|N",
            help="Side of a tile in source pixels; auto: what memory holds.",
        ),
    ):
        command = option(command)
    return command
