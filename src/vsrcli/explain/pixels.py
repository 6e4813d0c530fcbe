"""Pixels that are worth a look, where none are named: an edge, texture, a flat area, motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vsrcli.errors import UsageError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_WINDOW = 3  # pixels on each side over which a property is averaged
_BORDER = 6  # pixels at the edges that are not chosen
_APART = 12  # pixels between two chosen ones, at least
_LEAST_MOTION = 2 / 255  # mean change from frame to frame that counts as motion


@dataclass(frozen=True)
class Pixel:
    """A pixel of the source.

    Attributes:
        x: column, from 0 at the left, to the right.
        y: row, from 0 at the top, downwards.
        kind: why it was chosen; ``named`` by the user, else ``edge``, ``texture``, ``flat`` or ``motion``.
    """

    x: int
    y: int
    kind: str = "named"


def named_pixels(positions: Sequence[tuple[int, int]], width: int, height: int) -> list[Pixel]:
    """Return pixels at positions ``(x, y)`` of a frame of this size.

    Raises:
        UsageError: one lies outside.
    """
    for x, y in positions:
        if x >= width or y >= height:
            raise UsageError(
                f"--pixel {x},{y} is outside the frame: the source has columns 0 to {width - 1} and rows 0 "
                f"to {height - 1}"
            )
    return [Pixel(x, y) for x, y in dict.fromkeys(positions)]


def interesting_pixels(frame: np.ndarray, previous: np.ndarray | None = None) -> list[Pixel]:
    """Choose up to four pixels: on the strongest edge, in the richest texture, where nothing is, and where
    most changes since the frame before.

    An edge has gradients in one direction, texture in all: the two eigenvalues of the structure tensor
    (Foerstner and Guelch 1987; Harris and Stephens 1988) tell them apart.

    Args:
        frame: float32 (H, W, 3) in [0, 1].
        previous: the frame before it, if there is one.

    Returns:
        Distinct pixels, in this order; at least one.
    """
    luma: np.ndarray = frame @ _LUMA
    down, right = np.gradient(luma) if min(luma.shape) > 1 else (np.zeros_like(luma),) * 2
    xx, yy, xy = (_mean(each) for each in (right * right, down * down, right * down))
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    scores = {"edge": 2 * root, "texture": half - root, "flat": -(half + root)}
    if previous is not None:
        change = _mean(np.asarray(np.abs(luma - previous @ _LUMA)))
        if change.max() >= _LEAST_MOTION:
            scores["motion"] = change
    free = np.zeros(luma.shape, bool)
    rows, columns = (_inside(side) for side in luma.shape)
    free[rows, columns] = True
    chosen = []
    for kind, score in scores.items():
        if not free.any():
            break
        y, x = np.unravel_index(np.argmax(np.where(free, score, -np.inf)), luma.shape)
        chosen.append(Pixel(int(x), int(y), kind))
        free[max(y - _APART, 0) : y + _APART + 1, max(x - _APART, 0) : x + _APART + 1] = False
    return chosen


def _inside(side: int) -> slice:
    border = min(_BORDER, (side - 1) // 2)
    return slice(border, side - border)


def _mean(image: np.ndarray) -> np.ndarray:
    """Return the means over windows around each pixel; edges are repeated."""
    size = 2 * _WINDOW + 1
    padded = np.pad(image.astype(np.float64), _WINDOW, mode="edge")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return total / size**2
