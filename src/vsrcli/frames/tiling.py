"""Tiles: frames too large for the device's memory, cut into equal pieces and put together without seams.

Along one axis, two neighbouring tiles share context, and in its middle a feather band::

    tile k    |==================================|.........|~~~~~~~|.........|
    tile k+1                             |.........|~~~~~~~|.........|==============
                                            |      overlap  feather  overlap

The outer ``overlap`` pixels of a tile, which its neighbour sees with more context, are thrown away; across
the ``feather`` band the picture passes smoothly from one tile to the next. The true border of the frame is
never thrown away. So where ``overlap`` covers the network's receptive field radius, both tiles agree in the
band and the result is that of the whole frame; where it does not, the band hides the seam.

All tiles have one shape, so a network is compiled once: the smallest that covers the frame with as few tiles
as the side asked for allows, since pixels seen twice are paid for twice.

Where the tiles of a frame lie; :mod:`vsrcli.frames.tiling` decides it and says why.

The canvas that the tiles of one result are laid on, and how neighbours fade into each other.

What tiles remember, cut anew for tiles that lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.state import State


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis, in low-resolution pixels of the frame.

    Attributes:
        start: where the tile begins; its length is the plan's.
        keep, stop: the part that reaches the result, ``[keep, stop)``.
        ramp: how many pixels from ``keep`` on are blended with the previous tile.
    """

    start: int
    valid_start: int
    valid_stop: int
    blend: int


