"""A stream that keeps results closer to the source: its colours, and a share of interpolation."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Self

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.frames.color_transfer import transfer_color
from vsrcli.frames.state import ArraySpec, State, foreign_state_error, stack_frames
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import FULL_FRAME, StreamWrapper

_SOURCES_KEY = "sources"


class FaithfulStream(StreamWrapper):
    """A stream around all passes of full frames, see :class:`~vsrcli.inference.types.Stream`.

    With ``keep_color`` results take low frequencies of colour from their source, see
    :mod:`vsrcli.frames.color_transfer`. Then ``interpolated + strength * (result - interpolated)``, in gamma
    light; at a strength of 1 nothing is interpolated. Results are as late as those of the stream inside.

    State: that of the stream inside, and ``sources`` (N, H, W, 3), float32: frames whose results are due.

    Args:
        stream: that gives the results.
        height, width: of the frames.
        interpolation: a stream without lookahead and state, whose results have the same size.
        strength: 0 to 1.
        keep_color: take colour from the source.
        visible_share: shares of width and height, around the centre, that results show.
    """

    def __init__(
        self,
        stream: Stream,
        height: int,
        width: int,
        interpolation: Stream,
        *,
        strength: float = 1.0,
        keep_color: bool = False,
        visible_share: tuple[float, float] = FULL_FRAME,
    ) -> None:
        super().__init__(stream)
        self._size, self._interpolation = (height, width), interpolation
        self._strength, self._keep_color, self._visible_share = strength, keep_color, visible_share
        self._sources: deque[np.ndarray] = deque()

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result = self._stream.push(frame)
        self._sources.append(frame)
        return None if result is None else self._finish(result)

    def flush(self) -> list[np.ndarray]:
        return [self._finish(result) for result in self._stream.flush()]

    def take_overdue(self) -> np.ndarray | None:
        result = self._stream.take_overdue()
        return None if result is None else self._finish(result)

    def fork(self) -> Self:
        twin = super().fork()
        twin._sources = self._sources.copy()
        return twin

    def state(self) -> State:
        return {**self._stream.state(), _SOURCES_KEY: stack_frames(self._sources, *self._size)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        inner = dict(state)
        sources = inner.pop(_SOURCES_KEY, None)
        spec = ArraySpec((range(2**31), *self._size, 3))
        if sources is None or not spec.fits(sources):
            raise foreign_state_error(f"its {_SOURCES_KEY!r} is not {spec}")
        self._stream.restore(inner)
        self._sources = deque(np.array(sources))

    def _finish(self, result: np.ndarray) -> np.ndarray:
        """Return a new array: the stream inside may give the same result again."""
        source = self._sources.popleft()
        if self._keep_color:
            result = transfer_color(result, source, self._visible_share)
        if self._strength == 1:
            return result
        interpolated = self._interpolation.push(source)
        if interpolated is None or interpolated.shape != result.shape:
            raise EngineError(f"interpolation does not give a frame of {result.shape[1]}x{result.shape[0]}")
        change = result - interpolated
        change *= np.float32(self._strength)
        change += interpolated
        return change
