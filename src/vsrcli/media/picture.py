"""The facts about one video stream, from its headers and its first picture."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from vsrcli.media import color as colors
from vsrcli.media.types import Color, VideoStream

_HIGHEST_RATE = 1000
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}
_CHROMA = re.compile(r"\((?:[^()]*, )?(left|center|topleft|top|bottomleft|bottom)\)")


def describe_picture(
    container: Any, stream: Any, frame: Any | None, container_start: Fraction
) -> VideoStream:
    context = stream.codec_context
    pix_fmt = (frame.format.name if frame is not None else context.pix_fmt) or "yuv420p"
    width, height = (frame.width, frame.height) if frame is not None else (context.width, context.height)
    # libav gives counterclockwise degrees of what to do; this house speaks of clockwise quarter turns.
    rotation = round(-(frame.rotation if frame is not None else 0) / 90) * 90 % 360
    shape = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1) or Fraction(1)
    if rotation in (90, 270):
        width, height, shape = height, width, 1 / shape
    bits, alpha = _depth(pix_fmt)
    metadata = tags(stream.metadata)
    time_base = Fraction(stream.time_base)
    start = frame.pts if frame is not None and frame.pts is not None else stream.start_time
    return VideoStream(
        index=stream.index,
        codec=codec_name(context),
        width=width,
        height=height,
        rotation=rotation,
        pix_fmt=pix_fmt,
        bit_depth=bits,
        has_alpha=alpha or metadata.get("alpha_mode") == "1",
        time_base=time_base,
        frame_rate=_rate(stream),
        start=container_start if start is None else start * time_base,
        duration=None if not stream.duration else stream.duration * time_base,
        frames=_stated_frames(stream, metadata),
        sample_aspect_ratio=shape,
        color=_color(container, stream, frame),
        field_order=_field_order(context, frame),
        language=language(metadata),
        title=track_title(metadata),
        mirrored=_mirrored(frame),
    )


def _color(container: Any, stream: Any, frame: Any | None) -> Color:
    context = stream.codec_context

    def tag(names: Mapping[int, str], attribute: str) -> str | None:
        on_frame = names.get(getattr(frame, attribute)) if frame is not None else None
        return on_frame or names.get(getattr(context, attribute))

    return Color(
        range=tag(colors.RANGES, "color_range"),
        matrix=tag(colors.MATRICES, "colorspace"),
        primaries=tag(colors.PRIMARIES, "color_primaries"),
        transfer=tag(colors.TRANSFERS, "color_trc"),
        chroma_location=_chroma_location(container, stream.index),
    )


def _chroma_location(container: Any, index: int) -> str | None:
    """PyAV has no attribute for it, but libavformat's description of the stream names it at this level."""
    import av.logging as log

    before = log.get_level()
    try:
        log.set_level(log.VERBOSE)
        log.set_libav_level(log.VERBOSE)
        text = container.dumps_format()
    finally:
        log.set_libav_level(log.INFO)
        log.set_level(before)
    line = next((line for line in text.splitlines() if f"Stream #0:{index}" in line and "Video:" in line), "")
    found = _CHROMA.search(line)
    return found.group(1) if found else None


def _mirrored(frame: Any | None) -> bool:
    """Whether the display matrix (nine 32-bit numbers, [a b u; c d v; x y w]) turns left into right."""
    for side in frame.side_data if frame is not None else ():
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
            return a * d - b * c < 0
    return False


def _field_order(context: Any, frame: Any | None) -> str | None:
    order = _FIELD_ORDERS.get(int(context.field_order or 0))
    if frame is not None and frame.interlaced_frame and order in (None, "progressive"):
        return "tt"  # the picture itself says so; which field comes first, the deinterlacer reads per frame
    return order


def _depth(pix_fmt: str) -> tuple[int, bool]:
    """Bits per component (8 at least) and whether there is alpha."""
    import av

    try:
        layout = av.VideoFormat(pix_fmt, 16, 16)
    except ValueError:
        return 8, False
    bits = max((component.bits for component in layout.components), default=8)
    alpha = any(component.is_alpha for component in layout.components) and pix_fmt != "pal8"
    return min(max(bits, 8), 16), alpha


def _rate(stream: Any) -> Fraction | None:
    """libavformat's best guess; None if it is no rate that a film has (DV's "average" is its clock)."""
    rate = Fraction(stream.guessed_rate or stream.average_rate or 0)
    return rate if 0 < rate <= _HIGHEST_RATE else None


def _stated_frames(stream: Any, metadata: Mapping[str, str]) -> int | None:
    if stream.frames > 0:
        return int(stream.frames)
    stated = next((value for key, value in metadata.items() if key.startswith("number_of_frames")), "")
    return int(stated) if stated.isdigit() and int(stated) > 0 else None


def codec_name(context: Any) -> str:
    """The codec's own name (``av1``), not that of the decoder at hand (``libdav1d``)."""
    return context.codec.canonical_name or context.name


def track_title(metadata: Mapping[str, str]) -> str | None:
    return metadata.get("title") or metadata.get("name")  # MP4 calls it the track's name


def tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags with lower-case keys (Matroska shouts, MP4 does not)."""
    return {key.lower(): value for key, value in metadata.items()}


def language(metadata: Mapping[str, str]) -> str | None:
    language = metadata.get("language")
    return None if language in (None, "", "und") else language
