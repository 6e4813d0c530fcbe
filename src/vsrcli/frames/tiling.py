"""Tiles: frames too large for the device's memory, split into equal tiles and blended without seams.

Along one axis, two neighbouring tiles share context, and in its middle a feather band::

    tile k    |==================================|.........|~~~~~~~|.........|
    tile k+1                             |.........|~~~~~~~|.........|==============
                                            |      overlap  feather  overlap

The outer ``overlap`` pixels of a tile are discarded, as its neighbour has more context there; across the
``feather`` band results are blended smoothly from one tile to the next. The border of the frame itself is
never discarded. So where ``overlap`` covers the network's receptive field radius, both tiles agree in the
band and the result is that of the full frame; where it does not, the band hides the seam.

All tiles have one shape, so a network is compiled once: the smallest shape with which no more tiles are
needed than with the requested side, since pixels in two tiles are computed twice.

:func:`plan_tiles` places the tiles, and :func:`retile_state` converts saved states to other tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.state import State

FEATHER = 4  # low-resolution pixels


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis, in low-resolution pixels of the frame.

    Attributes:
        start: first pixel of the tile; its length is in the plan.
        valid_start, valid_stop: the part used for the result, ``[valid_start, valid_stop)``.
        blend: number of pixels from ``valid_start`` on that are blended with the previous tile.
    """

    start: int
    valid_start: int
    valid_stop: int
    blend: int


