"""Where the tiles of a frame lie; :mod:`vsrcli.frames.tiles` decides it and says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis, in low-resolution pixels of the frame.

    Attributes:
        start: where the tile begins; its length is the plan's.
        keep, stop: the part that reaches the result, ``[keep, stop)``.
        ramp: how many pixels from ``keep`` on are blended with the previous tile.
    """

    start: int
    keep: int
    stop: int
    ramp: int


@dataclass(frozen=True)
class TilePlan:
    """Where the tiles of a frame lie; tiles are numbered row by row.

    Attributes:
        height, width: the frame, in low-resolution pixels.
        tile_height, tile_width: every tile, in low-resolution pixels.
        rows, columns: spans down and across the frame.
        burst: frames that one tile computes before the next tile's turn; more than 1 saves memory, see
            :mod:`vsrcli.inference.bursts`.
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
