"""Streams around other streams: reuse of static frames, resizing of results, passes in sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Self

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.frames.state import State, join_states, split_state, validate_state
from vsrcli.inference.tiled import count_due
from vsrcli.inference.types import Stream

FULL_FRAME = (1.0, 1.0)  # visible shares of width and height
_ROW_STEP = 16  # every so many rows are compared first: most frames that differ, differ there
_PASS = "pass"  # prefix of the passes' states


class StreamWrapper(Stream):
    """Base of streams around another :class:`~vsrcli.inference.types.Stream`, to which they delegate.

    A fork has the attributes of the original. State: that of the stream inside.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._stream.push(frame)

    def flush(self) -> list[np.ndarray]:
        return self._stream.flush()

    def fork(self) -> Self:
        twin = copy(self)
        twin._stream = self._stream.fork()
        return twin

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)

    def take_overdue(self) -> np.ndarray | None:
        return self._stream.take_overdue()


class StaticFrameStream(StreamWrapper):
    """A stream that reuses its last result where that is exact.

    Title cards, slides and screen recordings show one frame for seconds, equal bit for bit after decoding. A
    result that is ``lookahead`` frames late depends on ``2*lookahead + 1`` frames, and so does the stream's
    state. Once the newest ``2*lookahead + 2`` frames are equal, the next result equals the last one and the
    state does not change, so the stream inside is not run. This holds for networks that depend on a window
    only (kinds ``window`` and ``cached``). Never wrap a *recurrent* network: its hidden state changes even
    while frames do not.

    Equal frames are not counted across :meth:`restore`: a restored stream computes up to ``2*lookahead + 2``
    results that it could have reused, and they are the same. Results stay as late as in the state, which may
    be of longer bursts.

    Args:
        stream: fresh, of full frames rather than tiles: one comparison per frame is enough.
        lookahead: number of frames by which its results are late.
        on_reuse: called for every reused result.
    """

    def __init__(self, stream: Stream, lookahead: int, on_reuse: Callable[[], None] = lambda: None) -> None:
        super().__init__(stream)
        self._lookahead = lookahead
        self._on_reuse = on_reuse
        self._equal_count = 0  # how many of the newest frames are equal
        self._last_frame: np.ndarray | None = None
        self._last_result: np.ndarray | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        is_static = self._last_frame is not None and frames_equal(frame, self._last_frame)
        self._equal_count = self._equal_count + 1 if is_static else 1
        self._last_frame = frame
        if self._equal_count >= 2 * self._lookahead + 2 and self._last_result is not None:
            self._on_reuse()
            return self._last_result
        result = self._stream.push(frame)
        # Hold a result only where it may be reused: it is the largest array there is.
        self._last_result = result if self._equal_count > 2 * self._lookahead else None
        return result

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)
        self._lookahead = max(self._lookahead, count_due(state))


def reuse_static_frames(
    stream: Stream, kind: str, lookahead: int, on_reuse: Callable[[], None] = lambda: None
) -> Stream:
    """Return ``stream``, in a :class:`StaticFrameStream` if its kind of network allows that and it helps."""
    return StaticFrameStream(stream, lookahead, on_reuse) if kind in ("window", "cached") else stream


def frames_equal(frame: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two frames of one size are equal bit for bit; fast where they are not."""
    if frame is other:
        return True
    return np.array_equal(frame[::_ROW_STEP], other[::_ROW_STEP]) and np.array_equal(frame, other)


class ResizingStream(StreamWrapper):
    """A stream whose results are resized to ``height`` x ``width`` (Lanczos, antialiased, clipped to [0, 1]).

    The last step to a size that is no multiple of the source's. In gamma light;
    docs/decisions/0010-sizes.md compares it with linear light. Results that have the size already pass
    through unchanged.

    Args:
        stream: that gives the results.
        height, width: of the resized results.
        visible_share: shares of width and height, around the centre, that are resized; the rest is cropped.
    """

    def __init__(
        self, stream: Stream, height: int, width: int, visible_share: tuple[float, float] = FULL_FRAME
    ) -> None:
        super().__init__(stream)
        self._size, self._visible_share = (height, width), visible_share

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result = self._stream.push(frame)
        return None if result is None else self._resize(result)

    def flush(self) -> list[np.ndarray]:
        return [self._resize(result) for result in self._stream.flush()]

    def take_overdue(self) -> np.ndarray | None:
        result = self._stream.take_overdue()
        return None if result is None else self._resize(result)

    def _resize(self, frame: np.ndarray) -> np.ndarray:
        if frame.shape[:2] == self._size and self._visible_share == FULL_FRAME:
            return frame
        resized = resize(frame, *self._size, "lanczos3", visible_share=self._visible_share)
        return resized.clip(0.0, 1.0, out=resized)


class ChainedStream(Stream):
    """Passes in sequence, see :class:`~vsrcli.inference.types.Stream`: each reads the results of the last.

    A result is as late as all streams together. State: that of all, ``pass0.NAME`` of the first.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result: np.ndarray | None = frame
        for stream in self._streams:
            if result is not None:
                result = stream.push(result)
        return result

    def flush(self) -> list[np.ndarray]:
        results: list[np.ndarray] = []
        for stream in self._streams:
            late = [stream.push(frame) for frame in results]
            results = [result for result in late if result is not None] + stream.flush()
        return results

    def fork(self) -> ChainedStream:
        return ChainedStream([stream.fork() for stream in self._streams])

    def state(self) -> State:
        return join_states(_PASS, (stream.state() for stream in self._streams))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        others, parts = split_state(state, _PASS, len(self._streams))
        validate_state(others, {})
        for stream, part in zip(self._streams, parts, strict=True):
            stream.restore(part)

    def take_overdue(self) -> np.ndarray | None:
        for number in reversed(range(len(self._streams))):
            while (result := self._streams[number].take_overdue()) is not None:
                for later in self._streams[number + 1 :]:
                    result = None if result is None else later.push(result)
                if result is not None:
                    return result
        return None
