"""Presentation times of frames, and the key frame from which decoding yields the frames of a full run."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import InputError
from vsrcli.media.safety import demux, open_media
from vsrcli.media.stream_description import has_no_timestamps
from vsrcli.media.types import Source
from vsrcli.system.signals import raise_if_cancelled

_SEEK_DISTANCES = (Fraction(2), Fraction(12), Fraction(60), Fraction(300))
_NTSC_RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001))
_INTEGER_RATES = tuple(Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 100, 120))
_RATE_TOLERANCE = Fraction(1, 1000)  # relative: containers state averages
_TICKS_PER_FRAME = (1, 2, 4, 8)
_MOVED_FRAMES = 0.01  # of all; they share a tick with the one before, and take the next
_MAX_RATE = 65_535  # numerator: of MPEG-4
_REORDER_PACKETS = 64  # more than decoding order differs from presentation order with any codec
_MIN_JUMP = Fraction(1, 2)  # seconds; a smaller one may be damage
_JUMP_PACKETS = 3  # on either side, since one wrong timestamp is no jump


def frame_times(
    source: Source, *, start: Fraction | None = None, max_count: int | None = None
) -> list[Fraction]:
    """Return presentation times of frames, sorted, in seconds on the container's clock; decode nothing.

    Each is the time of a frame, except where a recording begins between key frames or is damaged.

    Args:
        source: the video.
        start: omit earlier ones.
        max_count: return the first ones only, and read the file no further than these require.

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


def frame_ticks(source: Source, before: Jump | None = None) -> np.ndarray:
    """Return presentation times of all frames, sorted, in ticks of the stream's time base: int64 (N,).

    Args:
        source: the video.
        before: leave out frames that lie after this jump in the file.

    Raises:
        InputError: the file cannot be read.
    """
    pts = _read_ticks(source).pts[: None if before is None else before.packet]
    return np.sort(pts[pts != _UNKNOWN])


def frame_count(source: Source) -> int:
    """Return the number of frames in a file, also of those without a presentation time; decode nothing.

    Raw streams have no times at all, and H.264 in program streams only a few.

    Raises:
        InputError: the file cannot be read.
    """
    ticks = _read_ticks(source)
    return max(ticks.filled, int(np.count_nonzero(ticks.pts != _UNKNOWN)))


_UNKNOWN = int(np.iinfo(np.int64).min)
_TicksKey = tuple[Path, int, int, int]
_last_ticks: tuple[_TicksKey, _PacketTicks] | None = None


@dataclass(frozen=True)
class _PacketTicks:
    """Times of all packets in the file's order.

    Attributes:
        dts, pts: in ticks of the stream's time base, or ``_UNKNOWN``: int64 (N,).
        filled: number of packets that have data and are not discarded.
    """

    dts: np.ndarray
    pts: np.ndarray
    filled: int


def _read_ticks(source: Source) -> _PacketTicks:
    """Return the times of all packets. Reads the whole file, so the result for the last file is kept."""
    global _last_ticks
    try:
        stat = source.path.stat()
    except OSError as error:
        raise InputError(f"{source.path} cannot be read ({error.strerror}); check the file") from error
    key = source.path, stat.st_size, stat.st_mtime_ns, source.video.index
    if (last := _last_ticks) is not None and last[0] == key:
        return last[1]
    time_base = source.video.time_base
    times, filled = array("q"), 0
    for packet in packets_of(source):
        filled += bool(packet.size and not packet.is_discard)
        ticks = _packet_ticks(packet, source)
        if ticks is not None and packet.time_base not in (None, time_base):
            ticks = int(ticks * Fraction(packet.time_base) / time_base)
        times.extend(_UNKNOWN if each is None else each for each in (packet.dts, ticks))
    dts, pts = np.array(times, np.int64).reshape(-1, 2).T
    _last_ticks = key, _PacketTicks(dts, pts, filled)
    return _last_ticks[1]


