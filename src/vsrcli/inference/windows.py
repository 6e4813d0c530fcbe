"""Whole windows through a network: how the paper's DUF runs.

Windows in time: every frame with its neighbours, for networks that look both ways.

At the ends of a shot the missing neighbours are replaced by the nearest frame. (The authors of
DUF pad with black, which costs their first and last frames 1 to 6 dB.)
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

Frame = TypeVar("Frame")


class SlidingWindow(Generic[Frame]):
    """Slides over the frames of one shot; holds 2*radius+1 references and copies nothing.

    Frames may be any objects. The windows come in the order of their centres, one for each frame pushed,
    ``radius`` pushes late; those still owed come from ``flush``.

    Args:
        radius: neighbours on each side; 3 gives the 7-frame windows of DUF.

    Raises:
        ValueError: a negative radius.
    """

    def __init__(self, radius: int = 3) -> None:
        if radius < 0:
            raise ValueError(f"a window reaches {radius} frames to each side: take 0 or more")
        self._radius = radius
        self._frames: deque[Frame] = deque(maxlen=2 * radius + 1)
        self._owed = 0

    def push(self, frame: Frame) -> tuple[Frame, ...] | None:
        """Take the next frame; return the window centred ``radius`` frames earlier, or None at the start."""
        if not self._frames:
            self._frames.extend([frame] * self._radius)
        self._frames.append(frame)
        self._owed += 1
        return self._take() if self._owed > self._radius else None

    def copy(self) -> SlidingWindow[Frame]:
        """Windows that go on from here by themselves; the frames are shared."""
        twin: SlidingWindow[Frame] = SlidingWindow(self._radius)
        twin._frames, twin._owed = self._frames.copy(), self._owed
        return twin

    def flush(self) -> list[tuple[Frame, ...]]:
        """End the shot: the windows still owed, in order. Afterwards a new shot may begin."""
        rest: list[tuple[Frame, ...]] = []
        if self._frames:
            last = self._frames[-1]
            # A shot shorter than the radius has not filled the deque yet: repeat its last frame until it has.
            self._frames.extend([last] * (2 * self._radius - len(self._frames)))
            while self._owed:
                self._frames.append(last)
                rest.append(self._take())
        self._frames.clear()
        return rest

    def _take(self) -> tuple[Frame, ...]:
        self._owed -= 1
        return tuple(self._frames)


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
