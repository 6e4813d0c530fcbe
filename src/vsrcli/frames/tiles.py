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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.canvas import TileBlender
from vsrcli.frames.spans import TilePlan, TileSpan
from vsrcli.frames.state import ArraySpec, State, foreign_state_error, validate_state

if TYPE_CHECKING:
    from vsrcli.inference.types import Stream

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
        spans.append(TileSpan(start, spans[-1].stop - feather, stop, feather))
    return tuple(spans)


class TiledStream:
    """A stream made of one stream for each tile, side by side; follows ``engine.types.Stream``.

    Beyond the streams' own memory it holds one frame of results, one tile, and one band.

    Its state is that of every tile, ``tile3.NAME`` for ``JOURNAL_NAME`` of the fourth, and ``corners`` (N, 2), int64:
    where the tiles begin. It is ``plan.cost`` times as large as that of one stream for the whole frame.

    Args:
        open_stream: makes a fresh stream for frames of (height, width); called once for each tile.
        plan: where the tiles lie.
        scale: upscaling factor of the streams.
    """

    def __init__(self, open_stream: Callable[[int, int], Stream], plan: TilePlan, scale: int) -> None:
        self._plan = plan
        self._scale = scale
        self._streams = [open_stream(plan.tile_height, plan.tile_width) for _ in range(len(plan))]

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Take the next frame (height, width, 3); return the next finished one, or None.

        Raises:
            ValueError: the frame is not of the planned size.
            EngineError: tiles answer at different times or in the wrong size.
        """
        plan = self._plan
        if frame.shape[:2] != (plan.height, plan.width):
            raise ValueError(f"planned for frames of {plan.width}x{plan.height}, not {frame.shape}")
        if len(plan) == 1:
            return self._streams[0].push(frame)
        canvas: TileBlender | None = None
        for number, ((row, column), stream) in enumerate(zip(plan, self._streams, strict=True)):
            lines = slice(row.start, row.start + plan.tile_height)
            part = frame[lines, column.start : column.start + plan.tile_width]
            answer = stream.push(np.ascontiguousarray(part))
            if number and (answer is None) != (canvas is None):
                raise EngineError(f"tile {number} answers earlier or later than tile 0: try without tiles")
            if answer is not None:
                canvas = canvas or TileBlender(plan, self._scale)
                canvas.add_tile(number, answer)
        return canvas.pixels if canvas else None

    def flush(self) -> list[np.ndarray]:
        """End the shot: return every result still owed, in order. The stream is then spent.

        Raises:
            EngineError: tiles owe different numbers of results, or of the wrong size.
        """
        if len(self._plan) == 1:
            return self._streams[0].flush()
        canvases: list[TileBlender] = []
        for number, stream in enumerate(self._streams):
            answers = stream.flush()
            if number == 0:
                canvases = [TileBlender(self._plan, self._scale) for _ in answers]
            if len(answers) != len(canvases):
                raise EngineError(f"tile {number} owes {len(answers)} frames, tile 0 {len(canvases)}")
            for canvas, answer in zip(canvases, answers, strict=True):
                canvas.add_tile(number, answer)
        return [canvas.pixels for canvas in canvases]

    def fork(self) -> TiledStream:
        twin = copy(self)
        twin._streams = [stream.fork() for stream in self._streams]
        return twin

    def state(self) -> State:
        state = {"corners": self._corners()}
        for number, stream in enumerate(self._streams):
            state |= {f"tile{number}.{name}": array for name, array in stream.state().items()}
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        corners = self._corners()
        parts: dict[str, State] = {f"tile{number}": {} for number in range(len(self._streams))}
        own: State = {}
        for name, array in state.items():
            tile, _, rest = name.partition(".")
            parts.get(tile, own)[rest if tile in parts else name] = array
        validate_state(own, {"corners": ArraySpec(corners.shape, "int64")})
        if not np.array_equal(own["corners"], corners):
            raise foreign_state_error("its tiles lie elsewhere in the frame")
        for stream, part in zip(self._streams, parts.values(), strict=True):
            stream.restore(part)

    def _corners(self) -> np.ndarray:
        return np.array([(row.start, column.start) for row, column in self._plan], np.int64)
