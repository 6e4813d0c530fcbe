"""Look at a file and say what film it holds, without ffprobe (the bundled ffmpeg brings none)."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import InputError
from vsrcli.media.integrity import find_truncation
from vsrcli.media.opening import MAX_PIXELS, MAX_STREAMS, limit_decoder, open_media
from vsrcli.media.picture import codec_name, describe_video, language, stream_lines, tags, track_title
from vsrcli.media.types import Chapter, OtherStream, Source

# Their readers are not allowed; by these the commonest are known well enough to be named.
_PLAYLIST_HEADS = (b"#EXTM3U", b"ffconcat", b"[playlist]")
_DATA = re.compile(r"\w+: (\w+)(?: \((\w{4}) / 0x)?")  # kind: codec (tag / its number)
_Y4M = re.compile(rb"YUV4MPEG2 W(\d+) H(\d+)\b")
_FIRST_PICTURE_PACKETS = 500
_MICROSECOND = Fraction(1, 1_000_000)


def probe(path: Path) -> Source:
    """Describe the film in a file. Reads headers and decodes the first picture.

    Raises:
        InputError: missing, a folder, empty, unreadable, not a video, sound only, a still picture, a
            playlist or script, larger than ``opening`` allows, or cut short so that nothing can be read.
    """
    path = Path(path)
    size = _check_file(path)
    import av

    try:
        container = open_media(path)
    except av.ArgumentError as error:
        raise InputError(
            f"{path} is no film: playlists, scripts and picture patterns, which name other files, are not "
            "opened; name the video files themselves",
            details=str(error),
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        with container:
            return _describe(container, path, size)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def _check_file(path: Path) -> int:
    """Size in bytes of a readable, non-empty regular file."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a video; name a file in it")
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is no regular file; save the video to a file first")
        with path.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except PermissionError:
        raise InputError(f"{path} cannot be read: permission denied; check its access rights") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); check the name and the disk") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or download it again")
    if head.lstrip(b"\xef\xbb\xbf").startswith(_PLAYLIST_HEADS):
        raise InputError(f"{path} is a playlist, not a video; name the video files themselves")
    if promised := _Y4M.match(head):  # its reader would ask for that memory at once
        _check_size(int(promised[1]), int(promised[2]), path)
    return size


def _unreadable(path: Path, error: Exception) -> InputError:
    try:
        missing = find_truncation(path)
    except OSError:
        missing = None
    if missing:
        return InputError(
            f"{path} is incomplete: {missing}; copy, download or record it again", details=str(error)
        )
    return InputError(f"{path} is not a video that ffmpeg can read; check the file", details=str(error))


def _describe(container: Any, path: Path, size: int) -> Source:
    name = container.format.name
    if name.endswith("_pipe") or name == "ico":
        raise InputError(f"{path} is a still picture ({name}), not a video; give a video file")
    if name == "tty":  # libavformat's text-art demuxer takes any text file
        raise InputError(f"{path} is a text file, not a video; check the name")
    if len(container.streams) > MAX_STREAMS:
        raise InputError(
            f"{path} holds {len(container.streams)} streams, more than the {MAX_STREAMS} that are taken; "
            "copy those you need into a new file first"
        )
    stream = _choose(container, path)
    _check_size(stream.codec_context.width, stream.codec_context.height, path)
    metadata = tags(container.metadata)
    frame = _first_frame(container, stream)
    start = _container_start(container)
    lines = stream_lines(container)
    return Source(
        path=path,
        container=name,
        start=start,
        duration=_MICROSECOND * container.duration if container.duration else None,
        size=size,
        video=describe_video(container, stream, frame, start),
        others=tuple(
            _other(each, lines.get(each.index, ""))
            for each in container.streams
            if each.index != stream.index
        ),
        chapters=len(container.chapters()),
        metadata=metadata,
        chapter_marks=tuple(_chapter(each) for each in container.chapters()),
    )