@dataclass(frozen=True)
class TilePlan:
    """Positions of a frame's tiles; tiles are numbered row by row.

    Attributes:
        height, width: of the frame, in low-resolution pixels.
        tile_height, tile_width: of every tile, in low-resolution pixels.
        rows, columns: vertical and horizontal spans.
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
    def slices(self) -> list[tuple[slice, slice]]:
        """Rows and columns of every tile in a frame."""
        height, width = self.tile_height, self.tile_width
        return [
            (slice(row.start, row.start + height), slice(column.start, column.start + width))
            for row, column in self
        ]

    @property
    def origins(self) -> np.ndarray:
        """Row and column at which each tile begins: (N, 2) int64."""
        return np.array([(row.start, column.start) for row, column in self], np.int64)

    @property
    def overhead_factor(self) -> float:
        """Pixels computed per pixel of the frame: 1 for a single tile, more with every overlap."""
        return len(self) * self.tile_height * self.tile_width / (self.height * self.width)


def min_tile_side(overlap: int, feather: int = FEATHER, multiple: int = 1) -> int:
    """Return the smallest tile side for this context, in low-resolution pixels."""
    return 2 * overlap + max(1, 2 * feather) + 2 * (multiple - 1)


def plan_tiles(
    height: int,
    width: int,
    tile: int | tuple[int, int] | None,
    overlap: int,
    feather: int = FEATHER,
    *,
    multiple: int = 1,
) -> TilePlan:
    """Cover a frame with tiles of one shape.

    Args:
        height, width: of the frame, in low-resolution pixels.
        tile: largest side of a tile in low-resolution pixels, or largest height and width; context included.
            None, or the frame's size or more: a single tile. A frame smaller than a tile in one dimension is
            split along the other only.
        overlap: context in low-resolution pixels discarded on each inner side of a tile; with the receptive
            field radius of the network, the result equals the untiled one.
        feather: width in low-resolution pixels of the band over which neighbours are blended.
        multiple: every tile begins at a multiple of this, for networks that work on blocks of pixels.

    Raises:
        UsageError: the tile is too small for its context, or a number is out of range.
        ValueError: an empty frame.
    """
    if height < 1 or width < 1:
        raise ValueError(f"no tiles for an empty frame of {width}x{height}")
    tile = max(height, width) if tile is None else tile
    limits = tile if isinstance(tile, tuple) else (tile, tile)
    if overlap < 0 or feather < 0 or min(limits) < 1:
        raise UsageError(
            f"tile {tile}, overlap {overlap}, feather {feather}: use 0 or more, and a tile of at least 1"
        )
    smallest, sizes = min_tile_side(overlap, feather, multiple), (height, width)
    if small := [limit for size, limit in zip(sizes, limits, strict=True) if limit < min(smallest, size)]:
        max_overlap = (small[0] - smallest + 2 * overlap) // 2
        remedy = f" or an overlap of {max_overlap} or less" if max_overlap >= 0 else ""
        raise UsageError(
            f"a tile of {small[0]} pixels is too small for an overlap of {overlap}: "
            f"use a tile of {smallest} or more{remedy}"
        )
    rules = overlap, feather, multiple
    tile_height, tile_width = (
        _shrink_side(size, limit, *rules) for size, limit in zip(sizes, limits, strict=True)
    )
    rows, columns = _place_tiles(height, tile_height, *rules), _place_tiles(width, tile_width, *rules)
    return TilePlan(height, width, tile_height, tile_width, rows, columns)


def _shrink_side(size: int, tile: int, overlap: int, feather: int, multiple: int) -> int:
    """Return the smallest side with which no more tiles cover the axis than with ``tile``.

    Its remainder by ``multiple`` is that of ``size``, so that the last tile, too, begins at a multiple.
    """
    if tile >= size:
        return size
    shared = 2 * overlap + feather
    largest = tile - (tile - size) % multiple
    count = -(-(size - shared) // _step(largest, shared, multiple))
    step = -(-(size - shared) // (count * multiple)) * multiple
    smallest = max(step + shared, min_tile_side(overlap, feather, multiple) - (multiple - 1))
    return smallest + (size - smallest) % multiple


def _place_tiles(size: int, tile: int, overlap: int, feather: int, multiple: int) -> tuple[TileSpan, ...]:
    """Place tiles at equal steps; move the last one back to end with the frame."""
    if tile == size:
        return (TileSpan(0, 0, size, 0),)
    step = _step(tile, 2 * overlap + feather, multiple)
    spans = [TileSpan(0, 0, tile - overlap, 0)]
    while spans[-1].start + tile < size:
        start = min(spans[-1].start + step, size - tile)
        stop = size if start + tile == size else start + tile - overlap
        # The band ends where the previous tile's valid part does. It never meets the next: step >= feather.
        spans.append(TileSpan(start, spans[-1].valid_stop - feather, stop, feather))
    return tuple(spans)


def _step(tile: int, shared: int, multiple: int) -> int:
    """Return the distance between two tiles: what both do not share, down to a multiple."""
    return (tile - shared) // multiple * multiple


def retile_state(state: Mapping[str, np.ndarray], old: TilePlan, new: TilePlan) -> State:
    """Convert the state of a :class:`~vsrcli.inference.tiled.TiledStream` to other tiles.

    Arrays of tiles are (any, tile height, tile width, any).

    Raises:
        EngineError: the state is not of such a stream.
    """
    if replace(old, burst=new.burst) == new:
        return dict(state)
    converted: State = {name: array for name, array in state.items() if not name.startswith("tile")}
    converted["tile_origins"] = new.origins
    for name in (key.partition(".")[2] for key in state if key.startswith("tile0.")):
        full = assemble_tiles([state[f"tile{number}.{name}"] for number in range(len(old))], old)
        for number, slices in enumerate(new.slices):
            converted[f"tile{number}.{name}"] = full[:, *slices].copy()
    return converted


def assemble_tiles(tiles: Sequence[np.ndarray], plan: TilePlan) -> np.ndarray:
    """Assemble arrays (N, tile height, tile width, C) of all tiles to one of the full frame.

    Where two tiles are valid, the second wins.
    """
    first = tiles[0]
    if any(tile.shape[1:3] != (plan.tile_height, plan.tile_width) for tile in tiles):
        raise EngineError(
            "the state of this network cannot be converted to other tiles: give a smaller --tile"
        )
    full = np.empty((len(first), plan.height, plan.width, first.shape[3]), first.dtype)
    for (row, column), tile in zip(plan, tiles, strict=True):
        valid = tile[:, row.valid_start - row.start : row.valid_stop - row.start]
        valid = valid[:, :, column.valid_start - column.start : column.valid_stop - column.start]
        full[:, row.valid_start : row.valid_stop, column.valid_start : column.valid_stop] = valid
    return full