@dataclass(frozen=True)
class Jump:
    """Where timestamps go back to an earlier time and on from there, as in two recordings in one file.

    Attributes:
        time: of the last frame before, in seconds on the container's clock.
        length: seconds by which timestamps go back.
        packet: number of the first packet after it.
    """

    time: Fraction
    length: Fraction
    packet: int


def find_jump_back(source: Source) -> Jump | None:
    """Return the first place where timestamps jump back, None if there is none; reads all packets.

    Raises:
        InputError: the file cannot be read.
    """
    if has_no_timestamps(source.container, source.video.codec):
        return None
    time_base, dts = source.video.time_base, _read_ticks(source).dts
    numbers = np.flatnonzero(dts != _UNKNOWN)
    ticks = dts[numbers]
    for index in np.flatnonzero(np.diff(ticks) < -float(_MIN_JUMP / time_base)).tolist():
        before = ticks[max(index + 1 - _JUMP_PACKETS, 0) : index + 1]
        after = ticks[index + 1 : index + 1 + _JUMP_PACKETS]
        if before.min() > after.max():
            length = int(before[-1] - after[0]) * time_base
            return Jump(int(before[-1]) * time_base, length, int(numbers[index + 1]))
    return None


def constant_frame_rate(ticks: np.ndarray, declared: Fraction | None, time_base: Fraction) -> Fraction | None:
    """Return the frame rate that reproduces the time of every frame to the tick; None if there is none.

    Args:
        ticks: presentation times, sorted, in units of ``time_base``.
        declared: frame rate that the container states; None: unknown.
        time_base: in seconds.
    """
    if len(ticks) < 2:
        return declared or Fraction(25)
    standard_rates = (
        rate
        for rate in (*_NTSC_RATES, *_INTEGER_RATES)
        if declared and abs(rate / declared - 1) < _RATE_TOLERANCE
    )
    for rate in (*([declared] if declared else ()), *standard_rates):
        step = 1 / (rate * time_base)  # ticks
        expected = ticks[0] + np.arange(len(ticks)) * float(step)
        if float(np.abs(ticks - expected).max()) <= 1.0:  # both ends of a step may have been rounded
            return rate
    return None


def counting_tick(ticks: np.ndarray, frame_rate: Fraction, time_base: Fraction) -> Fraction:
    """Return the seconds that a container which counts frames (AVI) has to count, to keep frames apart.

    Those of a frame, if that moves few frames only; else less: each tick without a frame takes 24 bytes.

    Args:
        ticks: presentation times, in units of ``time_base``.
        frame_rate: of the video, which is variable.
        time_base: in seconds.
    """
    ticks = np.unique(ticks)
    if len(ticks) < 2:
        return 1 / frame_rate
    seconds = (ticks - ticks[0]) * float(time_base)
    numbers = np.arange(len(ticks))
    for count in _TICKS_PER_FRAME:
        rate = frame_rate if count == 1 else _countable(count * frame_rate)
        places = np.floor(seconds * float(rate) + 0.5)
        taken = np.maximum.accumulate(places - numbers) + numbers  # each one behind the one before
        if np.count_nonzero(taken != places) <= max(1, _MOVED_FRAMES * len(ticks)):
            return 1 / rate
    distance = int(np.quantile(np.diff(ticks), _MOVED_FRAMES, method="lower"))
    return 1 / _countable(1 / (distance * time_base))


def _countable(rate: Fraction) -> Fraction:
    """Return a rate near this one that every encoder takes."""
    return rate if rate.numerator <= _MAX_RATE else Fraction(min(max(1, round(rate)), _MAX_RATE))


