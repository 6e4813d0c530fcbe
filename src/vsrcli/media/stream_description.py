"""What a container and a decoded frame tell of a stream: size, times, colours, rotation and tags."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from itertools import islice, pairwise
from statistics import median
from typing import Any

from vsrcli.media import color as colors
from vsrcli.media.alpha import has_transparency
from vsrcli.media.color import content_light_level, mastering_display, unsupported_side_data
from vsrcli.media.safety import demux
from vsrcli.media.types import INTERLACED, Color, Crop, VideoStream

_MAX_FRAME_RATE = 1000
_MAX_COMMON_FRAME_RATE = 240  # from here on, a guess of one frame a tick is likelier to be the clock's rate
_RATE_PACKETS = 100
_MAX_DV_HEIGHT = 576  # IEC 61834: bottom first; DVCPRO HD is higher, and either
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}
_STREAM_LINE = re.compile(r"\s*Stream #0:(\d+)[^:]*: (.*)")  # its id and language stand before the colon
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_CROP = re.compile(r"\s*Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)")  # left, right, top, bottom
_CHROMA_LOCATION = re.compile(r"\((?:[^()]*, )?(left|center|topleft|top|bottomleft|bottom)\)")


def describe_video(container: Any, stream: Any, frame: Any | None, container_start: Fraction) -> VideoStream:
    """Describe the video stream that is upscaled.

    Args:
        container, stream: PyAV's.
        frame: its first frame, or None if none could be decoded.
        container_start: seconds, the start of a stream that states none.
    """
    context = stream.codec_context
    metadata = lowercase_tags(stream.metadata)
    pix_fmt = _pixel_format(context, frame, metadata)
    width, height = (frame.width, frame.height) if frame is not None else (context.width, context.height)
    if crop := _crop(container, stream.index, width, height):
        width, height = width - crop.left - crop.right, height - crop.top - crop.bottom
    # libav reports counterclockwise degrees; VideoStream.rotation is clockwise, in quarter turns.
    rotation = round(-(frame.rotation if frame is not None else 0) / 90) * 90 % 360
    pixel_aspect = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1) or Fraction(1)
    if rotation in (90, 270):
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    depth, alpha_in_format = bit_depth(pix_fmt), _has_alpha(pix_fmt)
    time_base = Fraction(stream.time_base)
    frame_rate, has_estimated_rate = _frame_rate(container, stream)
    start = frame.pts if frame is not None and frame.pts is not None else stream.start_time
    if has_no_timestamps(container.format.name, codec_name(context)):
        start = None
    return VideoStream(
        index=stream.index,
        codec=codec_name(context),
        width=width,
        height=height,
        rotation=rotation,
        pix_fmt=pix_fmt,
        bit_depth=depth,
        has_alpha=alpha_in_format and has_transparency(container, stream, frame),
        time_base=time_base,
        frame_rate=frame_rate,
        start=container_start if start is None else start * time_base,
        duration=stream.duration * time_base if stream.duration else _declared_duration(metadata),
        frame_count=_declared_frame_count(stream, metadata),
        sample_aspect_ratio=pixel_aspect,
        color=_color(container, stream, frame),
        field_order=_field_order(context, frame),
        language=stream_language(metadata),
        title=stream_title(metadata),
        is_mirrored=_is_mirrored(frame),
        mastering_display=mastering_display(frame),
        content_light=content_light_level(frame),
        timecode=metadata.get("timecode") or lowercase_tags(container.metadata).get("timecode"),
        unsupported_features=(*unsupported_side_data(frame), *_additional_layers(context)),
        crop=crop,
        has_estimated_rate=has_estimated_rate,
        has_flagged_fields=frame is None or frame.interlaced_frame,
    )


def _crop(container: Any, index: int, width: int, height: int) -> Crop | None:
    """Return what the container crops of frames of this size; None for nothing, or all."""
    number = -1
    for line in _dump(container).splitlines():
        if stream := _STREAM_LINE.match(line):
            number = int(stream[1])
        elif number == index and (match := _CROP.match(line)):
            left, right, top, bottom = map(int, match.groups())
            is_valid = any((top, bottom, left, right)) and top + bottom < height and left + right < width
            return Crop(top, bottom, left, right) if is_valid else None
    return None


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
    match = _CHROMA_LOCATION.search(stream_descriptions(container).get(index, ""))
    return match.group(1) if match else None


def stream_descriptions(container: Any) -> dict[int, str]:
    """Return libavformat's one-line description of each stream, by index: facts that PyAV does not expose."""
    matches = (_STREAM_LINE.match(line) for line in _dump(container).splitlines())
    return {int(line[1]): line[2] for line in matches if line}


def _dump(container: Any) -> str:
    """Return libavformat's description of the container and its streams."""
    import av.logging as log

    previous_level = log.get_level()
    try:
        log.set_level(log.VERBOSE)
        log.set_libav_level(log.VERBOSE)
        return container.dumps_format()
    finally:
        log.set_libav_level(log.INFO)
        log.set_level(previous_level)


def _is_mirrored(frame: Any | None) -> bool:
    """Return whether the display matrix (nine 32-bit numbers, [a b u; c d v; x y w]) mirrors the frame."""
    for side in frame.side_data if frame is not None else ():
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
            return a * d - b * c < 0
    return False


