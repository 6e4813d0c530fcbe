"""When pictures are shown, and where decoding must begin to give the same picture as a full run."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from vsrcli.errors import InputError
from vsrcli.media.probe import has_no_timestamps
from vsrcli.media.safety import open_media
from vsrcli.media.types import ImageSequence, Source

_SEEK_DISTANCES = (Fraction(2), Fraction(12), Fraction(60), Fraction(300))
_REORDER_PACKETS = 64  # packets; more than any codec's decoding order differs from that of presentation


def frame_times(
    source: Source, *, start: Fraction | None = None, max_count: int | None = None
) -> list[Fraction]:
    """Presentation times of all pictures, in seconds on the container's clock, sorted; nothing is decoded.

    Each of them is a frame, except where a recording begins between key frames or is damaged.

    Args:
        source: the film.
        since: leave out earlier ones.
        count: the first so many; the file is then read no further than these need.

    Raises:
        InputError: the file cannot be read.
    """
    times: list[Fraction] = []
    for time in _packet_times(source):
        if start is None or time >= start:
            times.append(time)
        if max_count is not None and len(times) >= max_count + _REORDER_PACKETS:
            break
    return sorted(times)[:max_count]


def frame_ticks(source: Source) -> np.ndarray:
    """The same in ticks of the picture's clock, all of them: int64 (N,).

    Raises:
        InputError: the file cannot be read.
    """
    time_base = source.video.time_base
    ticks = np.fromiter((int(time / time_base) for time in _packet_times(source)), np.int64)
    return np.sort(ticks)


def has_frame_in(source: Source, start: Fraction, end: Fraction | None) -> bool:
    """Whether a picture begins in ``[start, end)``, seconds on the container's clock.

    True as well where nobody can tell before decoding. Reads a few packets only, unless none is found there.
    """
    first_times = list(islice(_times_from(source, start), _REORDER_PACKETS))
    if first_times and (end is None or min(first_times) < end):
        return True
    try:
        times = frame_times(source, start=start, max_count=1)
        if times:
            return end is None or times[0] < end
        return not frame_times(source, max_count=1)  # raw streams have no times at all
    except InputError:
        return True


def last_frame(source: Source, end: Fraction | None) -> tuple[Fraction, Fraction] | None:
    """The last picture that begins before ``end``, and for how long the source shows it, in seconds.

    Args:
        source: the film.
        end: seconds on the container's clock; None: the film's end.

    Returns:
        (presentation time, duration), or None if the file does not say.
    """
    import av

    if isinstance(source, ImageSequence):
        return None  # each is shown as long as the others
    stop = end
    if stop is None:
        duration = source.video.duration or source.duration
        if duration is None:
            return None
        stop = source.start + duration
    time_base = source.video.time_base
    last: tuple[Fraction, Fraction] | None = None
    next_time: Fraction | None = None
    try:
        with open_media(source.path, format_name=source.container) as container:
            stream = container.streams[source.video.index]
            _seek_before(container, stream, source, stop - _SEEK_DISTANCES[0])
            late_count = 0
            for packet in container.demux(stream):
                ticks = _packet_ticks(packet, source)
                if ticks is None:
                    continue
                time = ticks * time_base
                if end is None or time < end:
                    last = max(last or (time, Fraction(0)), (time, (packet.duration or 0) * time_base))
                else:
                    next_time = time if next_time is None else min(next_time, time)
                    late_count += 1
                if late_count > _REORDER_PACKETS:
                    break
    except (av.FFmpegError, OSError):
        return None
    if last is None:
        return None
    if next_time is not None and end is not None:
        return last[0], min(next_time, end) - last[0]
    if source.container.startswith("matroska") and source.video.duration is not None:
        # Its blocks rarely say how long they last, its tracks often do.
        return last[0], max(source.video.start + source.video.duration - last[0], last[1])
    return last if last[1] > 0 else None


def keyframe_before(source: Source, time: Fraction) -> Fraction | None:
    """Time of the last key frame at or before ``time``, in seconds on the container's clock.

    Files without an index (MPEG-TS) land anywhere when told to seek, so the packets themselves are read, from
    further and further back. None: decode from the beginning.
    """
    import av

    try:
        with open_media(source.path, format_name=source.container) as container:
            stream = container.streams[source.video.index]
            for distance in _SEEK_DISTANCES:
                keyframe = _last_keyframe(container, stream, time, distance)
                if keyframe is not None or time - distance <= source.start:
                    return keyframe
    except (av.FFmpegError, OSError):
        return None
    return None


def _packet_times(source: Source) -> Iterator[Fraction]:
    """Presentation times in decoding order, seconds; where there are none, the places in the file."""
    import av

    if isinstance(source, ImageSequence):
        yield from (number * source.video.time_base for number in range(len(source.files)))
        return
    try:
        with open_media(source.path, format_name=source.container) as container:
            stream = container.streams[source.video.index]
            time_base = Fraction(stream.time_base or source.video.time_base)
            for packet in container.demux(stream):
                ticks = _packet_ticks(packet, source)
                if ticks is not None:
                    yield ticks * time_base
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{source.path} cannot be read to its end; check the file", details=str(error)
        ) from error


def _packet_ticks(packet: Any, source: Source) -> int | None:
    """When a packet's picture is shown, in ticks; None if it is not, or nobody knows."""
    if packet.is_discard:
        return None
    return packet.dts if has_no_timestamps(source.container, source.video.codec) else packet.pts


def _times_from(source: Source, start: Fraction) -> Iterator[Fraction]:
    """Times of pictures from ``start`` on, in decoding order; none if seeking leads nowhere."""
    import av

    try:
        with open_media(source.path, format_name=source.container) as container:
            stream = container.streams[source.video.index]
            time_base = source.video.time_base
            _seek_before(container, stream, source, start - _SEEK_DISTANCES[0])
            for packet in container.demux(stream):
                ticks = _packet_ticks(packet, source)
                if ticks is not None and ticks * time_base >= start:
                    yield ticks * time_base
    except (av.FFmpegError, OSError):
        return


def _seek_before(container: Any, stream: Any, source: Source, time: Fraction) -> None:
    """Go on reading at or before ``time``; some readers refuse to look for what lies before the start."""
    if time > source.start:
        container.seek(int(time / source.video.time_base), stream=stream, backward=True)


def _last_keyframe(container: Any, stream: Any, time: Fraction, distance: Fraction) -> Fraction | None:
    time_base = Fraction(stream.time_base)
    container.seek(int((time - distance) / time_base), stream=stream, backward=True)
    keyframe: Fraction | None = None
    late_count = 0
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        packet_time = packet.pts * time_base
        if packet.is_keyframe and packet_time <= time and not packet.is_corrupt:
            keyframe = packet_time
        # Packets come in decoding order: a key frame at or before `time` may follow pictures that are later.
        late_count = late_count + 1 if packet_time > time else 0
        if late_count >= 2 and (
            packet.dts is None or packet.dts * time_base > time or late_count > _REORDER_PACKETS
        ):
            break
    return keyframe
