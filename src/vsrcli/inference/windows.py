"""Windows in time: every frame with its neighbours, for networks that look both ways.

At the ends of a shot the missing neighbours are replaced by the nearest frame. (The authors of
DUF pad with black, which costs their first and last frames 1 to 6 dB.)
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

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