def _field_order(context: Any, frame: Any | None) -> str | None:
    """Return :attr:`VideoStream.field_order`. PyAV does not expose what frames say of the order."""
    order = _FIELD_ORDERS.get(int(context.field_order or 0))
    if frame is not None and frame.interlaced_frame and order in (None, "progressive"):
        is_dv = codec_name(context) == "dvvideo" and frame.height <= _MAX_DV_HEIGHT
        return "bb" if is_dv else INTERLACED
    return order


def bit_depth(pix_fmt: str) -> int:
    """Return the bits per component of a pixel format, from 8 to 16."""
    return min(max([8, *(component.bits for component in _components(pix_fmt))]), 16)


def _has_alpha(pix_fmt: str) -> bool:
    return pix_fmt != "pal8" and any(component.is_alpha for component in _components(pix_fmt))


def _components(pix_fmt: str) -> tuple[Any, ...]:
    import av

    try:
        return av.VideoFormat(pix_fmt, 16, 16).components
    except ValueError:
        return ()


def _pixel_format(context: Any, frame: Any | None, metadata: Mapping[str, str]) -> str:
    """Return the pixel format as coded, with the alpha of VP8 and VP9: a separate layer that PyAV omits."""
    pix_fmt = (frame.format.name if frame is not None else context.pix_fmt) or "yuv420p"
    has_separate_alpha = metadata.get("alpha_mode") == "1" and pix_fmt.startswith("yuv4")
    return pix_fmt.replace("yuv", "yuva", 1) if has_separate_alpha else pix_fmt


def _additional_layers(context: Any) -> tuple[str, ...]:
    """Describe a second layer of HEVC (alpha, a second view): headers contain units of a layer above 0."""
    data = bytes(context.extradata or b"")
    if codec_name(context) != "hevc" or data[:1] != b"\1":
        return ()
    position, has_layers = 23, False
    for _ in range(data[22]):
        for _ in range(int.from_bytes(data[position + 1 : position + 3], "big")):
            size = int.from_bytes(data[position + 3 : position + 5], "big")
            has_layers = has_layers or int.from_bytes(data[position + 5 : position + 7], "big") >> 3 & 63 > 0
            position += 2 + size
        position += 3
    return ("a second video layer (transparency or a second view)",) if has_layers else ()


def has_no_timestamps(container: str, codec: str) -> bool:
    """Return whether frames have no timestamps but follow one another at the container's frame rate.

    AVI stores none. For codecs with reordering, libavformat's guesses differ between packets and frames.
    """
    return container == "avi" and codec in ("h264", "hevc")


def _frame_rate(container: Any, stream: Any) -> tuple[Fraction | None, bool]:
    """Return libavformat's best guess; where it is the clock's rate, an estimate from the first packets.

    It guesses so where frames have variable distances; a single frame has none, as the first of a pipe.

    Returns:
        The rate, None if it is implausible, and whether it is that estimate.
    """
    rate = Fraction(stream.guessed_rate or stream.average_rate or 0)
    if rate > _MAX_COMMON_FRAME_RATE and rate * Fraction(stream.time_base) == 1:
        estimate = _median_frame_rate(container, stream)
        if 0 < estimate <= _MAX_FRAME_RATE:
            return estimate, True
    return (rate if 0 < rate <= _MAX_FRAME_RATE else None), False


def _median_frame_rate(container: Any, stream: Any) -> Fraction:
    """Return frames per second by the median distance of the first packets; 0 for fewer than two."""
    import av

    times: set[int] = set()
    with contextlib.suppress(av.FFmpegError, OSError):
        container.seek(stream.start_time or 0, stream=stream)
        packets = (packet for packet in demux(container, stream) if packet.pts is not None)
        times.update(packet.pts for packet in islice(packets, _RATE_PACKETS))
    distances = [later - earlier for earlier, later in pairwise(sorted(times))]
    return 1 / (Fraction(median(distances)) * Fraction(stream.time_base)) if distances else Fraction(0)


def _declared_frame_count(stream: Any, metadata: Mapping[str, str]) -> int | None:
    if stream.frames > 0:
        return int(stream.frames)
    declared = next((value for key, value in metadata.items() if key.startswith("number_of_frames")), "")
    return int(declared) if declared.isdigit() and int(declared) > 0 else None


def _declared_duration(metadata: Mapping[str, str]) -> Fraction | None:
    """Return Matroska's duration tag (``00:00:02.800000000``) in seconds."""
    match = _DURATION.fullmatch(metadata.get("duration", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3]) if match else None


def codec_name(context: Any) -> str:
    """Return the name of the codec (``av1``), not of the decoder in use (``libdav1d``)."""
    return context.codec.canonical_name or context.name


def stream_title(metadata: Mapping[str, str]) -> str | None:
    """Return a stream's title, or None; MP4 calls it ``name``."""
    return metadata.get("title") or metadata.get("name")


def lowercase_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return tags with lower-case keys (Matroska's are upper-case, MP4's lower-case)."""
    return {key.lower(): value for key, value in metadata.items()}


def stream_language(metadata: Mapping[str, str]) -> str | None:
    """Return a stream's language tag; None if there is none or it is ``und``."""
    language = metadata.get("language")
    return None if language in (None, "", "und") else language
