"""What the user may ask of a film: the options of the commands that upscale one, or many.

What is asked of an encoder: typed options hold or are refused, those of a settings file give way.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

import click

from vsrcli.cli.help import option
from vsrcli.cli.options import (
    combine_options,
    engine_options,
    from_command_line,
    highest_precedence,
    memory_options,
    network_options,
    resolve_network,
)
from vsrcli.cli.types import RateParam, ScaleParam, ScreenParam, SegmentParam, SettingParam, TimeParam
from vsrcli.errors import UsageError
from vsrcli.frames.geometry import MAX_SCALE, SizeRequest
from vsrcli.media.encoder_options import PRESETS, apply_preset
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.preferences import Preferences
from vsrcli.pipeline.job import Options

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
    return Preferences(**asdict(everything), fallbacks=tuple(otherwise.items()), fps_optional=fps)


def _spelled(name: str, value: str | float) -> str:
    return f"--{name.replace('_', '-')} {value if isinstance(value, str) else f'{value:g}'}"


_DEFAULT = Options()
film_options = combine_options(
    option(
        "-s",
        "--scale",
        type=ScaleParam(MAX_SCALE),
        group="Size",
        help=f"Upscale by this factor, above 1 and up to {MAX_SCALE}.  [default: {_DEFAULT.scale}]",
    ),
    option(
        "--size",
        type=ScreenParam(),
        metavar="WxH",
        group="Size",
        help="Upscale to fit this size instead, such as 1920x1080, 1080p or 4k.",
    ),
    option(
        "--width",
        type=click.IntRange(min=1),
        metavar="W",
        group="Size",
        help="Upscale to W pixels wide; the height follows.",
    ),
    option(
        "--height",
        type=click.IntRange(min=1),
        metavar="H",
        group="Size",
        help="Upscale to H pixels high; the width follows.",
    ),
    option(
        "--fit/--fill",
        "fit",
        default=None,
        group="Size",
        help="With --size: keep the whole frame, without bars (default), or fill the size and crop the rest.",
    ),
    option(
        "--chain",
        is_flag=True,
        group="Size",
        help="Upscale twice if one pass does not reach the size. Slow: the second pass computes 4 to 16 "
        "times the pixels.",
    ),
    network_options,
    option("--start", type=TimeParam(), group="Time range", help="Start here: 12.5, 1:02 or 0:01:02.5."),
    option("--end", type=TimeParam(), group="Time range", help="Stop before this time."),
    option(
        "--frames", type=click.IntRange(min=1), metavar="N", group="Time range", help="Stop after N frames."
    ),
    option(
        "--encode-preset",
        type=click.Choice(list(PRESETS)),
        metavar="NAME",
        group="Encoding",
        values={name: preset.description for name, preset in PRESETS.items()},
        help="Encode for a purpose; other options override it.",
    ),
    option(
        "--codec",
        metavar="NAME",
        group="Encoding",
        help="Encode as h264, hevc, av1 or vp9, or with any encoder of ffmpeg.  [default: suits OUT]",
    ),
    option(
        "--crf",
        type=click.FloatRange(min=0),
        metavar="N",
        group="Encoding",
        help="Set constant quality on the encoder's scale; lower is better.",
    ),
    option(
        "--pix-fmt",
        metavar="NAME",
        group="Encoding",
        help="Set the pixel format of OUT.  [default: bit depth and chroma of IN]",
    ),
    option(
        "-e",
        "--encoder-option",
        "extra",
        type=SettingParam(),
        multiple=True,
        group="Encoding",
        help="Pass an option to the encoder, such as tune=grain; repeatable.",
    ),
    option("--ffmpeg", metavar="PATH", group="Encoding", help="Use this ffmpeg instead of the bundled one."),
    option(
        "--fps",
        type=RateParam(),
        group="Input",
        help="Set the frame rate of an image sequence, such as 24 or 24000/1001.  [default: 25]",
    ),
    option("--no-deinterlace", is_flag=True, group="Input", help="Leave interlaced video as it is."),
    option(
        "--keep-going",
        is_flag=True,
        group="Input",
        help="Replace each damaged frame with the frame before it, and list them at the end.",
    ),
    option(
        "--segment",
        type=SegmentParam(),
        default=_DEFAULT.segment,
        show_default=True,
        metavar="auto|none|N",
        group="Resume",
        help="Save a segment every N frames; auto: about a minute's work; none: write OUT in one go.",
    ),
    option(
        "--no-resume", is_flag=True, group="Resume", help="Start over instead of resuming an interrupted run."
    ),
    engine_options,
    memory_options,
    option(
        "--overlap",
        "--tile-pad",
        type=click.IntRange(min=0),
        metavar="N",
        group="Computing",
        help="Overlap tiles by N source pixels.  [default: all that the network sees, so that no seams show]",
    ),
)
"""Every option that says what becomes of a film; :func:`options_from` reads what was given."""


def build_options(
    *,
    scale: Fraction | None,
    size: SizeRequest | None,
    width: int | None,
    height: int | None,
    fit: bool | None,
    chain: bool,
    preset: str | None,
    model: str | None,
    tile: str | int,
    overlap: int | None,
    device: str,
    precision: str,
    engine: str,
    max_memory: int | None,
    start: Fraction | None,
    end: Fraction | None,
    frames: int | None,
    fps: Fraction | None,
    segment: str | int,
    no_resume: bool,
    keep_going: bool,
    no_deinterlace: bool,
    ffmpeg: str | None,
    encode_preset: str | None,
    **encode: Any,
) -> Options:
    """Command line values as the library wants them; what is left over is for the encoder.

    Of options that exclude each other the nearest holds, see :func:`~vsrcli.cli.options.highest_precedence`.

    Raises:
        click.BadParameter: a span that ends before it begins.
        UsageError: two sizes, or two networks.
    """
    if end is not None and end <= (start or 0):
        raise click.BadParameter(
            f"{float(end):g} s is not after the start ({float(start or 0):g} s): give a later one",
            param_hint="--end",
        )
    context = click.get_current_context(silent=True)
    network, effort = resolve_network(context, preset, model)
    if device not in ("auto", "cpu") and "engine" not in highest_precedence(
        context, {"device": device, "engine": engine}
    ):
        engine = _DEFAULT.engine  # one that a settings file names may know CPUs only
    return Options(
        scale=scale or _DEFAULT.scale,
        size=_size(context, scale, size, width, height, fit),
        chain=chain,
        model=network,
        tile=tile,
        overlap=overlap,
        device=device,
        precision=precision,
        engine=engine,
        max_memory=max_memory,
        encode=preferred(context, encode_preset, **encode, effort=effort),
        start=start,
        end=end,
        frames=frames,
        fps=fps,
        deinterlace=not no_deinterlace,
        segment=segment,
        resume=not no_resume,
        keep_going=keep_going,
        ffmpeg=ffmpeg,
    )


def _size(
    context: click.Context | None,
    scale: Fraction | None,
    size: SizeRequest | None,
    width: int | None,
    height: int | None,
    fit: bool | None,
) -> SizeRequest | None:
    """The one size that was given, if it is no factor."""
    given = highest_precedence(context, {"scale": scale, "size": size, "width": width, "height": height})
    if [*given] == ["width", "height"]:
        raise UsageError(
            f"--width and --height: give one of them, the other follows; or both as --size {width}x{height}"
        )
    spelled = " and ".join(f"--{name}" for name in given)
    if len(given) > 1:
        raise UsageError(f"{spelled} all say how large; give one of them")
    if fit is not None and "size" not in given and (context is None or from_command_line(context, "fit")):
        raise UsageError(f"--{'fit' if fit else 'fill'} needs --size{f', not {spelled}' if spelled else ''}")
    if "size" in given:
        return replace(given["size"], fill=fit is False)
    return SizeRequest(given.get("width"), given.get("height")) if given and "scale" not in given else None
