"""What a video shows further on only: streams that begin late, and interlaced frames.

A few places of the file are read. All of it would take minutes.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

from vsrcli.media.h264 import may_have_fields
from vsrcli.media.safety import HEADERLESS_FORMATS, PROBED_BYTES, demux
from vsrcli.media.stream_description import codec_name, stream_descriptions
from vsrcli.media.types import OtherStream

_PLACES = tuple(Fraction(eighths, 8) for eighths in (1, 3, 5, 7))  # of the duration
_PACKETS = 50  # of each place: about two seconds
_FRAMES = 6  # of each place: in a telecined film, two of five are interlaced
_INTERLACED_CODECS = ("mpeg2video", "h264", "dvvideo")
_DESCRIPTION = re.compile(r"(Audio|Subtitle|Video): (\w+)")


def may_begin_later(container: Any) -> bool:
    """Return whether a PyAV container may have streams that are not found when it is opened."""
    return container.format.name in HEADERLESS_FORMATS and container.size > PROBED_BYTES


def late_streams(container: Any, stream: Any) -> tuple[OtherStream, ...]:
    """Return streams that begin behind the part of the file in which streams are searched for.

    Moves the position in the container.

    Args:
        container, stream: PyAV's; the video.
    """
    import av

    if not may_begin_later(container):
        return ()
    known = len(container.streams)
    with contextlib.suppress(av.FFmpegError, OSError):
        for packets in _places(container, stream):
            deque(packets, maxlen=0)
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
    if codec == "h264" and not may_have_fields(bytes(context.extradata or b"")):
        return False
    with contextlib.suppress(av.FFmpegError, OSError):
        for packets in _places(container, stream):
            if any(frame.interlaced_frame for frame in islice(_decode(packets), _FRAMES)):
                return True
    return False


def _places(container: Any, stream: Any) -> Iterator[Iterator[Any]]:
    """Yield packets of the video at each place."""
    if not container.duration:
        return
    for place in _PLACES:
        container.seek(round((container.start_time or 0) + place * container.duration))
        yield islice(demux(container, stream), _PACKETS)


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
