"""Frames that stand still: what has been computed is given again instead of being computed again.

Title cards, slides and screen recordings show one picture for seconds, and a decoder gives it bit for bit. As
soon as everything that a network looks at is that picture, its answer is the one before. So it is neither
asked nor told: what it remembers would not change either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vsrcli.frames.state import State
from vsrcli.inference.types import Stream

_SAMPLED_ROWS = 16  # one row in so many is looked at first: frames that differ mostly differ there


class StaticFrameStream:
    """A stream that gives its last answer again where that is exact; see ``engine.types.Stream``.

    An answer that comes ``lookahead`` frames late is made of ``2*lookahead + 1`` frames, and so is what the
    stream remembers. Once the newest ``2*lookahead + 2`` frames are equal, the next answer equals the last
    one and what is remembered stays as it is. This holds for networks that look at a window and at nothing
    else (kinds ``window`` and ``cached``); the hidden state of a *recurrent* network moves on even over a
    picture that stands still, so such a stream must not be wrapped.

    Its state is that of the stream inside. Frames are not counted across :meth:`restore`: a restored stream
    computes up to ``2*lookahead + 2`` answers that it could have repeated, and they are the same.

    Args:
        stream: fresh, of whole frames: one comparison a frame is enough.
        lookahead: how many frames later its answers come.
        on_repeat: called for every answer that was given again.
    """

    def __init__(self, stream: Stream, lookahead: int, on_repeat: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._lookahead = lookahead
        self._tell = on_repeat
        self._run = 0  # how many frames there were of the last one
        self._last: np.ndarray | None = None
        self._answer: np.ndarray | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self._run = self._run + 1 if self._last is not None and frames_equal(frame, self._last) else 1
        self._last = frame
        if self._run >= 2 * self._lookahead + 2 and self._answer is not None:
            self._tell()
            return self._answer
        answer = self._stream.push(frame)
        # Kept only where it may be needed: an answer is the largest array there is.
        self._answer = answer if self._run > 2 * self._lookahead else None
        return answer

    def flush(self) -> list[np.ndarray]:
        return self._stream.flush()

    def fork(self) -> StaticFrameStream:
        twin = StaticFrameStream(self._stream.fork(), self._lookahead, self._tell)
        twin._run, twin._last, twin._answer = self._run, self._last, self._answer
        return twin

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)


def reuse_static_frames(
    stream: Stream, kind: str, lookahead: int, on_repeat: Callable[[], None] = lambda: None
) -> Stream:
    """``stream``, wrapped if its answers may be repeated and cost more than it takes to find out.

    Args:
        stream: of whole frames, fresh.
        kind: of the architecture, see :class:`~vsrcli.models.architectures.Architecture`.
        lookahead: how many frames later its answers come.
        on_repeat: called for every answer that was given again.
    """
    return StaticFrameStream(stream, lookahead, on_repeat) if kind in ("window", "cached") else stream


def frames_equal(frame: np.ndarray, other: np.ndarray) -> bool:
    """Whether two frames of one size are equal bit for bit; found out quickly where they are not."""
    if frame is other:
        return True
    return np.array_equal(frame[::_SAMPLED_ROWS], other[::_SAMPLED_ROWS]) and np.array_equal(frame, other)
