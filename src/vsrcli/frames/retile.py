"""What tiles remember, cut anew for tiles that lie elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.frames.spans import TilePlan
from vsrcli.frames.state import State


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
        kept = tile[:, row.keep - row.start : row.stop - row.start]
        kept = kept[:, :, column.keep - column.start : column.stop - column.start]
        whole[:, row.keep : row.stop, column.keep : column.stop] = kept
    return whole


def _reach(start: int, length: int) -> slice:
    return slice(start, start + length)
