"""What the user may ask of a film: the options of the commands that upscale one, or many."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click

from vsrcli.cli.options import engine_options, memory_options
from vsrcli.cli.values import Scale, Segment, Setting, Time
from vsrcli.job import Options
from vsrcli.media.plan import EncodeOptions

_DEFAULT = Options()
_OPTIONS = (
    click.option(
        "-s", "--scale", type=Scale(), default=str(_DEFAULT.scale), show_default=True, help="Factor, 1 to 4."
    ),
    click.option(
        "-m",
        "--model",
        default=_DEFAULT.model,
        show_default=True,
        help="See `vsr models`, or a .weights.h5 file.",
    ),
    memory_options,
    click.option(
        "--overlap",
        "--tile-pad",
        type=click.IntRange(min=0),
        metavar="N",
        help="Context of a tile in source pixels; default: all that the network sees, so tiles do not show.",
    ),
    engine_options,
    click.option("--codec", help="h264, hevc, av1, vp9, or any encoder of ffmpeg; default: what suits OUT."),
    click.option(
        "--crf",
        type=click.FloatRange(min=0),
        help="Constant quality on the encoder's scale; lower is better.",
    ),
    click.option("--preset", help="The encoder's speed preset."),
    click.option("--pix-fmt", help="Pixel format of OUT; default: the depth and chroma of IN."),
    click.option(
        "-e", "--encoder-option", "extra", type=Setting(), multiple=True, help="Handed to ffmpeg as it is."
    ),
    click.option("--start", type=Time(), help="Begin here: 12.5, 1:02 or 0:01:02.5."),
    click.option("--end", type=Time(), help="Stop before this time."),
    click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames."),
    click.option(
        "--segment",
        type=Segment(),
        default=_DEFAULT.segment,
        show_default=True,
        metavar="auto|none|N",
        help="Save what is finished every N frames; auto: about a minute's work; none: write OUT in one go.",
    ),
    click.option(
        "--no-resume", is_flag=True, help="Begin anew, even if an interrupted run could be continued."
    ),
    click.option(
        "--keep-going",
        is_flag=True,
        help="Replace damaged frames by the ones before, and list them at the end.",
    ),
    click.option("--no-deinterlace", is_flag=True, help="Leave interlaced pictures as they are."),
    click.option("--ffmpeg", metavar="PATH", help="An ffmpeg other than the bundled one."),
)


def film_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every option that says what becomes of a film; :func:`options_from` reads what was given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_from(
    *,
    scale: Fraction,
    model: str,
    tile: str | int,
    overlap: int | None,
    device: str,
    precision: str,
    engine: str,
    max_memory: int | None,
    start: Fraction | None,
    end: Fraction | None,
    frames: int | None,
    segment: str | int,
    no_resume: bool,
    keep_going: bool,
    no_deinterlace: bool,
    ffmpeg: str | None,
    **encode: Any,
) -> Options:
    """Command line values as the library wants them; what is left over is for the encoder.

    Raises:
        click.BadParameter: a span that ends before it begins.
    """
    if end is not None and end <= (start or 0):
        raise click.BadParameter(
            f"{float(end):g} s is not after the start ({float(start or 0):g} s)", param_hint="--end"
        )
    return Options(
        scale=scale,
        model=model,
        tile=tile,
        overlap=overlap,
        device=device,
        precision=precision,
        engine=engine,
        max_memory=max_memory,
        encode=EncodeOptions(**encode),
        start=start,
        end=end,
        frames=frames,
        deinterlace=not no_deinterlace,
        segment=segment,
        resume=not no_resume,
        keep_going=keep_going,
        ffmpeg=ffmpeg,
    )
