"""Options of the commands that upscale, and the library's options made of them.

:func:`build_options` reads what :data:`upscale_options` adds to a command. Of options that exclude each other
the one of highest precedence holds, see :func:`~vsrcli.cli.options.highest_precedence`; two from the same
source are an error. Encoder options that were typed hold or are refused; those of a settings file are left
out where they do not suit an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import click

from vsrcli.cli.help import option
from vsrcli.cli.options import combine_options, from_command_line, highest_precedence
from vsrcli.cli.types import (
    DeviceParam,
    ModelParam,
    NetworkPresetParam,
    RateParam,
    ScaleParam,
    ScreenParam,
    SegmentParam,
    SettingParam,
    SizeParam,
    TileParam,
    TimeParam,
)
from vsrcli.errors import UsageError
from vsrcli.frames.geometry import MAX_SCALE, SizeRequest
from vsrcli.inference.selection import ENGINES, PRECISIONS
from vsrcli.media.encoder_options import PRESETS, apply_preset
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.models.architectures import MODEL_PRESETS
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.tuned import TunedSetting

_DEFAULT = Options()

engine_options = combine_options(
    option(
        "-g",
        "--gpu",
        "device",
        "Compute on this GPU, by number, or on the CPU.",
        type=DeviceParam(),
        default="auto",
        metavar="auto|cpu|N",
        group="Computing",
    ),
    option(
        "--precision",
        "Compute in fp32, fp16 or bf16; auto: fp16 on a GPU, fp32 or bf16 on a CPU.",
        type=click.Choice(PRECISIONS),
        default="auto",
        metavar="TYPE",
        group="Computing",
    ),
    option(
        "--engine",
        "Compute with openvino, onnxruntime or keras; auto: the first one installed, on a GPU keras first.",
        type=click.Choice(ENGINES),
        default="auto",
        metavar="NAME",
        group="Computing",
    ),
)
"""``--gpu`` (as ``device``), ``--precision`` and ``--engine``."""

memory_options = combine_options(
    option(
        "-t",
        "--tile",
        "Split frames into tiles of N source pixels a side; auto: as large as memory allows.",
        type=TileParam(),
        default="auto",
        metavar="auto|none|N",
        group="Computing",
    ),
    option(
        "--max-memory",
        "Limit memory, such as 4G or 800M; tiles are chosen to fit.  [default: 75 % of free memory]",
        type=SizeParam(),
        metavar="SIZE",
        group="Computing",
    ),
)
"""``--tile`` and ``--max-memory``."""

_preset_option = option(
    "--preset",
    "Choose between speed and quality: "
    + ", ".join(f"{name} ({model})" for name, model in MODEL_PRESETS.items())
    + ". Also sets the effort of the encoder.  [default: balanced]",
    type=NetworkPresetParam(),
    metavar="NAME",
    group="Model",
)
_MODEL_HELP = (
    "Use this model instead of a preset: a name from `vsr models`, or a network's file{several}.  "
    f"[default: {_DEFAULT.model}]"
)

network_options = combine_options(
    _preset_option,
    option(
        "-m",
        "--model",
        _MODEL_HELP.format(several=""),
        type=ModelParam(),
        metavar="NAME",
        group="Model",
    ),
)
"""``--preset`` and ``--model``; see :func:`resolve_network`."""

look_options = combine_options(
    option(
        "--strength",
        "Blend the network's picture with Lanczos of the source: 0 is Lanczos, 1 the network.",
        type=click.FloatRange(0, 1),
        default=_DEFAULT.strength,
        metavar="0..1",
        group="Model",
    ),
    option(
        "--keep-color/--no-keep-color",
        "Keep the colours of the source, whatever the network makes.  [default: with models of others]",
        default=None,
        group="Model",
    ),
)
"""``--strength`` and ``--keep-color``."""

_model_options = combine_options(
    _preset_option,
    option(
        "-m",
        "--model",
        _MODEL_HELP.format(several="; several run one after the other"),
        type=ModelParam(),
        multiple=True,
        metavar="NAME",
        group="Model",
    ),
    look_options,
)
_size_options = combine_options(
    option(
        "-s",
        "--scale",
        f"Upscale by this factor, from 1 (models that restore) to {MAX_SCALE}.  [default: {_DEFAULT.scale}]",
        type=ScaleParam(MAX_SCALE),
        group="Size",
    ),
    option(
        "--size",
        "Upscale to fit this size instead, such as 1920x1080, 1080p or 4k.",
        type=ScreenParam(),
        metavar="WxH",
        group="Size",
    ),
    option(
        "--width",
        "Upscale to W pixels wide; the height follows.",
        type=click.IntRange(min=1),
        metavar="W",
        group="Size",
    ),
    option(
        "--height",
        "Upscale to H pixels high; the width follows.",
        type=click.IntRange(min=1),
        metavar="H",
        group="Size",
    ),
    option(
        "--same-size",
        "Keep the size of IN: run the network, then resample its result back.",
        is_flag=True,
        group="Size",
    ),
    option(
        "--fit/--fill",
        "fit",
        "With --size: keep the whole frame, without bars (default), or fill the size and crop the rest.",
        default=None,
        group="Size",
    ),
    option(
        "--chain",
        "Upscale twice if one pass does not reach the size. Slow: the second pass computes 4 to 16 "
        "times the pixels.",
        is_flag=True,
        group="Size",
    ),
)
_encoding_options = combine_options(
    option(
        "--encode-preset",
        "Encode for a purpose; other options override it.",
        type=click.Choice(list(PRESETS)),
        metavar="NAME",
        values={name: preset.description for name, preset in PRESETS.items()},
        group="Encoding",
    ),
    option(
        "--codec",
        "Encode as h264, hevc, av1 or vp9, or with any encoder of ffmpeg.  [default: suits OUT]",
        metavar="NAME",
        group="Encoding",
    ),
    option(
        "--crf",
        "Set constant quality on the encoder's scale; lower is better.",
        type=click.FloatRange(min=0),
        metavar="N",
        group="Encoding",
    ),
    option(
        "--pix-fmt",
        "Set the pixel format of OUT.  [default: bit depth and chroma of IN]",
        metavar="NAME",
        group="Encoding",
    ),
    option(
        "-e",
        "--encoder-option",
        "extra",
        "Pass an option to the encoder, such as tune=grain; repeatable.",
        type=SettingParam(),
        multiple=True,
        group="Encoding",
    ),
    option("--ffmpeg", "Use this ffmpeg instead of the bundled one.", metavar="PATH", group="Encoding"),
    option(
        "--fps",
        "Set the frame rate of an image sequence, such as 24 or 24000/1001.  [default: 25]",
        type=RateParam(),
        group="Input",
    ),
    option("--no-deinterlace", "Leave interlaced video as it is.", is_flag=True, group="Input"),
    option(
        "--keep-going",
        "Replace each damaged frame with the frame before it, and list them at the end.",
        is_flag=True,
        group="Input",
    ),
)
_overlap_option = option(
    "--overlap",
    "--tile-pad",
    "Overlap tiles by N source pixels.  [default: all that the network sees, so that no seams show]",
    type=click.IntRange(min=0),
    metavar="N",
    group="Computing",
)

preview_options = combine_options(
    _size_options, _model_options, _encoding_options, engine_options, memory_options, _overlap_option
)
"""The options of :data:`upscale_options` that do not select a time range or resume a run."""

upscale_options = combine_options(
    _size_options,
    _model_options,
    option("--start", "Start here: 12.5, 1:02 or 0:01:02.5.", type=TimeParam(), group="Time range"),
    option("--end", "Stop before this time.", type=TimeParam(), group="Time range"),
    option("--frames", "Stop after N frames.", type=click.IntRange(min=1), metavar="N", group="Time range"),
    _encoding_options,
    option(
        "--segment",
        "Save a segment every N frames; auto: about a minute's work; none: write OUT in one go.",
        type=SegmentParam(),
        default=_DEFAULT.segment,
        metavar="auto|none|N",
        group="Resume",
    ),
    option("--no-resume", "Start over instead of resuming an interrupted run.", is_flag=True, group="Resume"),
    engine_options,
    memory_options,
    _overlap_option,
)
"""Every option of an upscaling run; :func:`build_options` takes their values as keyword arguments."""


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
        return _DEFAULT.model, _DEFAULT.encode.effort
    return models[0] if len(models) == 1 else tuple(models), _DEFAULT.encode.effort


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
    values = {**requested, "fps": context.params.get("fps")}
    optional = {
        name
        for name in ("crf", "pix_fmt", "encode_preset", "codec", "fps")
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
