"""Streams that run a network on full windows of frames, as the paper's DUF does.

At the ends of a shot, missing neighbours are replaced by the nearest frame. (The authors of DUF pad with
black, which costs their first and last frames 1 to 6 dB.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from vsrcli.frames.state import ArraySpec, State, stack_frames, validate_state
from vsrcli.inference.backend import Backend
from vsrcli.inference.functions import plan_bands

RADIUS = 3  # frames before, and after, the centre frame
Frame = TypeVar("Frame")


class SlidingWindow(Generic[Frame]):
    """A window sliding over the frames of one shot; holds 2*radius+1 references and copies nothing.

    Frames may be any objects. Windows come in the order of their centres, one for each frame pushed,
    ``radius`` pushes late; :meth:`flush` returns the last ones.

    Args:
        radius: neighbours on each side; 3 gives the 7-frame windows of DUF.

    Raises:
        ValueError: a negative radius.
    """

    def __init__(self, radius: int = 3) -> None:
        if radius < 0:
            raise ValueError(f"a window has {radius} frames on each side: use 0 or more")
        self._radius = radius
        self._frames: deque[Frame] = deque(maxlen=2 * radius + 1)
        self._due = 0  # windows not returned yet

    def push(self, frame: Frame) -> tuple[Frame, ...] | None:
        """Append a frame; return the window centred ``radius`` frames earlier, or None at the start."""
        if not self._frames:
            self._frames.extend([frame] * self._radius)
        self._frames.append(frame)
        self._due += 1
        return self._window() if self._due > self._radius else None

    def copy(self) -> SlidingWindow[Frame]:
        """Return an independent window at the same position; the frames are shared."""
        twin: SlidingWindow[Frame] = SlidingWindow(self._radius)
        twin._frames, twin._due = self._frames.copy(), self._due
        return twin

    def flush(self) -> list[tuple[Frame, ...]]:
        """End the shot: return the remaining windows, in order. Afterwards a new shot may begin."""
        windows: list[tuple[Frame, ...]] = []
        if self._frames:
            last = self._frames[-1]
            # A shot shorter than the radius has not filled the deque: repeat its last frame until it is full.
            self._frames.extend([last] * (2 * self._radius - len(self._frames)))
            while self._due:
                self._frames.append(last)
                windows.append(self._window())
        self._frames.clear()
        return windows

    def _window(self) -> tuple[Frame, ...]:
        self._due -= 1
        return tuple(self._frames)


@dataclass(frozen=True)
class CompiledWindowModel:
    """A network on full windows, compiled for one frame size.

    Attributes:
        upscale: a window ``(1, 7, H, W, 3)`` -> its centre frame, upscaled and clipped.
        height, width: of the frames.
        read_result: converts a result to a NumPy array.
    """

    upscale: Callable[..., Any]
    height: int
    width: int
    read_result: Callable[[Any], np.ndarray]


def compile_window(backend: Backend, height: int, width: int) -> CompiledWindowModel:
    """Compile a network on full windows for frames of one size."""
    compiled = backend.compile(height, width, plan_bands(height, width, height * width))
    return CompiledWindowModel(compiled["upscale"], height, width, backend.read_result)


class WindowStream:
    """A stream that computes every window anew, see :class:`~vsrcli.inference.types.Stream`.

    State: ``frames`` (up to 6, H, W, 3), float32: the last frames pushed, which the next windows contain; 72
    bytes per low-resolution pixel.

    Args:
        model: from :func:`compile_window`.
    """

    def __init__(self, model: CompiledWindowModel) -> None:
        self._model = model
        self._windows: SlidingWindow[np.ndarray] = SlidingWindow(RADIUS)
        self._recent: deque[np.ndarray] = deque(maxlen=2 * RADIUS)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        window = self._append(frame)
        return None if window is None else self._upscale(window)

    def flush(self) -> list[np.ndarray]:
        return [self._upscale(window) for window in self._windows.flush()]

    def fork(self) -> WindowStream:
        twin = copy(self)
        twin._windows, twin._recent = self._windows.copy(), self._recent.copy()
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, self._model.height, self._model.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        size = self._model.height, self._model.width
        validate_state(state, {"frames": ArraySpec((range(2 * RADIUS + 1), *size, 3))})
        for frame in np.array(state["frames"]):
            self._append(frame)

    def _append(self, frame: np.ndarray) -> tuple[np.ndarray, ...] | None:
        self._recent.append(frame)
        return self._windows.push(frame)

    def _upscale(self, window: tuple[np.ndarray, ...]) -> np.ndarray:
        return self._model.read_result(self._model.upscale(np.stack(window)[None]))[0]
