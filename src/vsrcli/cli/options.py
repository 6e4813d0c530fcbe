"""Options that every command may have; where an option's value comes from, and which options apply.

The constants are keys in the context's meta, where options leave what the program itself needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from vsrcli.cli.help import option
from vsrcli.errors import UsageError

VERBOSITY = "vsrcli.verbosity"  # how often -v was given
LOG = "vsrcli.log"  # function that closes the log file
ARGUMENTS = "vsrcli.arguments"  # the command line as typed


class Restriction(NamedTuple):
    """An option that applies to some uses of a command only.

    Attributes:
        uses: that it applies to, any of them.
        neutral: its value elsewhere.
        error: where it is typed for another use; empty: a typed value stays, and the command decides.
    """

    uses: tuple[str, ...]
    neutral: Any
    error: str = ""


_NOT_FOR_PAGES = "is for a video or an image: a page"
_FOR_VIDEOS = "--codec and --crf are for a video: name one with -o, such as compared.mp4"
_FOR_EXISTING = "is for low resolution that exists already: add --degrade none"
_RESTRICTIONS: dict[str, dict[str, Restriction]] = {
    "upscale": {"format": Restriction(("stdout",), None)},
    "batch": {"fps": Restriction(("images",), None)},
    "bench": {
        "size": Restriction(
            ("generated",), None, "--size is for the generated video: leave it or --input out"
        ),
    },
    "compare": {
        "at": Restriction(
            ("page", "image"), (), "--at is a time of an image or a page: a video has --start and --seconds"
        ),
        "layout": Restriction(("video", "image"), None, f"--layout {_NOT_FOR_PAGES} lets its reader choose"),
        "zoom": Restriction(("video", "image"), None, f"--zoom {_NOT_FOR_PAGES} lets its reader choose"),
        "no_labels": Restriction(
            ("video", "image"), False, f"--no-labels {_NOT_FOR_PAGES} would not say what it shows"
        ),
        "codec": Restriction(("video",), None, _FOR_VIDEOS),
        "crf": Restriction(("video",), None, _FOR_VIDEOS),
        "as_json": Restriction(
            ("scores",),
            False,
            "--json prints figures of all frames: they need --reference, and a page or a video",
        ),
    },
    "evaluate": {
        "truth": Restriction(("existing",), None, f"--truth {_FOR_EXISTING}"),
        "phase": Restriction(("existing",), None, f"--phase {_FOR_EXISTING}"),
        "crfs": Restriction(("recompressed",), ("none",)),
        "card": Restriction(("degraded",), False),
        "ffmpeg": Restriction(("vmaf",), None, "--ffmpeg measures VMAF: add --vmaf, or leave it out"),
        "scale": Restriction(("named",), None),  # weight files have their own
    },
}
_PRECEDENCE = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
TYPED = len(_PRECEDENCE)  # see `precedence`


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


def precedence(context: click.Context, option: str) -> int:
    """Return the rank of the source of an option's value: ``TYPED`` is the highest, 0 that of a default."""
    source = context.get_parameter_source(option)
    return TYPED - _PRECEDENCE.index(source) if source in _PRECEDENCE else 0


def check_applicable(context: click.Context, values: dict[str, Any], *uses: str) -> None:
    """Reset options of settings files and the environment that do not apply; refuse those that were typed.

    Args:
        context: of the command.
        values: by parameter name; changed.
        uses: what the command is used for.

    Raises:
        UsageError: such an option was typed.
    """
    for name, restriction in _RESTRICTIONS[context.command.name or ""].items():
        if values[name] == restriction.neutral or set(uses) & set(restriction.uses):
            continue
        if not from_command_line(context, name):
            values[name] = restriction.neutral
        elif restriction.error:
            raise UsageError(restriction.error)


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
        if file is not None and not context.resilient_parsing:  # a shell completes the line
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