def has_frame_in(source: Source, start: Fraction, end: Fraction | None) -> bool:
    """Return whether a frame begins in ``[start, end)``, seconds on the container's clock.

    Also True where only decoding could tell. Reads only a few packets, unless there are none at ``start``.
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


def first_frame_from(source: Source, start: Fraction) -> Fraction | None:
    """Return the time of the first frame that begins at ``start`` or later, as a decoder with it begins.

    Both are seconds on the container's clock. None: no frame does, or the file states no times.

    Raises:
        InputError: the file cannot be read.
    """
    times = list(islice(_times_from(source, start), _REORDER_PACKETS))
    times = times or frame_times(source, start=start, max_count=1)
    return min(times, default=None)


def last_frame(source: Source, end: Fraction | None) -> tuple[Fraction, Fraction] | None:
    """Return the last frame that begins before ``end``, and its duration in the source.

    Args:
        source: the video.
        end: seconds on the container's clock; None: the end of the video.

    Returns:
        (presentation time, duration) in seconds, or None if the file does not state it.
    """
    import av

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
            for packet in demux(container, stream):
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
        # Matroska's blocks rarely state a duration, its tracks often do; libavformat writes the end instead.
        length = source.video.duration
        close = length if length > last[0] else source.video.start + length
        return last[0], max(close - last[0], last[1])
    return last if last[1] > 0 else None


def keyframe_before(source: Source, time: Fraction) -> Fraction | None:
    """Return the time of the last key frame at or before ``time``, in seconds on the container's clock.

    None: decode from the beginning. Seeking is inexact in files without an index (MPEG-TS), so packets are
    read, from further and further back.
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
    """Yield presentation times in decoding order, in seconds."""
    for packet in packets_of(source):
        ticks = _packet_ticks(packet, source)
        if ticks is not None:
            yield ticks * Fraction(packet.time_base or source.video.time_base)


def packets_of(source: Source) -> Iterator[Any]:
    """Yield the packets of the video, in decoding order."""
    import av

    try:
        with open_media(source.path, format_name=source.container) as container:
            for packet in demux(container, container.streams[source.video.index]):
                raise_if_cancelled()  # a file may have millions of packets
                yield packet
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{source.path} cannot be read to its end; check the file", details=str(error)
        ) from error


def _packet_ticks(packet: Any, source: Source) -> int | None:
    """Return the presentation time of a packet in ticks; None if it is discarded or unknown."""
    raise_if_cancelled()  # a file may have millions of packets
    if packet.is_discard:
        return None
    return packet.dts if has_no_timestamps(source.container, source.video.codec) else packet.pts


def _times_from(source: Source, start: Fraction) -> Iterator[Fraction]:
    """Yield times of frames from ``start`` on, in decoding order; none if seeking fails."""
    import av

    try:
        with open_media(source.path, format_name=source.container) as container:
            stream = container.streams[source.video.index]
            time_base = source.video.time_base
            _seek_before(container, stream, source, start - _SEEK_DISTANCES[0])
            for packet in demux(container, stream):
                ticks = _packet_ticks(packet, source)
                if ticks is not None and ticks * time_base >= start:
                    yield ticks * time_base
    except (av.FFmpegError, OSError):
        return


def _seek_before(container: Any, stream: Any, source: Source, time: Fraction) -> None:
    """Seek to ``time`` or before, unless it precedes the start, to which some demuxers refuse to seek."""
    if time > source.start:
        container.seek(int(time / source.video.time_base), stream=stream, backward=True)


def _last_keyframe(container: Any, stream: Any, time: Fraction, distance: Fraction) -> Fraction | None:
    time_base = Fraction(stream.time_base)
    container.seek(int((time - distance) / time_base), stream=stream, backward=True)
    keyframe: Fraction | None = None
    late_count = 0
    for packet in demux(container, stream):
        if packet.pts is None:
            continue
        packet_time = packet.pts * time_base
        if packet.is_keyframe and packet_time <= time and not packet.is_corrupt:
            keyframe = packet_time
        # Packets are in decoding order: a key frame at or before `time` may follow frames after it.
        late_count = late_count + 1 if packet_time > time else 0
        if late_count >= 2 and (
            packet.dts is None or packet.dts * time_base > time or late_count > _REORDER_PACKETS
        ):
            break
    return keyframe
