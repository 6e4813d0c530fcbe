"""Repeated frames: those that show what the frame before them shows, but for what an encoder leaves.

Conversions of the frame rate, animation drawn "on twos" or "on threes", and recordings of screens show
pictures more than once. A network that remembers makes a slightly different picture of each repetition, so
what should stand still moves, and it takes the time of a frame. docs/experiments.md has what is gained.

Encoded repetitions are rarely equal bit for bit. With H.264 at a CRF of 23 they differ by a tenth of a code
of 255, and by up to 5 codes in blocks of 8x8 pixels, where motion changes some block by tens. But a slow pan
over a smooth picture changes frames as little. So a frame that is not equal must also differ far less than
those that moved before it, as the repetitions of a drawing do.

The limits hold against the last frame that was *no* repetition, and at most two frames in a row are
repetitions: whatever they hide is shown two frames late at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np

from vsrcli.frames.state import ArraySpec, State, validate_state

MAX_REPEATS = 2  # in a row: 3:2 pulldown and drawings on threes have no more
BLOCK = 8  # side of the blocks that are compared, pixels
MAX_MEAN, MAX_BLOCK, MAX_PIXEL = 0.25, 5.0, 32.0  # codes of 255, means over the channels
MAX_SHARE = 0.25  # of the change to the last frame that was no repetition
_SAMPLED = 8  # every so many bands of blocks are compared first: most frames that differ, differ there


class RepeatDetector:
    """Tells for each frame of a shot whether it repeats the last one that did not.

    Takes 4 ms for a frame of 1920x1080 that moves, 35 ms for one that repeats.

    State: ``frame`` (H, W, 3), the last frame that was no repetition; ``change``, float64, by how many codes
    it differed from the one before; ``count``, int64, how many repetitions have followed. Empty before the
    first frame.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one starts a shot."""
        self._last: np.ndarray | None = None
        self._change, self._count = 0.0, 0

    def is_repeat(self, frame: np.ndarray) -> bool:
        """Return whether a frame is a repetition; False for the first.

        Args:
            frame: R'G'B' (H, W, 3), uint8 or uint16 (0..65535), of the size of the frames before. It is kept,
                and must not be changed later.
        """
        last = self._last
        if last is not None and self._count < MAX_REPEATS:
            change = small_change(frame, last)
            if change == 0 or change <= MAX_SHARE * self._change:
                self._count += 1
                return True
        self._change = 0.0 if last is None else _sampled_change(frame, last)
        self._last, self._count = frame, 0
        return False

    def state(self) -> State:
        """Return the detector's state as named arrays; see :meth:`restore`."""
        if self._last is None:
            return {}
        return {
            "frame": self._last.copy(),
            "change": np.array(self._change, np.float64),
            "count": np.array(self._count, np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue where another detector was.

        Raises:
            EngineError: the state is not of a detector of repetitions.
        """
        self.reset()
        if not state:
            return
        dtype = "uint16" if "frame" in state and state["frame"].dtype == np.uint16 else "uint8"
        frame = ArraySpec((range(2**31), range(2**31), 3), dtype)
        specs = {"frame": frame, "change": ArraySpec((), "float64"), "count": ArraySpec((), "int64")}
        validate_state(state, specs)
        self._last, self._change = np.array(state["frame"]), float(state["change"])
        self._count = int(state["count"])


def small_change(frame: np.ndarray, other: np.ndarray) -> float:
    """Return the mean change between frames, in codes of 255, where it is what an encoder leaves; else inf.

    Args:
        frame, other: uint8 or uint16 (H, W, 3), of one size and type.
    """
    height, width = frame.shape[:2]
    step, largest_sum, total = _SAMPLED * BLOCK, MAX_MEAN * height * width, 0.0
    for row in (row for first in range(0, step, BLOCK) for row in range(first, height, step)):
        band, same = frame[row : row + BLOCK], other[row : row + BLOCK]
        if np.array_equal(band, same):
            continue
        change = _change(band, same)
        total += float(change.sum())
        if total > largest_sum or change.max() > MAX_PIXEL:
            return inf
        blocks = np.add.reduceat(change.sum(0), np.arange(0, width, BLOCK))
        if blocks.max() > MAX_BLOCK * BLOCK**2:
            return inf
    return total / (height * width)


def _sampled_change(frame: np.ndarray, other: np.ndarray) -> float:
    """Return about the mean change between frames, in codes of 255."""
    rows = np.arange(0, len(frame), _SAMPLED)
    return float(_change(frame[rows], other[rows]).mean())


def _change(part: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return by how many codes of 255 pixels differ, means over the channels: float32 (H, W)."""
    change = (np.maximum(part, other) - np.minimum(part, other)).mean(-1, dtype=np.float32)
    return change if part.dtype == np.uint8 else change / np.float32(np.iinfo(part.dtype).max / 255)
