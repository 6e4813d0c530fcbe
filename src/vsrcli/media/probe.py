"""Look at a file and say what film it holds, without ffprobe (the bundled ffmpeg brings none).

The facts about one video stream, from its headers and its first picture.
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

_HIGHEST_RATE = 1000
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}
_STREAM = re.compile(r"\s*Stream #0:(\d+)[^:]*: (.*)")  # its language and id stand before the colon
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_CHROMA = re.compile(r"\((?:[^()]*, )?(left|center|topleft|top|bottomleft|bottom)\)")


def describe_video(container: Any, stream: Any, frame: Any | None, container_start: Fraction) -> VideoStream:
    """Everything about the stream that will be upscaled.

    Args:
        container, stream: of PyAV.
        frame: its first picture, as far as one could be decoded.
        container_start: seconds.
    """
    context = stream.codec_context
    metadata = lowercase_tags(stream.metadata)
    pix_fmt = _pixel_format(context, frame, metadata)
    width, height = (frame.width, frame.height) if frame is not None else (context.width, context.height)
    # libav gives counterclockwise degrees of what to do; this house speaks of clockwise quarter turns.
    rotation = round(-(frame.rotation if frame is not None else 0) / 90) * 90 % 360
    shape = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1) or Fraction(1)
    if rotation in (90, 270):
        width, height, shape = height, width, 1 / shape
    bits, alpha = bit_depth(pix_fmt), _has_alpha(pix_fmt)
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
        bit_depth=bits,
        has_alpha=alpha and has_transparency(container, stream, frame),
        time_base=time_base,
        frame_rate=_rate(stream),
        start=container_start if start is None else start * time_base,
        duration=stream.duration * time_base if stream.duration else _stated_duration(metadata),
        frame_count=_stated_frames(stream, metadata),
        sample_aspect_ratio=shape,
        color=_color(container, stream, frame),
        field_order=_field_order(context, frame),
        language=stream_language(metadata),
        title=stream_title(metadata),
        is_mirrored=_mirrored(frame),
        mastering_display=mastering_display(frame),
        content_light=content_light_level(frame),
        timecode=metadata.get("timecode"),
        unsupported_features=(*unsupported_side_data(frame), *_layers(context)),
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
    found = _CHROMA.search(stream_lines(container).get(index, ""))
    return found.group(1) if found else None


def stream_lines(container: Any) -> dict[int, str]:
    """libavformat's own description of every stream; it names what PyAV has no attribute for."""
    import av.logging as log

    before = log.get_level()
    try:
        log.set_level(log.VERBOSE)
        log.set_libav_level(log.VERBOSE)
        text = container.dumps_format()
    finally:
        log.set_libav_level(log.INFO)
        log.set_level(before)
    found = (_STREAM.match(line) for line in text.splitlines())
    return {int(line[1]): line[2] for line in found if line}


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


def bit_depth(pix_fmt: str) -> int:
    """Bits per component of a pixel format: 8 at least, 16 at most."""
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
    """As coded; this decoder does not see the transparency of VP8 and VP9, which lies beside the picture."""
    pix_fmt = (frame.format.name if frame is not None else context.pix_fmt) or "yuv420p"
    beside = metadata.get("alpha_mode") == "1" and pix_fmt.startswith("yuv4")
    return pix_fmt.replace("yuv", "yuva", 1) if beside else pix_fmt


def _layers(context: Any) -> tuple[str, ...]:
    """A second layer of HEVC (transparency, a second eye) shows in its headers: units of a layer above 0."""
    data = bytes(context.extradata or b"")
    if codec_name(context) != "hevc" or data[:1] != b"\1":
        return ()
    at, layered = 23, False
    for _ in range(data[22]):
        for _ in range(int.from_bytes(data[at + 1 : at + 3], "big")):
            size = int.from_bytes(data[at + 3 : at + 5], "big")
            layered = layered or int.from_bytes(data[at + 5 : at + 7], "big") >> 3 & 63 > 0
            at += 2 + size
        at += 3
    return ("a second layer of the picture (transparency or a second eye)",) if layered else ()


def has_no_timestamps(container: str, codec: str) -> bool:
    """Whether pictures have no times of their own but follow one another at the container's rate.

    AVI stores no times, and libavformat's guesses at those of codecs with reordering differ between packets
    and pictures, and from one first picture to the second.
    """
    return container == "avi" and codec in ("h264", "hevc")


def _rate(stream: Any) -> Fraction | None:
    """libavformat's best guess; None if it is no rate that a film has (DV's "average" is its clock)."""
    rate = Fraction(stream.guessed_rate or stream.average_rate or 0)
    return rate if 0 < rate <= _HIGHEST_RATE else None


def _stated_frames(stream: Any, metadata: Mapping[str, str]) -> int | None:
    if stream.frames > 0:
        return int(stream.frames)
    stated = next((value for key, value in metadata.items() if key.startswith("number_of_frames")), "")
    return int(stated) if stated.isdigit() and int(stated) > 0 else None


def _stated_duration(metadata: Mapping[str, str]) -> Fraction | None:
    """Matroska's tag (``00:00:02.800000000``), seconds."""
    found = _DURATION.fullmatch(metadata.get("duration", ""))
    return 3600 * int(found[1]) + 60 * int(found[2]) + Fraction(found[3]) if found else None


def codec_name(context: Any) -> str:
    """The codec's own name (``av1``), not that of the decoder at hand (``libdav1d``)."""
    return context.codec.canonical_name or context.name


def stream_title(metadata: Mapping[str, str]) -> str | None:
    return metadata.get("title") or metadata.get("name")  # MP4 calls it the track's name


def lowercase_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags with lower-case keys (Matroska shouts, MP4 does not)."""
    return {key.lower(): value for key, value in metadata.items()}


def stream_language(metadata: Mapping[str, str]) -> str | None:
    language = metadata.get("language")
    return None if language in (None, "", "und") else language


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
    metadata = lowercase_tags(container.metadata)
    frame = _first_frame(container, stream)
    start = _container_start(container)
    lines = stream_lines(container)
    return Source(
        path=path,
        container=name,
        start=start,
        duration=_MICROSECOND * container.duration if container.duration else None,
        size_bytes=size,
        video=describe_video(container, stream, frame, start),
        other_streams=tuple(
            _other(each, lines.get(each.index, ""))
            for each in container.streams
            if each.index != stream.index
        ),
        chapter_count=len(container.chapters()),
        metadata=metadata,
        chapters=tuple(_chapter(each) for each in container.chapters()),
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
    metadata = lowercase_tags(stream.metadata)
    kind = "cover" if stream.type == "video" and _is_cover(stream) else stream.type
    codec = codec_name(stream.codec_context) if stream.codec_context is not None else _data_name(stream, line)
    return OtherStream(
        index=stream.index,
        kind=kind if kind in ("audio", "subtitle", "attachment", "cover", "video") else "data",
        codec=codec,
        language=stream_language(metadata),
        title=stream_title(metadata) or (metadata.get("filename") if kind == "attachment" else None),
        summary=_summary(stream, kind),
    )


def _summary(stream: Any, kind: str) -> str:
    context = stream.codec_context
    if kind == "audio" and context is not None:
        return f"{context.layout.name}, {context.sample_rate} Hz"
    if kind in ("video", "cover") and context is not None:
        return f"{context.width}x{context.height}"
    return lowercase_tags(stream.metadata).get("filename", "")


def _data_name(stream: Any, line: str) -> str:
    """Attachments and data have no decoder, hence no codec context; tags or libavformat's line name them."""
    mime = lowercase_tags(stream.metadata).get("mimetype", "")
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
