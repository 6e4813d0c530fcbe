"""Options that several commands share, and what the command line leaves for its commands to read.

Which network computes: a preset, or a model by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsrcli.cli.help import option
from vsrcli.cli.types import DeviceParam, NetworkPresetParam, SizeParam, TileParam
from vsrcli.errors import UsageError
from vsrcli.inference.selection import ENGINES, PRECISIONS
from vsrcli.models.architectures import MODEL_PRESETS
from vsrcli.pipeline.job import Options

VERBOSITY = "vsrcli.verbosity"  # key in the context's meta: how often -v was given
LOG = "vsrcli.log"  # key in the context's meta: what closes the log file
ARGUMENTS = "vsrcli.arguments"  # key in the context's meta: the command line as typed


_PLACES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def from_command_line(context: click.Context, option: str) -> bool:
    """Whether an option stands on the command line itself, not in a settings file or the environment."""
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def highest_precedence(context: click.Context | None, rivals: Mapping[str, Any]) -> dict[str, Any]:
    """Of options that exclude each other, those that were given where it counts most.

    That is on the command line; else in the environment; else in a settings file. Two of the same place are
    for the caller to refuse.

    Args:
        context: of the command; None: where they come from is not known.
        rivals: values by parameter; those that are None were not given.
    """
    given = {name: value for name, value in rivals.items() if value is not None}
    if context is not None:
        for place in _PLACES:
            there = {name: given[name] for name in given if context.get_parameter_source(name) is place}
            if there:
                return there
    return given


def combine_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several ``click.option`` as one decorator; help lists them in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-v``: more words; twice: tracebacks, whatever the command itself makes of it."""

    def remember(context: click.Context, parameter: click.Parameter, count: int) -> int:
        context.meta[VERBOSITY] = count
        return count

    return option(
        "-v",
        "--verbose",
        count=True,
        callback=remember,
        is_eager=True,  # known even if another option turns out to be wrong
        group="Messages",
        help="Print more; give it twice for a traceback with errors.",
    )(command)


def log_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--log``: what happened, for a report or for the next morning."""

    def begin(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
        if file is not None:
            from vsrcli.cli.reporters import start_log

            context.meta[LOG] = start_log(file, context.meta.get(ARGUMENTS, ()))

    return option(
        "--log",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=begin,
        expose_value=False,
        group="Messages",
        help="Append all messages and actions, with times, to this file.",
    )(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-q``: errors only."""
    return option("-q", "--quiet", is_flag=True, group="Messages", help="Print errors only.")(command)


engine_options = combine_options(
    option(
        "-g",
        "--gpu",
        "device",
        type=DeviceParam(),
        default="auto",
        show_default=True,
        metavar="auto|cpu|N",
        group="Computing",
        help="Compute on this GPU, by number, or on the CPU.",
    ),
    option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        metavar="TYPE",
        group="Computing",
        help="Compute in fp32, fp16 or bf16; auto: fp16 on a GPU, fp32 or bf16 on a CPU.",
    ),
    option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        show_default=True,
        metavar="NAME",
        group="Computing",
        help="Compute with keras or openvino; auto: OpenVINO on a CPU if it is installed, else Keras.",
    ),
)
"""``--gpu`` (as ``device``), ``--precision`` and ``--engine``: where and how a network computes."""

memory_options = combine_options(
    option(
        "-t",
        "--tile",
        type=TileParam(),
        default="auto",
        show_default=True,
        metavar="auto|none|N",
        group="Computing",
        help="Split frames into tiles of N source pixels a side; auto: as large as memory allows.",
    ),
    option(
        "--max-memory",
        type=SizeParam(),
        metavar="SIZE",
        group="Computing",
        help="Limit memory, such as 4G or 800M; tiles are chosen to fit.  [default: 75 % of free memory]",
    ),
)
"""``--tile`` and ``--max-memory``: how much is computed at a time."""


_DEFAULT = Options()
network_options = combine_options(
    option(
        "--preset",
        type=NetworkPresetParam(),
        metavar="NAME",
        group="Model",
        help="Choose between speed and quality: "
        + ", ".join(f"{name} ({model})" for name, model in MODEL_PRESETS.items())
        + ". Also sets the effort of the encoder.  [default: balanced]",
    ),
    option(
        "-m",
        "--model",
        metavar="NAME",
        group="Model",
        help="Use this model instead of a preset: a name from `vsr models`, or a .weights.h5 file.  "
        f"[default: {_DEFAULT.model}]",
    ),
)


def resolve_network(context: click.Context | None, preset: str | None, model: str | None) -> tuple[str, str]:
    """The one network that was named, and the encoder's effort.

    Args:
        context: of the command; None: everything counts as typed.
        preset, model: values of ``network_options``.

    Raises:
        UsageError: both, from the same place.
    """
    given = highest_precedence(context, {"preset": preset, "model": model})
    if len(given) > 1:
        raise UsageError(f"--preset {preset} and --model {model} both choose the network; give one of them")
    if preset is not None and "preset" in given:
        return MODEL_PRESETS[preset], preset
    return given.get("model", _DEFAULT.model), _DEFAULT.encode.effort
