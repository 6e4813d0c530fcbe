"""Which network computes: a preset, or a model by its name."""

from __future__ import annotations

import click

from vsrcli.cli.options import combine_options, highest_precedence
from vsrcli.cli.types import NetworkPresetParam
from vsrcli.errors import UsageError
from vsrcli.models.architectures import NETWORK_PRESETS
from vsrcli.pipeline.job import Options

_DEFAULT = Options()
network_options = combine_options(
    click.option(
        "--preset",
        type=NetworkPresetParam(),
        help="How much to compute: "
        + ", ".join(f"{name} ({model})" for name, model in NETWORK_PRESETS.items())
        + "; the encoder's effort follows (its own one: `upscale -e preset=NAME`).  [default: balanced]",
    ),
    click.option(
        "-m",
        "--model",
        help=f"Instead of a preset: see `vsr models`, or a .weights.h5 file.  [default: {_DEFAULT.model}]",
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
        return NETWORK_PRESETS[preset], preset
    return given.get("model", _DEFAULT.model), _DEFAULT.encode.effort
