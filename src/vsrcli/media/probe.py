"""Probe a video file: its streams and metadata, read with PyAV, since the bundled ffmpeg brings no ffprobe.

Facts come from the headers and, where only it is certain (rotation, interlacing, HDR), the first frame.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import InputError
from vsrcli.media import color as colors
from vsrcli.media.alpha import has_transparency
from vsrcli.media.color import content_light_level, mastering_display, unsupported_side_data
from vsrcli.media.safety import MAX_PIXELS, MAX_STREAMS, find_truncation, limit_decoder, open_media
from vsrcli.media.types import Chapter, Color, OtherStream, Source, VideoStream

_MAX_FRAME_RATE = 1000
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}
_STREAM_LINE = re.compile(r"\s*Stream #0:(\d+)[^:]*: (.*)")  # its id and language stand before the colon
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
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
    # libav reports counterclockwise degrees; VideoStream.rotation is clockwise, in quarter turns.
    rotation = round(-(frame.rotation if frame is not None else 0) / 90) * 90 % 360
    pixel_aspect = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1) or Fraction(1)
    if rotation in (90, 270):
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    depth, alpha_in_format = bit_depth(pix_fmt), _has_alpha(pix_fmt)
    time_base = Fraction(stream.time_base)
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
        frame_rate=_frame_rate(stream),
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
        timecode=metadata.get("timecode"),
        unsupported_features=(*unsupported_side_data(frame), *_additional_layers(context)),
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
    match = _CHROMA_LOCATION.search(stream_descriptions(container).get(index, ""))
    return match.group(1) if match else None


def stream_descriptions(container: Any) -> dict[int, str]:
    """Return libavformat's one-line description of each stream, by index: facts that PyAV does not expose."""
    import av.logging as log

    previous_level = log.get_level()
    try:
        log.set_level(log.VERBOSE)
        log.set_libav_level(log.VERBOSE)
        text = container.dumps_format()
    finally:
        log.set_libav_level(log.INFO)
        log.set_level(previous_level)
    matches = (_STREAM_LINE.match(line) for line in text.splitlines())
    return {int(line[1]): line[2] for line in matches if line}


def _is_mirrored(frame: Any | None) -> bool:
    """Return whether the display matrix (nine 32-bit numbers, [a b u; c d v; x y w]) mirrors the frame."""
    for side in frame.side_data if frame is not None else ():
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
            return a * d - b * c < 0
    return False


def _field_order(context: Any, frame: Any | None) -> str | None:
    order = _FIELD_ORDERS.get(int(context.field_order or 0))
    if frame is not None and frame.interlaced_frame and order in (None, "progressive"):
        return "tt"  # the frame is flagged interlaced; the deinterlacer reads the field order per frame
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


def _frame_rate(stream: Any) -> Fraction | None:
    """Return libavformat's best guess; None if implausible (the "average" of DV is its clock)."""
    rate = Fraction(stream.guessed_rate or stream.average_rate or 0)
    return rate if 0 < rate <= _MAX_FRAME_RATE else None


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


# Playlist demuxers are not allowed; these signatures name the commonest in messages.
_PLAYLIST_SIGNATURES = (b"#EXTM3U", b"ffconcat", b"[playlist]")
_STREAM_CODEC = re.compile(r"\w+: (\w+)(?: \((\w{4}) / 0x)?")  # kind: codec (tag / its number)
_Y4M_HEADER = re.compile(rb"YUV4MPEG2 W(\d+) H(\d+)\b")
_MAX_PACKETS_TO_FIRST_FRAME = 500
_MICROSECOND = Fraction(1, 1_000_000)


