"""The last step to a size that is no multiple of the film's: one good resample behind any stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.frames.state import State

if TYPE_CHECKING:
    from vsrcli.inference.types import Stream

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
        self, stream: Stream, height: int, width: int, seen: tuple[float, float] = FULL_FRAME
    ) -> None:
        self._stream, self._size, self._seen = stream, (height, width), seen

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        result = self._stream.push(frame)
        return None if result is None else self._fit(result)

    def flush(self) -> list[np.ndarray]:
        return [self._fit(result) for result in self._stream.flush()]

    def fork(self) -> ResizingStream:
        return ResizingStream(self._stream.fork(), *self._size, self._seen)

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == self._size and self._seen == FULL_FRAME:
            return picture
        result = resize(picture, *self._size, "lanczos3", seen=self._seen)
        return result.clip(0.0, 1.0, out=result)
