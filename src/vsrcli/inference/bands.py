"""Bands of rows: the output stage's filters are 25 * scale**2 floats a pixel, most of a network's memory.

Every pixel's filters are its own, so a frame painted in bands is the same frame, in less memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from vsrcli.models.architectures import TAPS

BORDER = TAPS // 2  # pixels around a frame that the filters of its outermost pixels look at
BAND_PIXELS = 8192  # low-resolution pixels that the output stage takes at a time, on a CPU: fits its cache


@dataclass(frozen=True)
class RowBands:
    """Bands of one height cover a frame, so that one compiled function serves all.

    Attributes:
        tops: first row of every band; the last one begins early and paints some rows again.
        rows: in a band.
    """

    tops: tuple[int, ...]
    rows: int

    def __len__(self) -> int:
        return len(self.tops)

    def __iter__(self) -> Iterator[slice]:
        return (slice(top, top + self.rows) for top in self.tops)

    @property
    def height(self) -> int:
        """Of the frame."""
        return self.tops[-1] + self.rows

    @property
    def overlap_rows(self) -> int:
        """Rows that the last band paints and the one before has painted already."""
        return len(self) * self.rows - self.height

    def slice(self, features: Any, around: np.ndarray, rows: slice) -> tuple[Any, np.ndarray]:
        """A band of features ``(1, H, W, C)``, and of the frame with its border, from :func:`framed`.

        Features may have more rows than the frame: no band takes them.
        """
        if len(self) == 1 and features.shape[1] == self.rows:
            return features, around
        return features[:, rows], around[:, rows.start : rows.stop + 2 * BORDER]

    def assemble(self, parts: Iterator[np.ndarray]) -> np.ndarray:
        """A picture from those of the bands, float32 (scale*rows, scale*W, 3) each, in their order."""
        first = next(parts)
        if len(self) == 1:
            return first
        scale = len(first) // self.rows
        picture = np.empty((scale * self.height, *first.shape[1:]), np.float32)
        for rows, part in zip(self, chain([first], parts), strict=True):
            picture[scale * rows.start : scale * rows.stop] = part
        return picture


def plan_bands(height: int, width: int, band_pixels: int = BAND_PIXELS) -> RowBands:
    """The fewest bands of at most about ``band_pixels`` low-resolution pixels each, at least one row high."""
    count = math.ceil(height * width / band_pixels)
    rows = math.ceil(height / count)
    return RowBands(tuple(min(top, height - rows) for top in range(0, height, rows)), rows)


def pad_border(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) with the border that its outermost pixels' filters need: (1, H+4, W+4, 3); the border
    repeats."""
    return np.pad(frame, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")[None]