@dataclass(frozen=True)
class TilePlan:
    """Where the tiles of a frame lie; tiles are numbered row by row.

    Attributes:
        height, width: the frame, in low-resolution pixels.
        tile_height, tile_width: every tile, in low-resolution pixels.
        rows, columns: spans down and across the frame.
        burst: frames that one tile computes before the next tile's turn; more than 1 saves memory, see
            :mod:`vsrcli.inference.tiled`.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    rows: tuple[TileSpan, ...]
    columns: tuple[TileSpan, ...]
    burst: int = 1

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[TileSpan, TileSpan]]:
        return product(self.rows, self.columns)

    @property
    def overhead_factor(self) -> float:
        """Pixels computed for each pixel of the frame: 1 for a single tile, more with every overlap."""
        return len(self) * self.tile_height * self.tile_width / (self.height * self.width)


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
            self._band = np.empty((s * row.blend, *self.pixels.shape[1:]), np.float32)
        kept = answer[s * (row.valid_start - row.start) : s * (row.valid_stop - row.start)]
        kept = kept[:, s * (column.valid_start - column.start) : s * (column.valid_stop - column.start)]
        solid = s * row.blend
        self._across(self._band, kept[:solid], column)
        self._across(self.pixels[s * row.valid_start + solid : s * row.valid_stop], kept[solid:], column)
        if row.blend and column is plan.columns[-1]:
            old = self.pixels[s * row.valid_start : s * row.valid_start + solid]
            _blend(old, self._band, _ramp(solid)[:, None, None])

    def _across(self, lines: np.ndarray, kept: np.ndarray, column: TileSpan) -> None:
        s = self._scale
        left, right, ramp = s * column.valid_start, s * column.valid_stop, s * column.blend
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


FEATHER = 4


def min_tile_side(overlap: int, feather: int = FEATHER) -> int:
    """The smallest tile that this context leaves room for, in low-resolution pixels."""
    return 2 * overlap + max(1, 2 * feather)


def plan_tiles(height: int, width: int, tile: int | None, overlap: int, feather: int = FEATHER) -> TilePlan:
    """Cover a frame with tiles of one shape.

    Args:
        height, width: the frame, in low-resolution pixels.
        tile: largest side of a tile in low-resolution pixels, context included. None, or the frame's size or
            more: a single tile. A frame smaller than a tile in one dimension is cut along the other only.
        overlap: context in low-resolution pixels thrown away on each inner side of a tile; the receptive
            field radius of the network makes the result equal to the untiled one.
        feather: width of the band, in low-resolution pixels, over which neighbours are blended.

    Raises:
        UsageError: the tile is too small for its context, or a number cannot be meant.
        ValueError: an empty frame.
    """
    if height < 1 or width < 1:
        raise ValueError(f"no tiles for an empty frame of {width}x{height}")
    if overlap < 0 or feather < 0 or (tile is not None and tile < 1):
        raise UsageError(
            f"tile {tile}, overlap {overlap}, feather {feather}: use 0 or more, and a tile of at least 1"
        )
    tile = max(height, width) if tile is None else tile
    least = min_tile_side(overlap, feather)
    if tile < min(least, max(height, width)):
        narrower = (tile - max(1, 2 * feather)) // 2
        remedy = f" or an overlap of {narrower} or less" if narrower >= 0 else ""
        raise UsageError(
            f"a tile of {tile} pixels has no room for an overlap of {overlap}: "
            f"use a tile of {least} or more{remedy}"
        )
    tile_height, tile_width = (_side(size, tile, overlap, feather) for size in (height, width))
    rows = _spans(height, tile_height, overlap, feather)
    columns = _spans(width, tile_width, overlap, feather)
    return TilePlan(height, width, tile_height, tile_width, rows, columns)


def _side(size: int, tile: int, overlap: int, feather: int) -> int:
    """The smallest side of which as few tiles cover the axis as of ``tile``."""
    if tile >= size:
        return size
    shared = 2 * overlap + feather
    count = -(-(size - shared) // (tile - shared))
    return max(-(-(size - shared) // count) + shared, min_tile_side(overlap, feather))


def _spans(size: int, tile: int, overlap: int, feather: int) -> tuple[TileSpan, ...]:
    """Tiles at equal steps; the last one is moved back to end with the frame."""
    if tile == size:
        return (TileSpan(0, 0, size, 0),)
    step = tile - 2 * overlap - feather
    spans = [TileSpan(0, 0, tile - overlap, 0)]
    while spans[-1].start + tile < size:
        start = min(spans[-1].start + step, size - tile)
        stop = size if start + tile == size else start + tile - overlap
        # The band lies where the previous tile's good part ends. It never meets the next: step >= feather.
        spans.append(TileSpan(start, spans[-1].valid_stop - feather, stop, feather))
    return tuple(spans)


def retile_state(state: Mapping[str, np.ndarray], old: TilePlan, new: TilePlan) -> State:
    """The state of a :class:`TiledStream`, for one whose tiles lie elsewhere.

    Args:
        state: arrays of (any, tile height, tile width, any), named ``tileNUMBER.NAME``, ``corners``, and what
            is no tile's.
        old, new: the tiles.

    Raises:
        EngineError: the state is not of such a stream.
    """
    if replace(old, burst=new.burst) == new:
        return dict(state)
    found: State = {name: array for name, array in state.items() if not name.startswith("tile")}
    found["corners"] = np.array([(row.start, column.start) for row, column in new], np.int64)
    for name in (key.partition(".")[2] for key in state if key.startswith("tile0.")):
        whole = _put_together([state[f"tile{number}.{name}"] for number in range(len(old))], old)
        for number, (row, column) in enumerate(new):
            lines, columns = _reach(row.start, new.tile_height), _reach(column.start, new.tile_width)
            found[f"tile{number}.{name}"] = whole[:, lines, columns].copy()
    return found


def _put_together(tiles: list[np.ndarray], plan: TilePlan) -> np.ndarray:
    """Arrays of all tiles as one of the whole frame; of what two tiles know, the second is taken."""
    first = tiles[0]
    if any(tile.shape[1:3] != (plan.tile_height, plan.tile_width) for tile in tiles):
        raise EngineError("what this network remembers cannot be cut anew: give a smaller --tile")
    whole = np.empty((len(first), plan.height, plan.width, first.shape[3]), first.dtype)
    for (row, column), tile in zip(plan, tiles, strict=True):
        kept = tile[:, row.valid_start - row.start : row.valid_stop - row.start]
        kept = kept[:, :, column.valid_start - column.start : column.valid_stop - column.start]
        whole[:, row.valid_start : row.valid_stop, column.valid_start : column.valid_stop] = kept
    return whole


def _reach(start: int, length: int) -> slice:
    return slice(start, start + length)
