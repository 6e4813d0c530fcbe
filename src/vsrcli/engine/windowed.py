"""Whole windows through a network: how the paper's DUF runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.engine.backend import compile_function, fetch
from vsrcli.frames.windows import Windows

if TYPE_CHECKING:
    import keras

RADIUS = 3  # frames before and after


def compile_window(model: keras.Model, height: int, width: int) -> Callable[..., Any]:
    """A function from a window ``(1, 7, H, W, 3)`` to its centre frame, upscaled and clipped."""
    from keras import ops

    def upscale(window):
        return ops.clip(ops.cast(model(window, training=False), "float32"), 0.0, 1.0)

    return compile_function(upscale, np.zeros((1, 2 * RADIUS + 1, height, width, 3), np.float32))


class WindowStream:
    """Every window computed anew, see :class:`~vsrcli.engine.types.Stream`.

    Args:
        upscale: from :func:`compile_window`.
    """

    def __init__(self, upscale: Callable[..., Any]) -> None:
        self._upscale = upscale
        self._windows: Windows[np.ndarray] = Windows(RADIUS)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        window = self._windows.push(frame)
        return None if window is None else self._run(window)

    def flush(self) -> list[np.ndarray]:
        return [self._run(window) for window in self._windows.flush()]

    def _run(self, window: tuple[np.ndarray, ...]) -> np.ndarray:
        return fetch(self._upscale(np.stack(window)[None]))[0]
