"""When pictures are shown, and where decoding must begin to give the same picture as a full run."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vsrcli.errors import InputError
from vsrcli.media.ffmpeg import file_url
from vsrcli.media.types import Source

_BACK = (Fraction(2), Fraction(12), Fraction(60), Fraction(300))
_REORDER = 64  # packets; more than any codec's decoding order differs from that of presentation


def frame_times(source: Source, *, since: Fraction | None = None, count: int | None = None) -> list[Fraction]:
    """Presentation times of all pictures, in seconds on the container's clock, sorted; nothing is decoded.

    Each of them is a frame, except where a recording begins between key frames or is damaged.

    Args:
        source: the film.
        since: leave out earlier ones.
        count: the first so many; the file is then read no further than these need.

    Raises:
        InputError: the file cannot be read.
    """
    import av

    try:
        with av.open(
            file_url(source.path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        ) as container:
            stream = container.streams[source.video.index]
            base = Fraction(stream.time_base or source.video.time_base)
            times: list[Fraction] = []
            for packet in container.demux(stream):
                if packet.pts is None or packet.is_discard:
                    continue
                if since is None or packet.pts * base >= since:
                    times.append(packet.pts * base)
                if count is not None and len(times) >= count + _REORDER:
                    break
            return sorted(times)[:count]
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{source.path} cannot be read to its end; check the file", details=str(error)
        ) from error


def keyframe_before(source: Source, time: Fraction) -> Fraction | None:
    """Time of the last key frame at or before ``time``, in seconds on the container's clock.

    Files without an index (MPEG-TS) land anywhere when told to seek, so the packets themselves are read, from
    further and further back. None: decode from the beginning.
    """
    import av

    try:
        with av.open(
            file_url(source.path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        ) as container:
            stream = container.streams[source.video.index]
            for back in _BACK:
                found = _last_keyframe(container, stream, time, back)
                if found is not None or time - back <= source.start:
                    return found
    except (av.FFmpegError, OSError):
        return None
    return None


def _last_keyframe(container: Any, stream: Any, time: Fraction, back: Fraction) -> Fraction | None:
    base = Fraction(stream.time_base)
    container.seek(int((time - back) / base), stream=stream, backward=True)
    best: Fraction | None = None
    late = 0
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        at = packet.pts * base
        if packet.is_keyframe and at <= time and not packet.is_corrupt:
            best = at
        # Packets come in decoding order: a key frame at or before `time` may follow pictures that are later.
        late = late + 1 if at > time else 0
        if late >= 2 and (packet.dts is None or packet.dts * base > time or late > _REORDER):
            break
    return best
