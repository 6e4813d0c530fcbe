"""What is asked of an encoder: typed options hold or are refused, those of a settings file give way."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vsrcli.cli.options import from_command_line, highest_precedence
from vsrcli.media.encoder_options import apply_preset
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.preferences import Preferences

_SETTINGS = ("crf", "pix_fmt", "encode_preset", "codec")
# What is left out where a film, its container or its encoder cannot have it; then, all of it.
_STEPS = (("crf",), ("pix_fmt",), ("crf", "pix_fmt"), ("crf", "encode_preset", "codec"), _SETTINGS)


def preferred(context: click.Context | None, preset: str | None = None, **asked: Any) -> EncodeOptions:
    """The options of an encoder, with what to do where they do not suit.

    Args:
        context: of the command; None: everything counts as typed.
        preset: name of one of ``PRESETS``.
        asked: fields of ``EncodeOptions``.

    Raises:
        UsageError: a preset and another encoder, from the same place.
    """
    rivals = {"encode_preset": preset, "codec": asked["codec"]}
    asked |= dict.fromkeys(rivals) | highest_precedence(context, rivals)
    for name in ("crf", "pix_fmt"):  # farther away than a preset, they are meant for another encoder
        pair = {"encode_preset": asked["encode_preset"], name: asked.get(name)}
        asked[name] = highest_precedence(context, pair).get(name)

    def without(*names: str) -> EncodeOptions:
        left = {**asked, **dict.fromkeys(names)}
        return apply_preset(left.pop("encode_preset"), EncodeOptions(**left))

    everything, otherwise, fps = without(), {}, False
    if context is not None:
        fps = context.params.get("fps") is not None and not from_command_line(context, "fps")
        loose = [
            name for name in _SETTINGS if asked[name] is not None and not from_command_line(context, name)
        ]
        for step in _STEPS:
            names = [name for name in loose if name in step]
            otherwise[", ".join(_spelled(name, asked[name]) for name in names)] = without(*names)
        otherwise.pop("", None)  # nothing to leave out
    if not otherwise and not fps:
        return everything
    return Preferences(**asdict(everything), otherwise=tuple(otherwise.items()), fps=fps)


def _spelled(name: str, value: str | float) -> str:
    return f"--{name.replace('_', '-')} {value if isinstance(value, str) else f'{value:g}'}"
