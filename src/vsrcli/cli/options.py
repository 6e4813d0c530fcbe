"""Options that every command may have, and how to tell where an option's value comes from.

The constants are keys in the context's meta, where options leave what the program itself needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsrcli.cli.help import option

VERBOSITY = "vsrcli.verbosity"  # how often -v was given
LOG = "vsrcli.log"  # function that closes the log file
ARGUMENTS = "vsrcli.arguments"  # the command line as typed

_PRECEDENCE = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def from_command_line(context: click.Context, option: str) -> bool:
    """Return whether an option was typed, not set by a settings file or the environment."""
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def highest_precedence(context: click.Context | None, alternatives: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of mutually exclusive options that come from the source of highest precedence.

    The command line precedes the environment, which precedes settings files. The caller refuses two options
    from the same source.

    Args:
        context: of the command; None if the sources are unknown: then all options that are set are returned.
        alternatives: values by parameter name; None: not set.
    """
    values = {name: value for name, value in alternatives.items() if value is not None}
    if context is not None:
        for source in _PRECEDENCE:
            matches = {name: values[name] for name in values if context.get_parameter_source(name) is source}
            if matches:
                return matches
    return values


def combine_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Combine several ``click.option`` into one decorator; help lists them in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v``: more messages. Given twice, errors of any command come with a traceback."""

    def store(context: click.Context, parameter: click.Parameter, count: int) -> int:
        context.meta[VERBOSITY] = count
        return count

    return option(
        "-v",
        "--verbose",
        "Print more; give it twice for a traceback with errors.",
        count=True,
        callback=store,
        is_eager=True,
        group="Messages",
    )(command)


def log_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--log``: messages, actions and commands in a file, for bug reports and unattended runs."""

    def start(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
        if file is not None:
            from vsrcli.cli.reporters import start_log

            context.meta[LOG] = start_log(file, context.meta.get(ARGUMENTS, ()))

    return option(
        "--log",
        "Append all messages and actions, with times, to this file.",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=start,
        expose_value=False,
        group="Messages",
    )(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-q``: print errors only."""
    return option("-q", "--quiet", "Print errors only.", is_flag=True, group="Messages")(command)
