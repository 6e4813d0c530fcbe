"""The library's options for the values of a command line that upscales.

:func:`build_options` reads what :data:`~vsrcli.cli.upscale_options.upscale_options` adds to a command. Of
options that exclude each other the one of highest precedence holds, see
:func:`~vsrcli.cli.options.highest_precedence`; two from the same source are an error. Encoder options that
were typed hold or are refused; those of a settings file are left out where they do not suit an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import click

from vsrcli.cli.options import from_command_line, highest_precedence
from vsrcli.errors import UsageError
from vsrcli.frames.geometry import SizeRequest
from vsrcli.inference.looks import offers_look
from vsrcli.media.encoder_options import apply_preset
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.models.architectures import DEFAULT_MODEL, MODEL_PRESETS
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.tuned import TunedSetting

_DEFAULT = Options()


def build_options(
    *,
    scale: Fraction | None,
    size: SizeRequest | None,
    width: int | None,
    height: int | None,
    same_size: bool,
    fit: bool | None,
    chain: bool,
    preset: str | None,
    model: tuple[str, ...],
    look: str | None,
    strength: float,
    keep_color: bool | None,
    tile: str | int,
    overlap: int | None,
    device: str,
    precision: str,
    engine: str,
    max_memory: int | None,
    fps: Fraction | None,
    keep_going: bool,
    no_deinterlace: bool,
    ffmpeg: str | None,
    encode_preset: str | None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    frames: int | None = None,
    segment: str | int = _DEFAULT.segment,
    no_resume: bool = False,
    **encode: Any,
) -> Options:
    """Return the library's options for the values of a command line.

    Args:
        encode: further fields of ``EncodeOptions``.

    Raises:
        click.BadParameter: the time range ends before it begins.
        UsageError: two options of the same precedence exclude each other.
    """
    if end is not None and end <= (start or 0):
        raise click.BadParameter(
            f"{float(end):g} s is not after the start ({float(start or 0):g} s): give a later one",
            param_hint="--end",
        )
    context = click.get_current_context(silent=True)
    network, effort = resolve_network(context, preset, model)
    requested_size, same_size = _resolve_size(context, scale, size, width, height, same_size, fit)
    if device not in ("auto", "cpu") and "engine" not in highest_precedence(
        context, {"device": device, "engine": engine}
    ):
        engine = _DEFAULT.engine  # one from a settings file may support CPUs only
    return Options(
        scale=scale or _DEFAULT.scale,
        size=requested_size,
        same_size=same_size,
        chain=chain,
        model=network,
        look=resolve_look(context, look, network),
        strength=strength,
        keep_color=keep_color,
        tile=tile,
        overlap=overlap,
        device=device,
        precision=precision,
        engine=engine,
        max_memory=max_memory,
        encode=build_encode_options(context, encode_preset, **encode, effort=effort),
        start=start,
        end=end,
        frames=frames,
        fps=fps,
        deinterlace=not no_deinterlace,
        segment=segment,
        resume=not no_resume,
        keep_going=keep_going,
        ffmpeg=ffmpeg,
        tuned=_read_tuned(context),
    )


def _read_tuned(context: click.Context | None) -> tuple[TunedSetting, ...]:
    """Return what ``vsr tune`` has written into the settings."""
    if context is None:
        return ()
    from vsrcli.cli.main import load_config

    return load_config(context).tuned


def resolve_network(
    context: click.Context | None, preset: str | None, model: str | Sequence[str] | None
) -> tuple[str | tuple[str, ...], str]:
    """Return the name of the model, or those of several, and the encoder's effort.

    Args:
        context: of the command; None: all values count as typed.
        preset, model: values of the options; an empty ``model`` is none.

    Raises:
        UsageError: both are set, from the same source.
    """
    models = [model] if isinstance(model, str) else list(model or ())
    requested = highest_precedence(context, {"preset": preset, "model": models or None})
    if len(requested) > 1:
        spelling = " ".join(f"--model {each}" for each in models)
        raise UsageError(f"--preset {preset} and {spelling} both choose the network; give one of them")
    if preset is not None and "preset" in requested:
        return MODEL_PRESETS[preset], preset
    if "model" not in requested:
        return DEFAULT_MODEL, _DEFAULT.encode.effort
    return models[0] if len(models) == 1 else tuple(models), _DEFAULT.encode.effort


def resolve_look(context: click.Context | None, look: str | None, network: str | Sequence[str]) -> str | None:
    """Return the requested look, or None where it comes from a setting that a chosen model does not have.

    Args:
        context: of the command; None: all values count as typed.
        look: value of the option.
        network: name of the model, or those of several.
    """
    if look is None or context is None:
        return look
    parameters = {name: context.params.get(name) or None for name in ("preset", "model")}
    if "look" in highest_precedence(context, {"look": look, **parameters}):
        return look
    models = [network] if isinstance(network, str) else network
    return look if all(offers_look(each, look) for each in models) else None


def build_encode_options(
    context: click.Context | None, encode_preset: str | None = None, **requested: Any
) -> EncodeOptions:
    """Return the options of an encoder; those that were not typed are optional.

    Args:
        context: of the command; None: all values count as typed.
        encode_preset: name of one of ``PRESETS``.
        requested: fields of ``EncodeOptions``.

    Raises:
        UsageError: a preset and another encoder, from the same source.
    """
    alternatives = {"encode_preset": encode_preset, "codec": requested["codec"]}
    requested |= dict.fromkeys(alternatives) | highest_precedence(context, alternatives)
    for name in ("crf", "pix_fmt"):  # with lower precedence than a preset they are for another encoder
        pair = {"encode_preset": requested["encode_preset"], name: requested.get(name)}
        requested[name] = highest_precedence(context, pair).get(name)
    options = EncodeOptions(**requested)
    apply_preset(options.encode_preset, options)  # refuses a preset and another encoder
    if context is None:
        return options
    segment = "shots" if context.params.get("segment") == "shots" else None  # the others fit every output
    values = {**requested, "fps": context.params.get("fps"), "segment": segment}
    optional = {
        name
        for name in ("crf", "pix_fmt", "encode_preset", "codec", "fps", "segment")
        if values[name] is not None and not from_command_line(context, name)
    }
    return replace(options, optional=frozenset(optional))


def _resolve_size(
    context: click.Context | None,
    scale: Fraction | None,
    size: SizeRequest | None,
    width: int | None,
    height: int | None,
    same_size: bool,
    fit: bool | None,
) -> tuple[SizeRequest | None, bool]:
    """Return the requested size, None if a scale factor was requested or nothing; and ``same_size``."""
    requested = highest_precedence(
        context,
        {"scale": scale, "size": size, "width": width, "height": height, "same_size": same_size or None},
    )
    if [*requested] == ["width", "height"]:
        raise UsageError(
            f"--width and --height: give one of them, the other follows; or both as --size {width}x{height}"
        )
    spellings = " and ".join(f"--{name.replace('_', '-')}" for name in requested)
    if len(requested) > 1:
        raise UsageError(f"{spellings} all say how large; give one of them")
    if fit is not None and "size" not in requested and (context is None or from_command_line(context, "fit")):
        raise UsageError(
            f"--{'fit' if fit else 'fill'} needs --size{f', not {spellings}' if spellings else ''}"
        )
    if "size" in requested:
        return replace(requested["size"], fill=fit is False), False
    if not requested or "scale" in requested:
        return None, False
    if "same_size" in requested:
        return None, True
    return SizeRequest(requested.get("width"), requested.get("height")), False
