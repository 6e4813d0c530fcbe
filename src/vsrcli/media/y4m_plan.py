"""Plan YUV4MPEG2 output: pixel format, header and frame rate, and what is dropped.

The format has no timestamps, so only videos of a constant frame rate can be written without changing times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vsrcli.errors import OutputError
from vsrcli.media.codecs import PixelFormatChoice, is_high_bit_depth
from vsrcli.media.color import is_rgb, resolve_color
from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.decoder import SourceReader
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.types import Color, Source, VideoStream
from vsrcli.media.y4m import CONTAINER, PIX_FMTS, Y4mHeader, create_header

_FIRST_FIELDS = {"tt": "t", "tb": "t", "bb": "b", "bt": "b"}
_NTSC_RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001))
_INTEGER_RATES = tuple(Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 100, 120))
_RATE_TOLERANCE = Fraction(1, 1000)  # relative: containers state averages


def require_rawvideo(options: EncodeOptions) -> None:
    """Raise OutputError if an encoder other than raw video was requested."""
    if options.codec not in (None, "rawvideo"):
        raise OutputError(
            f"stdout: YUV4MPEG2 is raw video only, not {options.codec}; leave --codec out, or "
            "use --format matroska"
        )


def choose_y4m_pixel_format(video: VideoStream, requested: str | None) -> PixelFormatChoice:
    """Return the requested pixel format, or the one nearest to the source's bit depth and chroma.

    Raises:
        OutputError: YUV4MPEG2 does not have the requested one.
    """
    if requested is not None and requested not in PIX_FMTS:
        raise OutputError(
            f"stdout: YUV4MPEG2 does not support {requested}; use --pix-fmt with one of "
            f"{', '.join(PIX_FMTS)}, or --format nut"
        )
    name, notices = requested or _nearest_pixel_format(video), []
    if video.has_alpha:
        notices.append("transparency is dropped: YUV4MPEG2 has none here; --format matroska keeps it")
    if (
        video.is_high_bit_depth
        and not is_high_bit_depth(name)
        and name not in ("gray9le", "yuv420p9le", "yuv422p9le", "yuv444p9le")
    ):
        notices.append(f"{video.bit_depth}-bit video becomes 8-bit ({name}), as requested")
    return PixelFormatChoice(name, False, tuple(notices))


def conversion_filter(pix_fmt: str, options: EncodeOptions) -> tuple[str, EncodeOptions]:
    """Return the pixel format to convert to, and options with a filter that makes ``pix_fmt`` of it.

    Grey is extracted as the luma of Y'CbCr, which keeps its range: swscale treats all grey as full range.
    """
    if not pix_fmt.startswith("gray"):
        return pix_fmt, options
    depth = pix_fmt.removeprefix("gray")
    planar = f"yuv444p{depth}" if depth else "yuv444p"
    return planar, replace(options, extra=(("vf", f"extractplanes=y,format={pix_fmt}"), *options.extra))


def drop_other_streams(source: Source) -> tuple[StreamPlan, ...]:
    """Return plans that drop every stream but the video."""
    reason = "YUV4MPEG2 has video only; --format matroska keeps it"
    return tuple(
        StreamPlan(each.index, each.kind, each.codec, "drop", reason) for each in source.other_streams
    )


def plan_y4m_header(
    reader: SourceReader,
    sample_aspect_ratio: Fraction,
    size: tuple[int, int],
    pix_fmt: str,
    color: Color,
    span: tuple[Fraction | None, Fraction | None],
    *,
    deinterlaced: bool,
) -> Y4mHeader:
    """Return the output's header: that of the source with changes, if the source is YUV4MPEG2 itself.

    Raises:
        OutputError: the video has no constant frame rate.
    """
    header, video = reader.y4m_header(), reader.source.video
    if header is not None:
        chroma_location = color.chroma_location
        return header.with_changes(
            *size, pix_fmt=pix_fmt, chroma_location=chroma_location, deinterlaced=deinterlaced
        )
    first_field = None if deinterlaced else _FIRST_FIELDS.get(video.field_order or "")
    return create_header(
        *size,
        frame_rate=_constant_frame_rate(reader, span),
        sample_aspect_ratio=sample_aspect_ratio,
        pix_fmt=pix_fmt,
        chroma_location=color.chroma_location,
        full_range=color.range == "pc",
        first_field=first_field,
    )


def y4m_notices(
    source: Source, size: tuple[int, int], pix_fmt: str, color: Color, container: Container
) -> Iterator[str]:
    """Yield a notice if YUV4MPEG2 or NUT cannot store colour tags that a reader would guess wrongly."""
    if container.muxer not in (CONTAINER, "nut") or pix_fmt.startswith("gray"):
        return
    guessed = resolve_color(Color(color.range if container.muxer == CONTAINER else None), pix_fmt, *size)
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
            f"{container.name} cannot store these colour tags: set them for the reader ({' '.join(lost)} "
            "before ffmpeg's -i), or use --format matroska"
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


def _constant_frame_rate(reader: SourceReader, span: tuple[Fraction | None, Fraction | None]) -> Fraction:
    """Return the frame rate that reproduces the time of every frame to the tick.

    Raises:
        OutputError: there is none.
    """
    source, (start, end) = reader.source, span
    video, ticks = source.video, reader.frame_ticks()
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
        f"{source.display_name} has a variable frame rate, and YUV4MPEG2 has a constant one only; use "
        "--format nut or --format matroska, which keep every frame's time"
    )
