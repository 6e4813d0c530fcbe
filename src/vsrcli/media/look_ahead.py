"""What a video shows further on only: streams that begin late.

A few places of the file are read. All of it would take minutes.
"""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from itertools import islice
from typing import Any

from vsrcli.media.safety import HEADERLESS_FORMATS, PROBED_BYTES, demux
from vsrcli.media.stream_description import stream_descriptions
from vsrcli.media.types import OtherStream

_PLACES = tuple(Fraction(eighths, 8) for eighths in (1, 3, 5, 7))  # of the duration
_PACKETS = 50  # about two seconds
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

    if not may_begin_later(container) or not container.duration:
        return ()
    known = len(container.streams)
    with contextlib.suppress(av.FFmpegError, OSError):
        for place in _PLACES:
            container.seek(round((container.start_time or 0) + place * container.duration))
            for _ in islice(demux(container, stream), _PACKETS):
                pass
    found = ((index, text) for index, text in stream_descriptions(container).items() if index >= known)
    return tuple(_describe(index, text) for index, text in found)


def _describe(index: int, description: str) -> OtherStream:
    match = _DESCRIPTION.match(description)
    kind, codec = (match[1].lower(), match[2]) if match else ("data", "unknown")
    return OtherStream(index, kind, codec, summary="begins late", is_late=True)
