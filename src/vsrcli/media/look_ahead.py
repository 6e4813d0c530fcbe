"""What a video shows further on only: streams that begin late, and interlaced frames.

A few places of the file are read. All of it would take minutes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any

from vsrcli.media.h264 import may_have_fields
from vsrcli.media.safety import HEADERLESS_FORMATS, PROBED_BYTES, demux
from vsrcli.media.stream_description import codec_name, stream_descriptions
from vsrcli.media.types import OtherStream

_PLACES = tuple(Fraction(eighths, 8) for eighths in (1, 3, 5, 7))  # of the duration
_END = 5_000_000  # microseconds before the end: one more place
_PACKETS = 50  # of each place: about two seconds
_PACKETS_OF_END = 600
_PACKETS_TO_KEY_FRAME = 600
_FRAMES = 6  # of each place: in a telecined film, two of five are interlaced
_INTERLACED_CODECS = ("mpeg2video", "h264", "dvvideo")
_FLV_AUDIO = 4  # of its flags
_DESCRIPTION = re.compile(r"(Audio|Subtitle|Video): (\w+)")


def may_begin_later(container: Any) -> bool:
    """Return whether a PyAV container may have streams that are not found when it is opened."""
    return container.format.name in HEADERLESS_FORMATS and container.size > PROBED_BYTES


def late_streams(container: Any, stream: Any, path: Path) -> tuple[OtherStream, ...]:
    """Return streams that begin behind the part of the file in which streams are searched for.

    Moves the position in the container.

    Args:
        container, stream: PyAV's; the video.
        path: of the file.
    """
    import av

    if not may_begin_later(container):
        return ()
    if container.format.name == "flv":
        return _announced_sound(container, path)
    known = len(container.streams)
    with contextlib.suppress(av.FFmpegError, OSError):
        places = _places(container)
        for place in places:
            count = _PACKETS_OF_END if place == places[-1] else _PACKETS
            for _ in islice(_packets_from(container, stream, place), count):
                pass  # libavformat finds streams as it reads
    found = ((index, text) for index, text in stream_descriptions(container).items() if index >= known)
    return tuple(_describe(index, text) for index, text in found)


def becomes_interlaced(container: Any, stream: Any) -> bool:
    """Return whether frames further on are seen to be interlaced, in a video whose first one is not.

    Moves the position in the container, and decodes.

    Args:
        container, stream: PyAV's; the video.
    """
    import av
    from av.format import Flags

    context = stream.codec_context
    codec = codec_name(context)
    if codec not in _INTERLACED_CODECS:
        return False
    if Flags.generic_index in Flags(container.format.flags):  # raw, so that seeking would read all of it
        return False
    if container.format.name == "flv" and may_begin_later(container):  # it would, too
        return False
    extradata = bytes(context.extradata or b"")
    has_fields = codec != "h264" or may_have_fields(extradata)
    with contextlib.suppress(av.FFmpegError, OSError):
        for place in _places(container):
            packets = _from_key_frame(_packets_from(container, stream, place))
            first = next(packets, None)
            if first is None or not (has_fields or may_have_fields(bytes(first), extradata)):
                continue
            frames = _decode(chain([first], islice(packets, _PACKETS - 1)))
            if any(frame.interlaced_frame for frame in islice(frames, _FRAMES)):
                return True
    return False


def _places(container: Any) -> list[int]:
    """Return microseconds on the container's clock, the end last; none where its duration is unknown."""
    start, duration = container.start_time or 0, container.duration
    if not duration:
        return []
    return [start + round(place * duration) for place in _PLACES] + [start + max(0, duration - _END)]


def _packets_from(container: Any, stream: Any, place: int) -> Iterator[Any]:
    container.seek(place)
    return demux(container, stream)


def _from_key_frame(packets: Iterator[Any]) -> Iterator[Any]:
    """Skip the packets before the first key frame: in MPEG-TS and -PS, a search ends at any packet."""
    return dropwhile(lambda packet: not packet.is_keyframe, islice(packets, _PACKETS_TO_KEY_FRAME))


def _announced_sound(container: Any, path: Path) -> tuple[OtherStream, ...]:
    """Return the sound that the header of an FLV announces, if it was not found.

    Nothing is searched: without an index of key frames, libavformat would read all bytes up to a place.
    """
    if container.streams.audio:
        return ()
    with path.open("rb") as file:
        header = file.read(5)
    if not header[4] & _FLV_AUDIO:
        return ()
    return (OtherStream(len(container.streams), "audio", "unknown", summary="begins late", is_late=True),)


def _decode(packets: Iterator[Any]) -> Iterator[Any]:
    """Yield the frames that can be decoded: the first packets may refer to frames before the place."""
    import av

    for packet in packets:
        with contextlib.suppress(av.FFmpegError):
            yield from packet.decode()


def _describe(index: int, description: str) -> OtherStream:
    match = _DESCRIPTION.match(description)
    kind, codec = (match[1].lower(), match[2]) if match else ("data", "unknown")
    return OtherStream(index, kind, codec, summary="begins late", is_late=True)
