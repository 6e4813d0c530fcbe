"""Whole windows through a network: how the paper's DUF runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.frames.state import ArraySpec, State, stack_frames, validate_state
from vsrcli.inference.backend import Backend
from vsrcli.inference.bands import plan_bands
from vsrcli.inference.windows import SlidingWindow

RADIUS = 3  # frames before and after


@dataclass(frozen=True)
class CompiledWindowModel:
    """A network compiled for one frame size.

    Attributes:
        upscale: a window ``(1, 7, H, W, 3)`` -> its centre frame, upscaled and clipped.
        height, width: of the frames.
        fetch: a picture as NumPy's array.
    """

    upscale: Callable[..., Any]
    height: int
    width: int
    read_result: Callable[[Any], np.ndarray]


def compile_window(network: Backend, height: int, width: int) -> CompiledWindowModel:
    """Compile a network of whole windows for frames of one size."""
    parts = network.compile(height, width, plan_bands(height, width, height * width))
    return CompiledWindowModel(parts["upscale"], height, width, network.read_result)


class WindowStream:
    """Every window computed anew, see :class:`~vsrcli.inference.types.Stream`.

    Its state is ``frames`` (up to 6, H, W, 3), float32: the last ones pushed, which the next windows see; 72
    bytes per low-resolution pixel.

    Args:
        network: from :func:`compile_window`.
    """

    def __init__(self, network: CompiledWindowModel) -> None:
        self._network = network
        self._windows: SlidingWindow[np.ndarray] = SlidingWindow(RADIUS)
        self._recent: deque[np.ndarray] = deque(maxlen=2 * RADIUS)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        window = self._take(frame)
        return None if window is None else self._run(window)

    def flush(self) -> list[np.ndarray]:
        return [self._run(window) for window in self._windows.flush()]

    def fork(self) -> WindowStream:
        twin = copy(self)
        twin._windows, twin._recent = self._windows.copy(), self._recent.copy()
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, self._network.height, self._network.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        network = self._network
        validate_state(
            state, {"frames": ArraySpec((range(2 * RADIUS + 1), network.height, network.width, 3))}
        )
        for frame in np.array(state["frames"]):
            self._take(frame)

    def _take(self, frame: np.ndarray) -> tuple[np.ndarray, ...] | None:
        self._recent.append(frame)
        return self._windows.push(frame)

    def _run(self, window: tuple[np.ndarray, ...]) -> np.ndarray:
        return self._network.read_result(self._network.upscale(np.stack(window)[None]))[0]