def probe(path: Path) -> Source:
    """Describe the video in a file. Reads headers and decodes the first frame.

    Raises:
        InputError: the file is missing, a folder, empty, unreadable, no video, audio only, a still image, a
            playlist or script, above the limits of ``safety``, or truncated so that nothing can be read.
    """
    path = Path(path)
    size = _check_file(path)
    import av

    try:
        container = open_media(path)
    except av.ArgumentError as error:
        raise InputError(
            f"{path} is not a video: playlists, scripts and image patterns, which name other files, are not "
            "opened; name the video files themselves",
            details=str(error),
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable_error(path, error) from error
    try:
        with container:
            return _describe_source(container, path, size)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable_error(path, error) from error


def _check_file(path: Path) -> int:
    """Return the size in bytes of a readable, non-empty regular file; raise InputError for anything else."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a video; name a file in it")
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is no regular file; save the video to a file first")
        with path.open("rb") as file:
            first_bytes = file.read(32)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except PermissionError:
        raise InputError(f"{path} cannot be read: permission denied; check its access rights") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); check the name and the disk") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or download it again")
    if first_bytes.lstrip(b"\xef\xbb\xbf").startswith(_PLAYLIST_SIGNATURES):
        raise InputError(f"{path} is a playlist, not a video; name the video files themselves")
    if y4m := _Y4M_HEADER.match(first_bytes):  # its demuxer would allocate a frame at once
        _check_frame_size(int(y4m[1]), int(y4m[2]), path)
    return size


def _unreadable_error(path: Path, error: Exception) -> InputError:
    try:
        truncation = find_truncation(path)
    except OSError:
        truncation = None
    if truncation:
        return InputError(
            f"{path} is incomplete: {truncation}; copy, download or record it again", details=str(error)
        )
    return InputError(f"{path} is not a video that ffmpeg can read; check the file", details=str(error))


def _describe_source(container: Any, path: Path, size: int) -> Source:
    name = container.format.name
    if name.endswith("_pipe") or name == "ico":
        raise InputError(f"{path} is a still image ({name}), not a video; give a video file")
    if name == "tty":  # libavformat's text-art demuxer accepts any text file
        raise InputError(f"{path} is a text file, not a video; check the name")
    if len(container.streams) > MAX_STREAMS:
        raise InputError(
            f"{path} has {len(container.streams)} streams, more than the supported {MAX_STREAMS}; "
            "copy those you need into a new file first"
        )
    stream = _select_video_stream(container, path)
    _check_frame_size(stream.codec_context.width, stream.codec_context.height, path)
    metadata = lowercase_tags(container.metadata)
    frame = _first_frame(container, stream)
    start = _container_start(container)
    descriptions = stream_descriptions(container)
    return Source(
        path=path,
        container=name,
        start=start,
        duration=_MICROSECOND * container.duration if container.duration else None,
        size_bytes=size,
        video=describe_video(container, stream, frame, start),
        other_streams=tuple(
            _describe_other_stream(each, descriptions.get(each.index, ""))
            for each in container.streams
            if each.index != stream.index
        ),
        metadata=metadata,
        chapters=tuple(_parse_chapter(each) for each in container.chapters()),
    )


def _select_video_stream(container: Any, path: Path) -> Any:
    """Return the default video stream, or else the first one, ignoring covers and thumbnails."""
    candidates = [
        stream
        for stream in container.streams.video
        if not _is_cover(stream) and stream.codec_context is not None
    ]
    if not candidates:
        if container.streams.audio:
            raise InputError(f"{path} has audio only, no video; give a file with a video stream")
        raise InputError(f"{path} has no video stream; give a file with one")
    stream = next((each for each in candidates if _has_disposition(each, "default")), candidates[0])
    if not stream.codec_context.width or not stream.codec_context.height:
        truncation = find_truncation(path)
        reason = f": {truncation}" if truncation else ""
        raise InputError(f"{path} has a video stream without any frame{reason}; copy or record it again")
    return stream


def _check_frame_size(width: int, height: int, path: Path) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path} declares frames of {width}x{height} pixels, more than the supported "
            f"{MAX_PIXELS // 10**6} million; check the file, or scale it down first"
        )


def _first_frame(container: Any, stream: Any) -> Any | None:
    """Return the first frame that decodes, or None: only frames state rotation and interlacing reliably."""
    import av

    limit_decoder(stream)
    packet_count = 0
    try:
        for packet in container.demux(stream):
            packet_count += 1
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError:
                pass  # a recording that starts between key frames
            if packet_count > _MAX_PACKETS_TO_FIRST_FRAME:
                return None
    except (av.FFmpegError, OSError):
        return None
    return None


def _container_start(container: Any) -> Fraction:
    """Return the earliest start as an exact multiple of its stream's time base.

    libavformat rounds it to microseconds.
    """
    if container.start_time is None:
        return Fraction(0)
    rounded = container.start_time * _MICROSECOND
    stream_starts = [
        each.start_time * Fraction(each.time_base)
        for each in container.streams
        if each.start_time is not None and each.time_base
    ]
    nearest = min(stream_starts, key=lambda start: abs(start - rounded), default=rounded)
    return nearest if abs(nearest - rounded) <= _MICROSECOND else rounded


def _describe_other_stream(stream: Any, description: str) -> OtherStream:
    metadata = lowercase_tags(stream.metadata)
    kind = "cover" if stream.type == "video" and _is_cover(stream) else stream.type
    codec = (
        codec_name(stream.codec_context)
        if stream.codec_context is not None
        else _undecodable_codec_name(stream, description)
    )
    return OtherStream(
        index=stream.index,
        kind=kind if kind in ("audio", "subtitle", "attachment", "cover", "video") else "data",
        codec=codec,
        language=stream_language(metadata),
        title=stream_title(metadata) or (metadata.get("filename") if kind == "attachment" else None),
        summary=_summarize(stream, kind),
    )


def _summarize(stream: Any, kind: str) -> str:
    context = stream.codec_context
    if kind == "audio" and context is not None:
        return f"{context.layout.name}, {context.sample_rate} Hz"
    if kind in ("video", "cover") and context is not None:
        return f"{context.width}x{context.height}"
    return lowercase_tags(stream.metadata).get("filename", "")


def _undecodable_codec_name(stream: Any, description: str) -> str:
    """Name an attachment or data stream, which has no codec context, by tags or libavformat's description."""
    mime_type = lowercase_tags(stream.metadata).get("mimetype", "")
    if mime_type:
        return mime_type.rsplit("/", 1)[-1].removeprefix("x-").removeprefix("truetype-") or "unknown"
    match = _STREAM_CODEC.match(description)
    if not match or (match[1] == "none" and not match[2]):
        return "unknown"
    return match[2] if match[2] and match[1] in ("none", "bin_data") else match[1]


def _parse_chapter(chapter: Any) -> Chapter:
    base = Fraction(chapter["time_base"] or 1)
    return Chapter(chapter["start"] * base, chapter["end"] * base, dict(chapter["metadata"]))


def _has_disposition(stream: Any, disposition: str) -> bool:
    import av.stream

    return bool(stream.disposition & getattr(av.stream.Disposition, disposition))


def _is_cover(stream: Any) -> bool:
    return _has_disposition(stream, "attached_pic") or _has_disposition(stream, "timed_thumbnails")
