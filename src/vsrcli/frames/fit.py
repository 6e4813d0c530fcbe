"""The last step to a size that is no multiple of the film's: one good resample behind any stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.frames.state import State

if TYPE_CHECKING:
    from vsrcli.engine.types import Stream


class FittedStream:
    """A stream whose results are brought to ``height`` x ``width`` (Lanczos, antialiased, clipped to [0, 1]).

    Results that have the size already pass untouched. Remembers nothing itself: its state is the stream's.
    """

    def __init__(self, stream: Stream, height: int, width: int) -> None:
        self._stream, self._size = stream, (height, width)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result = self._stream.push(frame)
        return None if result is None else self._fit(result)

    def flush(self) -> list[np.ndarray]:
        return [self._fit(result) for result in self._stream.flush()]

    def fork(self) -> FittedStream:
        return FittedStream(self._stream.fork(), *self._size)

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == self._size:
            return picture
        return resize(picture, *self._size, "lanczos3").clip(0.0, 1.0)
