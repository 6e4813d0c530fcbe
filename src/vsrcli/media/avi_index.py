"""Times in AVI files: by their index, since libavformat counts on where damage hides packets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vsrcli.media.safety import open_media
from vsrcli.media.timing import packets_of
from vsrcli.media.types import Source

_MAX_HIDDEN_SHARE = Fraction(1, 4)  # if more packets of the index are missing, it lists no frames
_CHUNK_HEADER = 8  # bytes; the index states where this begins, a packet where it ends


@dataclass(frozen=True)
class IndexedTimes:
    """Times in an AVI file, where damage can hide packets, after which libavformat counts on as if nothing.

    All are in ticks of the stream's time base: int64 arrays.

    Attributes:
        frames: times of all frames that the file's index lists, sorted.
        packets: times by that index of the packets that can be read, in decoding order.
        packet_dts: what libavformat says of them, ascending.
    """

    frames: np.ndarray
    packets: np.ndarray
    packet_dts: np.ndarray

    @property
    def has_hidden_frames(self) -> bool:
        """Whether packets are missing that the index lists."""
        return len(self.packets) < len(self.frames)


def read_indexed_times(source: Source) -> IndexedTimes:
    """Read the index and all packets of an AVI file; where it has no index, libavformat's times hold.

    Raises:
        InputError: the file cannot be read.
    """
    listed = _read_index(source)
    dts: list[int] = []
    times: list[int] = []
    for packet in packets_of(source):
        if packet.dts is not None and packet.size and not packet.is_discard:
            lost = times[-1] - dts[-1] if times else 0
            dts.append(int(packet.dts))
            time = listed.get(packet.pos, dts[-1] + lost)
            times.append(max(time, times[-1] + 1) if times else time)
    frames = sorted({*listed.values(), *times})
    if len(frames) > len(times) * (1 + _MAX_HIDDEN_SHARE):
        frames = times = dts
    return IndexedTimes(*(np.array(each, np.int64) for each in (frames, times, dts)))


def _read_index(source: Source) -> dict[int | None, int]:
    """Return the time of each frame in the index by the position of its packet in the file."""
    import av

    try:
        with open_media(source.path, format_name=source.container) as container:
            entries = container.streams[source.video.index].index_entries
            return {entry.pos + _CHUNK_HEADER: entry.timestamp for entry in entries if entry.size > 0}
    except (av.FFmpegError, OSError):
        return {}
