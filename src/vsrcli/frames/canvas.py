"""The canvas that the tiles of one result are laid on, and how neighbours fade into each other."""

from __future__ import annotations

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.frames.spans import TilePlan, TileSpan


class TileBlender:
    """One result being put together, tile by tile in the plan's order.

    Blending is ``old + weight * (new - old)``, first across, then down, so that tiles which agree give
    exactly what they agree on. Only the bands are blended; everything else is copied once.

    Args:
        plan: where the tiles lie.
        scale: upscaling factor of the results.

    Attributes:
        pixels: the result, float32 (scale*H, scale*W, 3); whole once every tile has been placed.
    """

    def __init__(self, plan: TilePlan, scale: int) -> None:
        self.pixels = np.empty((scale * plan.height, scale * plan.width, 3), np.float32)
        self._plan = plan
        self._scale = scale
        self._band = np.empty((0, scale * plan.width, 3), np.float32)  # new tiles' side of the current band

    def add_tile(self, number: int, answer: np.ndarray) -> None:
        """Lay down the picture of one tile, float32 (scale*tile_height, scale*tile_width, 3).

        Raises:
            EngineError: it is of another size.
        """
        plan, s = self._plan, self._scale
        if answer.shape != (s * plan.tile_height, s * plan.tile_width, 3):
            raise EngineError(f"a tile of {plan.tile_width}x{plan.tile_height} came back as {answer.shape}")
        row, column = plan.rows[number // len(plan.columns)], plan.columns[number % len(plan.columns)]
        if column is plan.columns[0]:
            self._band = np.empty((s * row.ramp, *self.pixels.shape[1:]), np.float32)
        kept = answer[s * (row.keep - row.start) : s * (row.stop - row.start)]
        kept = kept[:, s * (column.keep - column.start) : s * (column.stop - column.start)]
        solid = s * row.ramp
        self._across(self._band, kept[:solid], column)
        self._across(self.pixels[s * row.keep + solid : s * row.stop], kept[solid:], column)
        if row.ramp and column is plan.columns[-1]:
            old = self.pixels[s * row.keep : s * row.keep + solid]
            _blend(old, self._band, _ramp(solid)[:, None, None])

    def _across(self, lines: np.ndarray, kept: np.ndarray, column: TileSpan) -> None:
        s = self._scale
        left, right, ramp = s * column.keep, s * column.stop, s * column.ramp
        _blend(lines[:, left : left + ramp], kept[:, :ramp], _ramp(ramp)[:, None])
        lines[:, left + ramp : right] = kept[:, ramp:]


def _blend(old: np.ndarray, new: np.ndarray, weight: np.ndarray) -> None:
    """Move ``old`` towards ``new`` in place."""
    change = new - old
    change *= weight
    old += change


def _ramp(size: int) -> np.ndarray:
    """Smoothstep from 0 to 1, sampled at pixel centres: float32 (size,)."""
    t = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, size))
    return t * t * (3 - 2 * t)
