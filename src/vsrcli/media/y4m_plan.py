"""Plan YUV4MPEG2 output: pixel format, header and frame rate, and what is dropped.

The format has no timestamps, so only videos of a constant frame rate can be written without changing times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vsrcli.errors import OutputError
from vsrcli.media.codecs import PixelFormatChoice, is_high_bit_depth
from vsrcli.media.color import is_rgb, resolve_color
from vsrcli.media.containers import Container
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.source_reader import Span
from vsrcli.media.types import INTERLACED, MIXED, Color, Source, VideoStream
from vsrcli.media.y4m import CONTAINER, PIX_FMTS, Y4mHeader, create_header

_FIRST_FIELDS = {"tt": "t", "tb": "t", "bb": "b", "bt": "b", INTERLACED: "?", MIXED: "?"}


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


def plan_stdout(
    source: Source,
    video: VideoStream,
    size: tuple[int, int],
    pix_fmt: str,
    color: Color,
    container: Container,
    span: Span,
    deinterlace: bool,
) -> tuple[Y4mHeader | None, tuple[str, ...]]:
    """Return the header of a YUV4MPEG2 output, None for other containers; and notices about lost tags.

    Args:
        source: of the frames.
        video: its video stream, with the output's sample aspect ratio.
        size: (width, height) of the output.
        pix_fmt, color, container: of the output.
        span: what was read of the source.
        deinterlace: whether the decoder will deinterlace.

    Raises:
        OutputError: the video has no constant frame rate, which YUV4MPEG2 needs.
    """
    notices = tuple(_lost_tags_notices(source, size, pix_fmt, color, container))
    if container.muxer != CONTAINER:
        return None, notices
    aspect, deinterlaced = video.sample_aspect_ratio, deinterlace and video.is_interlaced
    if span.y4m_header is not None:  # the source is YUV4MPEG2 itself: its header, with changes
        header = span.y4m_header.with_changes(
            *size, pix_fmt=pix_fmt, chroma_location=color.chroma_location, deinterlaced=deinterlaced
        )
        if aspect != source.video.sample_aspect_ratio:
            parameters = (word for word in header.parameters if not word.startswith("A"))
            ratio = f"A{aspect.numerator}:{aspect.denominator}"
            header = replace(header, parameters=(*parameters, ratio))
        return header, notices
    if span.frame_rate is None:
        raise OutputError(
            f"{source.display_name} has a variable frame rate, and YUV4MPEG2 has a constant one only; use "
            "--format nut or --format matroska, which keep every frame's time"
        )
    header = create_header(
        *size,
        frame_rate=span.frame_rate,
        sample_aspect_ratio=aspect,
        pix_fmt=pix_fmt,
        chroma_location=color.chroma_location,
        full_range=color.range == "pc",
        first_field=None if deinterlaced else _FIRST_FIELDS.get(video.field_order or ""),
    )
    return header, notices


def _lost_tags_notices(
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
