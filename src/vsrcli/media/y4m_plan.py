"""What a YUV4MPEG2 stream keeps of a film: the picture with its depth, chroma, range, shape and rate.

It has no clock, so only films whose frames follow one another at a constant rate can be written without
moving one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vsrcli.errors import OutputError
from vsrcli.media.codecs import PixelFormatChoice, is_high_bit_depth
from vsrcli.media.color import is_rgb, resolve
from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.stdin import display_name, y4m_stream_of
from vsrcli.media.timing import frame_ticks
from vsrcli.media.types import Color, Source, VideoStream
from vsrcli.media.y4m import CONTAINER, PIX_FMTS, Y4mHeader, Y4mReader, create_header

_FIRST_FIELDS = {"tt": "t", "tb": "t", "bb": "b", "bt": "b"}
_NTSC_RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001))
_INTEGER_RATES = tuple(Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 100, 120))
_RATE_TOLERANCE = Fraction(1, 1000)  # of a rate: containers state averages


def require_rawvideo(options: EncodeOptions) -> None:
    """Whether raw video is what was asked for.

    Raises:
        OutputError: another encoder was.
    """
    if options.codec not in (None, "rawvideo"):
        raise OutputError(
            f"stdout: YUV4MPEG2 holds raw video only, nothing from {options.codec}; leave --codec out, or "
            "use --format matroska"
        )


def choose_y4m_pixel_format(video: VideoStream, requested: str | None) -> PixelFormatChoice:
    """The pixel format that keeps depth and chroma.

    Raises:
        OutputError: the one asked for has no name in YUV4MPEG2.
    """
    if requested is not None and requested not in PIX_FMTS:
        raise OutputError(
            f"stdout: YUV4MPEG2 cannot hold {requested}; use --pix-fmt with one of {', '.join(PIX_FMTS)}, or "
            "--format nut"
        )
    name, notices = requested or _nearest_pixel_format(video), []
    if video.has_alpha:
        notices.append("transparency is dropped: YUV4MPEG2 holds none here; --format matroska keeps it")
    if (
        video.is_high_bit_depth
        and not is_high_bit_depth(name)
        and name not in ("gray9le", "yuv420p9le", "yuv422p9le", "yuv444p9le")
    ):
        notices.append(f"{video.bit_depth}-bit picture becomes 8-bit ({name}), as asked for")
    return PixelFormatChoice(name, False, tuple(notices))


def conversion_filter(pix_fmt: str, options: EncodeOptions) -> tuple[str, EncodeOptions]:
    """The pixel format to convert to, and options that make ``pix_fmt`` of it.

    swscale takes every grey for full range; the luma of Y'CbCr keeps the range that it has.
    """
    if not pix_fmt.startswith("gray"):
        return pix_fmt, options
    depth = pix_fmt.removeprefix("gray")
    planar = f"yuv444p{depth}" if depth else "yuv444p"
    return planar, replace(options, extra=(("vf", f"extractplanes=y,format={pix_fmt}"), *options.extra))


def drop_other_streams(source: Source) -> tuple[StreamPlan, ...]:
    """The fate of all that is not the picture."""
    reason = "YUV4MPEG2 holds nothing but the picture; --format matroska takes it along"
    return tuple(
        StreamPlan(each.index, each.kind, each.codec, "drop", reason) for each in source.other_streams
    )


def plan_y4m_header(
    source: Source,
    size: tuple[int, int],
    pix_fmt: str,
    color: Color,
    span: tuple[Fraction | None, Fraction | None],
    *,
    deinterlaced: bool,
) -> Y4mHeader:
    """The first line of the new stream: that of the source, where it is such a stream itself.

    Raises:
        OutputError: the film has no constant frame rate.
    """
    if source.container == CONTAINER:
        chroma_location = color.chroma_location
        return _source_header(source).with_changes(
            *size, pix_fmt=pix_fmt, chroma_location=chroma_location, deinterlaced=deinterlaced
        )
    video = source.video
    first_field = None if deinterlaced else _FIRST_FIELDS.get(video.field_order or "")
    return create_header(
        *size,
        frame_rate=_constant_frame_rate(source, span),
        sample_aspect_ratio=video.sample_aspect_ratio,
        pix_fmt=pix_fmt,
        chroma_location=color.chroma_location,
        full_range=color.range == "pc",
        first_field=first_field,
    )


def y4m_notices(
    source: Source, size: tuple[int, int], pix_fmt: str, color: Color, container: Container
) -> Iterator[str]:
    """What YUV4MPEG2 and NUT have no words for, where a reader would guess something else."""
    if container.muxer not in (CONTAINER, "nut") or pix_fmt.startswith("gray"):
        return
    guessed = resolve(Color(color.range if container.muxer == CONTAINER else None), pix_fmt, *size)
    source_color = source.video.color
    tags = {
        "-color_range": (color.range, guessed.range),
        "-colorspace": (color.matrix, guessed.matrix),
        "-color_primaries": (source_color.primaries and color.primaries, guessed.primaries),
        "-color_trc": (source_color.transfer and color.transfer, guessed.transfer),
    }
    lost = [f"{option} {value}" for option, (value, guess) in tags.items() if value and value != guess]
    if lost:
        yield (
            f"{container.name} cannot say which colours these are: tell the reader ({' '.join(lost)} before "
            "ffmpeg's -i), or use --format matroska"
        )


def _nearest_pixel_format(video: VideoStream) -> str:
    name = video.pix_fmt.replace("yuvj", "yuv").replace("yuva", "yuv")
    if name in PIX_FMTS:
        return name
    depth = next(bits for bits in (8, 9, 10, 12, 14, 16) if bits >= min(video.bit_depth, 16))
    if name.startswith(("gray", "ya8", "ya16", "mono")):
        return "gray" if depth == 8 else f"gray{16 if depth == 14 else depth}le"
    chroma = "444"
    if not is_rgb(name):
        if any(mark in name for mark in ("420", "nv12", "nv21", "p010", "p012", "p016", "410")):
            chroma = "420"
        elif any(mark in name for mark in ("422", "yuyv", "uyvy", "yvyu", "nv16", "nv20", "p21", "y21")):
            chroma = "422"
    return f"yuv{chroma}p" if depth == 8 else f"yuv{chroma}p{depth}le"


def _source_header(source: Source) -> Y4mHeader:
    stream = y4m_stream_of(source)
    if stream is not None:
        return stream.header
    with source.path.open("rb") as file:
        return Y4mReader(file.read, str(source.path)).header


def _constant_frame_rate(source: Source, span: tuple[Fraction | None, Fraction | None]) -> Fraction:
    """Frames per second, at which every frame has its time to the tick."""
    video, (start, end) = source.video, span
    ticks = frame_ticks(source)
    if start is not None:
        ticks = ticks[ticks >= math.ceil((source.start + start) / video.time_base)]
    if end is not None:
        ticks = ticks[ticks < math.ceil((source.start + end) / video.time_base)]
    declared = video.frame_rate
    if len(ticks) < 2:
        return declared or Fraction(25)
    standard_rates = (
        rate
        for rate in (*_NTSC_RATES, *_INTEGER_RATES)
        if declared and abs(rate / declared - 1) < _RATE_TOLERANCE
    )
    for rate in (*([declared] if declared else ()), *standard_rates):
        step = 1 / (rate * video.time_base)  # ticks
        expected = ticks[0] + np.arange(len(ticks)) * float(step)
        if float(np.abs(ticks - expected).max()) <= 1.0:  # both ends of a step may have been rounded
            return rate
    raise OutputError(
        f"{display_name(source)} has a variable frame rate, and YUV4MPEG2 knows a constant one only; use --format "
        "nut or --format matroska, which keep every frame's time"
    )
