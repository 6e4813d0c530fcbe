"""An engine in NumPy whose streams have a hidden state and a lookahead, like those of networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from vsrcli.errors import VsrError
from vsrcli.frames.state import State, stack_frames
from vsrcli.inference.types import Stream


class MixingStream(Stream):
    """Computes a result from the frame, the next one and an average of all before, at twice the size.

    Args:
        height, width: of the frames.
        fail: called before every result; an error that it returns is raised.
    """

    def __init__(
        self, height: int, width: int, fail: Callable[[int, int], VsrError | None] = lambda h, w: None
    ) -> None:
        self._size = height, width
        self._fail = fail
        self._frames: deque[np.ndarray] = deque(maxlen=1)
        self._average = np.zeros((1, height, width, 3), np.float32)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        pending, self._frames = self._frames, deque([frame], maxlen=1)  # changed even if this fails
        return self._result(pending[0], frame) if pending else None

    def flush(self) -> list[np.ndarray]:
        return [self._result(self._frames[0], self._frames[0])] if self._frames else []

    def fork(self) -> MixingStream:
        twin = MixingStream(*self._size, self._fail)
        twin._frames, twin._average = self._frames.copy(), self._average
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._frames, *self._size), "average": self._average.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._frames.extend(state["frames"].copy())
        self._average = state["average"].copy()

    def _result(self, frame: np.ndarray, after: np.ndarray) -> np.ndarray:
        if (error := self._fail(*self._size)) is not None:
            raise error
        self._average = 0.5 * self._average + 0.5 * frame
        mixed = 0.5 * frame + 0.3 * after + 0.2 * self._average[0]
        return mixed.repeat(2, 0).repeat(2, 1)


class MixingEngine:
    """Opens streams and records their sizes."""

    scale, radius, lookahead = 2, 0, 1
    on_gpu = False

    def __init__(
        self,
        precision: str = "fp32",
        fail: Callable[[int, int], VsrError | None] = lambda h, w: None,
    ) -> None:
        self.precision = precision
        self.description = f"mixing, {precision}"
        self.sizes: list[tuple[int, int]] = []
        self._fail = fail

    def open(self, height: int, width: int) -> MixingStream:
        self.sizes.append((height, width))
        return MixingStream(height, width, self._fail)
