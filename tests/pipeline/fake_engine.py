"""Streams in NumPy alone, with a memory and a look ahead like those of networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from vsrcli.errors import VsrError
from vsrcli.frames.state import State, stack_frames


class Mixing:
    """Each answer is made of the frame, the one after it, and a trace of all before; twice the size.

    Args:
        height, width: of the frames.
        fail: asked before every answer; what it returns is raised in the middle of the work.
    """

    def __init__(
        self, height: int, width: int, fail: Callable[[int, int], VsrError | None] = lambda h, w: None
    ) -> None:
        self._size = height, width
        self._fail = fail
        self._frames: deque[np.ndarray] = deque(maxlen=1)
        self._trace = np.zeros((1, height, width, 3), np.float32)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        waiting, self._frames = self._frames, deque([frame], maxlen=1)  # changed already if this fails
        return self._answer(waiting[0], frame) if waiting else None

    def flush(self) -> list[np.ndarray]:
        return [self._answer(self._frames[0], self._frames[0])] if self._frames else []

    def fork(self) -> Mixing:
        twin = Mixing(*self._size, self._fail)
        twin._frames, twin._trace = self._frames.copy(), self._trace
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._frames, *self._size), "trace": self._trace.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._frames.extend(state["frames"].copy())
        self._trace = state["trace"].copy()

    def _answer(self, frame: np.ndarray, after: np.ndarray) -> np.ndarray:
        if (error := self._fail(*self._size)) is not None:
            raise error
        self._trace = 0.5 * self._trace + 0.5 * frame
        mixed = 0.5 * frame + 0.3 * after + 0.2 * self._trace[0]
        return mixed.repeat(2, 0).repeat(2, 1)


class MixingEngine:
    """Opens them; counts what it has been asked for."""

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

    def open(self, height: int, width: int) -> Mixing:
        self.sizes.append((height, width))
        return Mixing(height, width, self._fail)
