"""Probe a video file: its streams and metadata, read with PyAV, since the bundled ffmpeg brings no ffprobe.

Facts come from the headers and, where only it is certain (rotation, interlacing, HDR), the first frame, or
frames further on (:mod:`~vsrcli.media.look_ahead`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import InputError
from vsrcli.media.look_ahead import becomes_interlaced, late_streams, may_begin_later
from vsrcli.media.safety import MAX_PIXELS, MAX_STREAMS, demux, limit_decoder, open_media
from vsrcli.media.stream_description import (
    codec_name,
    describe_video,
    lowercase_tags,
    stream_descriptions,
    stream_language,
    stream_title,
)
from vsrcli.media.truncation import find_truncation
from vsrcli.media.types import MIXED, Chapter, OtherStream, Source

# Playlist demuxers are not allowed; these signatures name the commonest in messages.
_PLAYLIST_SIGNATURES = (b"#EXTM3U", b"ffconcat", b"[playlist]")
_STREAM_CODEC = re.compile(r"\w+: (\w+)(?:[^(]*\((\w{4}) / 0x)?")  # kind: codec (tag / its number)
_Y4M_HEADER = re.compile(rb"YUV4MPEG2 W(\d+) H(\d+)\b")
_OF_STREAM_IN_OGG = ("encoder", "language")
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
    except InputError as unreadable:
        return unreadable
    if truncation:
        return InputError(
            f"{path} is incomplete: {truncation}; copy, download or record it again", details=str(error)
        )
    return InputError(f"{path} is not a video that ffmpeg can read; check the file", details=str(error))


def _describe_source(container: Any, path: Path, size: int) -> Source:
    name = container.format.name
    if name == "webp_pipe" and _is_animated_webp(path):
        raise InputError(
            f"{path} is an animated WebP, which ffmpeg cannot read here; convert it to images, by "
            "`magick IN.webp -coalesce FRAMES/%05d.png`, and give their folder and --fps"
        )
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
    if name == "ogg":  # its comments are those of streams; an encoder describes only itself
        comments = lowercase_tags(stream.metadata).items()
        metadata |= {key: value for key, value in comments if key not in (*metadata, *_OF_STREAM_IN_OGG)}
    frame = _first_frame(container, stream)
    start = _container_start(container)
    descriptions = stream_descriptions(container)
    source = Source(
        path=path,
        container=name,
        start=start,
        duration=_MICROSECOND * container.duration if container.duration else None,
        size_bytes=size,
        video=describe_video(container, stream, frame, start),
        other_streams=tuple(
            _describe_other_stream(each, descriptions.get(each.index, ""), may_begin_later(container))
            for each in container.streams
            if each.index != stream.index
        ),
        metadata=metadata,
        chapters=tuple(_parse_chapter(each) for each in container.chapters()),
    )
    if not source.video.is_interlaced and becomes_interlaced(container, stream):
        source = replace(source, video=replace(source.video, field_order=MIXED))
    return replace(source, other_streams=source.other_streams + late_streams(container, stream, path))


def _is_animated_webp(path: Path) -> bool:
    with path.open("rb") as file:
        first_bytes = file.read(21)
    return first_bytes[12:16] == b"VP8X" and bool(first_bytes[20] & 2)


def _select_video_stream(container: Any, path: Path) -> Any:
    """Return the default video stream with a picture, or else the first; no covers, thumbnails, parts.

    Of a HEIF photograph in tiles, each tile is a part; its thumbnail or gain map is no default stream.
    """
    streams = container.streams.video
    parts = [stream for stream in streams if _has_disposition(stream, "dependent")]
    candidates = [
        stream
        for stream in streams
        if not _is_cover(stream) and stream not in parts and stream.codec_context is not None
    ]
    is_mov = container.format.name.startswith("mov,")
    if parts and is_mov and not any(_has_disposition(each, "default") for each in candidates):
        raise InputError(f"{path} is a HEIF photograph in tiles; convert it to PNG or JPEG first")
    if not candidates:
        undecodable = [stream for stream in container.streams.video if not _is_cover(stream)]
        if undecodable:
            description = stream_descriptions(container).get(undecodable[0].index, "")
            codec = _undecodable_codec_name(undecodable[0], description)
            raise InputError(
                f"{path} has a video that cannot be decoded (codec {codec}); "
                "convert it with a program that can"
            )
        if container.streams.audio:
            raise InputError(f"{path} has audio only, no video; give a file with a video stream")
        raise InputError(f"{path} has no video stream; give a file with one")
    candidates = [each for each in candidates if _has_parameters(each)] or candidates  # with a picture
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
        for packet in demux(container, stream):
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
    stream_starts = [start for start in map(_stream_start, container.streams) if start is not None]
    nearest = min(stream_starts, key=lambda start: abs(start - rounded), default=rounded)
    return nearest if abs(nearest - rounded) <= _MICROSECOND else rounded


def _stream_start(stream: Any) -> Fraction | None:
    """Return the start that a stream states, in seconds."""
    if stream.start_time is None or not stream.time_base:
        return None
    return stream.start_time * Fraction(stream.time_base)


def _describe_other_stream(stream: Any, description: str, may_begin_later: bool) -> OtherStream:
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
        is_readable=_has_parameters(stream),
        is_late=may_begin_later and not _has_parameters(stream),
        start=_stream_start(stream),
    )


def _has_parameters(stream: Any) -> bool:
    """Return whether audio states its sample rate and channels, and video its size; True for the others."""
    context = stream.codec_context
    if stream.type == "audio":
        return context is not None and context.sample_rate > 0 and context.layout.nb_channels > 0
    if stream.type == "video":
        return context is not None and context.width > 0 and context.height > 0
    return True


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