def _choose(container: Any, path: Path) -> Any:
    """The default video stream, or else the first one; covers and thumbnails are no film."""
    films = [
        stream
        for stream in container.streams.video
        if not _is_cover(stream) and stream.codec_context is not None
    ]
    if not films:
        if container.streams.audio:
            raise InputError(f"{path} holds sound only, no video; give a file with a picture")
        raise InputError(f"{path} holds no video stream; give a file with a picture")
    stream = next((each for each in films if _has(each, "default")), films[0])
    if not stream.codec_context.width or not stream.codec_context.height:
        missing = find_truncation(path)
        reason = f": {missing}" if missing else ""
        raise InputError(f"{path} holds a video stream without any picture{reason}; copy or record it again")
    return stream


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path} says that its picture has {width}x{height} pixels, more than the "
            f"{MAX_PIXELS // 10**6} million that are taken; check the file, or shrink it first"
        )


def _first_frame(container: Any, stream: Any) -> Any | None:
    """The first picture that decodes, or None: rotation and interlacing are only certain on it."""
    import av

    limit_decoder(stream)
    seen = 0
    try:
        for packet in container.demux(stream):
            seen += 1
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError:
                pass  # a recording that starts between key frames
            if seen > _FIRST_PICTURE_PACKETS:
                return None
    except (av.FFmpegError, OSError):
        return None
    return None


def _container_start(container: Any) -> Fraction:
    """The earliest start as an exact multiple of that stream's clock; libavformat rounds to microseconds."""
    if container.start_time is None:
        return Fraction(0)
    rounded = container.start_time * _MICROSECOND
    exact = [
        each.start_time * Fraction(each.time_base)
        for each in container.streams
        if each.start_time is not None and each.time_base
    ]
    nearest = min(exact, key=lambda start: abs(start - rounded), default=rounded)
    return nearest if abs(nearest - rounded) <= _MICROSECOND else rounded


def _other(stream: Any, line: str) -> OtherStream:
    metadata = tags(stream.metadata)
    kind = "cover" if stream.type == "video" and _is_cover(stream) else stream.type
    codec = codec_name(stream.codec_context) if stream.codec_context is not None else _data_name(stream, line)
    return OtherStream(
        index=stream.index,
        kind=kind if kind in ("audio", "subtitle", "attachment", "cover", "video") else "data",
        codec=codec,
        language=language(metadata),
        title=track_title(metadata) or (metadata.get("filename") if kind == "attachment" else None),
        summary=_summary(stream, kind),
    )


def _summary(stream: Any, kind: str) -> str:
    context = stream.codec_context
    if kind == "audio" and context is not None:
        return f"{context.layout.name}, {context.sample_rate} Hz"
    if kind in ("video", "cover") and context is not None:
        return f"{context.width}x{context.height}"
    return tags(stream.metadata).get("filename", "")


def _data_name(stream: Any, line: str) -> str:
    """Attachments and data have no decoder, hence no codec context; tags or libavformat's line name them."""
    mime = tags(stream.metadata).get("mimetype", "")
    if mime:
        return mime.rsplit("/", 1)[-1].removeprefix("x-").removeprefix("truetype-") or "unknown"
    found = _DATA.match(line)
    if not found or (found[1] == "none" and not found[2]):
        return "unknown"
    return found[2] if found[2] and found[1] in ("none", "bin_data") else found[1]


def _chapter(chapter: Any) -> Chapter:
    base = Fraction(chapter["time_base"] or 1)
    return Chapter(chapter["start"] * base, chapter["end"] * base, dict(chapter["metadata"]))


def _has(stream: Any, disposition: str) -> bool:
    import av.stream

    return bool(stream.disposition & getattr(av.stream.Disposition, disposition))


def _is_cover(stream: Any) -> bool:
    return _has(stream, "attached_pic") or _has(stream, "timed_thumbnails")
