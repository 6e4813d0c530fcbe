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

_FIELDS = {"tt": "t", "tb": "t", "bb": "b", "bt": "b"}
_BROADCAST = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001))
_WHOLE = tuple(Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 100, 120))
_NEAR = Fraction(1, 1000)  # of a rate: containers state averages


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
    name, notices = requested or _nearest(video), []
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
    why = "YUV4MPEG2 holds nothing but the picture; --format matroska takes it along"
    return tuple(StreamPlan(each.index, each.kind, each.codec, "drop", why) for each in source.other_streams)


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
        siting = color.chroma_location
        return _own(source).with_changes(
            *size, pix_fmt=pix_fmt, chroma_location=siting, deinterlaced=deinterlaced
        )
    video = source.video
    fields = None if deinterlaced else _FIELDS.get(video.field_order or "")
    return create_header(
        *size,
        frame_rate=_constant_rate(source, span),
        sample_aspect_ratio=video.sample_aspect_ratio,
        pix_fmt=pix_fmt,
        chroma_location=color.chroma_location,
        full_range=color.range == "pc",
        first_field=fields,
    )


def y4m_notices(
    source: Source, size: tuple[int, int], pix_fmt: str, color: Color, container: Container
) -> Iterator[str]:
    """What YUV4MPEG2 and NUT have no words for, where a reader would guess something else."""
    if container.muxer not in (CONTAINER, "nut") or pix_fmt.startswith("gray"):
        return
    guessed = resolve(Color(color.range if container.muxer == CONTAINER else None), pix_fmt, *size)
    told = source.video.color
    said = {
        "-color_range": (color.range, guessed.range),
        "-colorspace": (color.matrix, guessed.matrix),
        "-color_primaries": (told.primaries and color.primaries, guessed.primaries),
        "-color_trc": (told.transfer and color.transfer, guessed.transfer),
    }
    lost = [f"{option} {value}" for option, (value, guess) in said.items() if value and value != guess]
    if lost:
        yield (
            f"{container.name} cannot say which colours these are: tell the reader ({' '.join(lost)} before "
            "ffmpeg's -i), or use --format matroska"
        )


def _nearest(video: VideoStream) -> str:
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


def _own(source: Source) -> Y4mHeader:
    following = y4m_stream_of(source)
    if following is not None:
        return following.header
    with source.path.open("rb") as file:
        return Y4mReader(file.read, str(source.path)).header


def _constant_rate(source: Source, span: tuple[Fraction | None, Fraction | None]) -> Fraction:
    """Frames per second, at which every frame has its time to the tick."""
    video, (start, end) = source.video, span
    times = frame_ticks(source)
    if start is not None:
        times = times[times >= math.ceil((source.start + start) / video.time_base)]
    if end is not None:
        times = times[times < math.ceil((source.start + end) / video.time_base)]
    stated = video.frame_rate
    if len(times) < 2:
        return stated or Fraction(25)
    usual = (rate for rate in (*_BROADCAST, *_WHOLE) if stated and abs(rate / stated - 1) < _NEAR)
    for rate in (*([stated] if stated else ()), *usual):
        step = 1 / (rate * video.time_base)  # ticks
        wanted = times[0] + np.arange(len(times)) * float(step)
        if float(np.abs(times - wanted).max()) <= 1.0:  # both ends of a step may have been rounded
            return rate
    raise OutputError(
        f"{display_name(source)} has a variable frame rate, and YUV4MPEG2 knows a constant one only; use --format "
        "nut or --format matroska, which keep every frame's time"
    )
