"""Frames that stand still: what has been computed is given again instead of being computed again.

Title cards, slides and screen recordings show one picture for seconds, and a decoder gives it bit for bit. As
soon as everything that a network looks at is that picture, its answer is the one before. So it is neither
asked nor told: what it remembers would not change either.

The last step to a size that is no multiple of the film's: one good resample behind any stream.

Two streams in sequence: what the first one makes of a film is upscaled once more by the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.frames.state import State, foreign_state_error
from vsrcli.frames.tiling import TilePlan
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

    def __init__(self, stream: Stream, lookahead: int, on_reuse: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._lookahead = lookahead
        self._tell = on_reuse
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
    stream: Stream, kind: str, lookahead: int, on_reuse: Callable[[], None] = lambda: None
) -> Stream:
    """``stream``, wrapped if its answers may be repeated and cost more than it takes to find out.

    Args:
        stream: of whole frames, fresh.
        kind: of the architecture, see :class:`~vsrcli.models.architectures.Architecture`.
        lookahead: how many frames later its answers come.
        on_repeat: called for every answer that was given again.
    """
    return StaticFrameStream(stream, lookahead, on_reuse) if kind in ("window", "cached") else stream


def frames_equal(frame: np.ndarray, other: np.ndarray) -> bool:
    """Whether two frames of one size are equal bit for bit; found out quickly where they are not."""
    if frame is other:
        return True
    return np.array_equal(frame[::_SAMPLED_ROWS], other[::_SAMPLED_ROWS]) and np.array_equal(frame, other)


FULL_FRAME = (1.0, 1.0)  # shares of width and height that are seen


class ResizingStream:
    """A stream whose results are brought to ``height`` x ``width`` (Lanczos, antialiased, clipped to [0, 1]).

    In gamma light, as they are; docs/decisions/0010-sizes.md compares it with linear light. Results that have
    the size already pass untouched. Remembers nothing itself: its state is the stream's.

    Args:
        stream: whose results.
        height, width: of the new ones.
        seen: shares of width and height, around the centre, that are brought to that size; the rest is cut
            off.
    """

    def __init__(
        self, stream: Stream, height: int, width: int, visible_share: tuple[float, float] = FULL_FRAME
    ) -> None:
        self._stream, self._size, self._visible_share = stream, (height, width), visible_share

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result = self._stream.push(frame)
        return None if result is None else self._fit(result)

    def flush(self) -> list[np.ndarray]:
        return [self._fit(result) for result in self._stream.flush()]

    def fork(self) -> ResizingStream:
        return ResizingStream(self._stream.fork(), *self._size, self._visible_share)

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == self._size and self._visible_share == FULL_FRAME:
            return picture
        result = resize(picture, *self._size, "lanczos3", visible_share=self._visible_share)
        return result.clip(0.0, 1.0, out=result)


_FIRST, _SECOND = "first.", "second."  # what their parts of a state begin with


@dataclass(frozen=True)
class ChainedTilePlan(TilePlan):
    """Where the tiles of both passes lie; as a :class:`TilePlan`, those of the first.

    Attributes:
        then: the second pass's, in pixels of the first one's results.
    """

    second_pass: TilePlan | None = None


def chain_tiles(first: TilePlan, second: TilePlan) -> ChainedTilePlan:
    """Both as one."""
    return ChainedTilePlan(**_fields(first), second_pass=second)


def first_pass_tiles(tiles: TilePlan) -> TilePlan:
    """The tiles of the first pass by themselves."""
    return TilePlan(**_fields(tiles)) if isinstance(tiles, ChainedTilePlan) else tiles


class ChainedStream:
    """The results of one stream through another; follows ``engine.types.Stream``.

    A result is as late as both streams are together. The state is that of both, ``first.NAME`` and
    ``second.NAME``.
    """

    def __init__(self, first: Stream, second: Stream) -> None:
        self._first, self._second = first, second

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        between = self._first.push(frame)
        return None if between is None else self._second.push(between)

    def flush(self) -> list[np.ndarray]:
        results = [self._second.push(between) for between in self._first.flush()]
        return [result for result in results if result is not None] + self._second.flush()

    def fork(self) -> ChainedStream:
        return ChainedStream(self._first.fork(), self._second.fork())

    def state(self) -> State:
        first = {_FIRST + name: array for name, array in self._first.state().items()}
        return first | {_SECOND + name: array for name, array in self._second.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for name in state:
            if not name.startswith((_FIRST, _SECOND)):
                raise foreign_state_error(f"its {name!r} belongs to neither of two passes")
        for prefix, stream in ((_FIRST, self._first), (_SECOND, self._second)):
            own = (name for name in state if name.startswith(prefix))
            stream.restore({name.removeprefix(prefix): state[name] for name in own})


def _fields(tiles: TilePlan) -> dict[str, Any]:
    return {each.name: getattr(tiles, each.name) for each in fields(TilePlan)}
