"""Streams made of one stream per tile: all at once, or one tile at a time in bursts of frames.

:class:`TiledStream` keeps a stream for every tile. Networks that cache features hold about a kilobyte per
low-resolution pixel of the *full* frame, however small the tiles are.

:class:`BurstTiledStream` trades time for memory: only one tile's stream exists at a time. It processes a
burst of frames, then only its *state* is saved: the last few frames, which all tiles share, and the hidden
state of a recurrent network, which is written to disk (:mod:`vsrcli.inference.array_spool`). Every stream
computes its features of the shared frames again at each burst, so longer bursts cost less time and more
memory, and results come a burst later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.frames.state import (
    ArraySpec,
    State,
    foreign_state_error,
    join_states,
    split_state,
    stack_frames,
    validate_state,
)
from vsrcli.frames.tiling import TilePlan, TileSpan, assemble_tiles
from vsrcli.inference.array_spool import ArraySpool, Item
from vsrcli.inference.types import Stream


class TiledStream(Stream):
    """A stream with one stream per tile; see :class:`~vsrcli.inference.types.Stream`.

    Beyond the streams' own memory it holds one upscaled frame, one tile, and one band.

    State: that of every tile, ``tile3.NAME`` for ``NAME`` of the fourth, and ``tile_origins`` (N, 2), int64:
    row and column at which each tile begins. It is ``plan.overhead_factor`` times as large as that of one
    stream for the full frame.

    Args:
        open_stream: returns a fresh stream for frames of (height, width); called once per tile.
        plan: where the tiles lie.
        scale: upscaling factor of the streams.
    """

    def __init__(self, open_stream: Callable[[int, int], Stream], plan: TilePlan, scale: int) -> None:
        self._plan = plan
        self._scale = scale
        self._streams = [open_stream(plan.tile_height, plan.tile_width) for _ in range(len(plan))]

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Raise ValueError if the frame is not of the planned size, EngineError if tiles differ in delay."""
        plan = self._plan
        _require_planned_size(frame, plan)
        if len(plan) == 1:
            return self._streams[0].push(frame)
        blender: TileBlender | None = None
        for number, (slices, stream) in enumerate(zip(plan.slices, self._streams, strict=True)):
            result = stream.push(np.ascontiguousarray(frame[slices]))
            if number and (result is None) != (blender is None):
                raise EngineError(f"tile {number} answers earlier or later than tile 0: try without tiles")
            if result is not None:
                blender = blender or TileBlender(plan, self._scale)
                blender.add_tile(number, result)
        return blender.pixels if blender else None

    def flush(self) -> list[np.ndarray]:
        """Raise EngineError if tiles differ in their number of results, or results have the wrong size."""
        if len(self._plan) == 1:
            return self._streams[0].flush()
        blenders: list[TileBlender] = []
        for number, stream in enumerate(self._streams):
            results = stream.flush()
            if number == 0:
                blenders = [TileBlender(self._plan, self._scale) for _ in results]
            _require_same_count(number, len(results), len(blenders))
            for blender, result in zip(blenders, results, strict=True):
                blender.add_tile(number, result)
        return [blender.pixels for blender in blenders]

    def fork(self) -> TiledStream:
        twin = copy(self)
        twin._streams = [stream.fork() for stream in self._streams]
        return twin

    def state(self) -> State:
        tiles = join_states("tile", (stream.state() for stream in self._streams))
        return {"tile_origins": self._plan.origins, **tiles}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        own, tiles = split_state(state, "tile", len(self._streams))
        _validate_tiled_state(own, self._plan, {})
        for stream, tile in zip(self._streams, tiles, strict=True):
            stream.restore(tile)


class BurstTiledStream(Stream):
    """A stream with one stream per tile, one at a time; see :class:`~vsrcli.inference.types.Stream`.

    Results equal those of a :class:`TiledStream` bit for bit, ``plan.burst - 1`` frames later.

    State: that of a ``TiledStream`` after the last burst, without tiles before the first one, and

    - ``pending_frames`` (N, H, W, 3), float32: frames of the burst that is not full yet.
    - ``pending_results`` (N, scale*H, scale*W, 3), float32: results not returned yet.
    - ``results_due``, int64: how many results the tiles have still to give for the frames they have had.

    Args:
        open_stream: returns a fresh stream for frames of (height, width).
        plan: where the tiles lie, and how long a burst is.
        scale: upscaling factor of the streams.
        lookahead: number of frames by which the streams' results are late.
        folder: of the file for hidden states, see
            :class:`~vsrcli.inference.array_spool.ArraySpool`.
    """

    def __init__(
        self,
        open_stream: Callable[[int, int], Stream],
        plan: TilePlan,
        scale: int,
        lookahead: int,
        folder: Path | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._plan = plan
        self._scale = scale
        self._lookahead = lookahead
        self._folder = folder
        self._results_due = 0
        self._tile_states = ArraySpool(folder)  # empty before the first burst
        self._recent: tuple[np.ndarray, ...] = ()  # last frames of the bursts, which tile states refer to
        self._pending_frames: list[np.ndarray] = []
        self._pending_results: deque[np.ndarray] = deque()

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Raise as :meth:`TiledStream.push`, and OutputError if the disk is full."""
        plan = self._plan
        _require_planned_size(frame, plan)
        pending = [*self._pending_frames, frame]
        if len(pending) >= plan.burst:
            self._run_burst(pending)
            pending = []
        self._pending_frames = pending
        return self._take_ready()

    def take_overdue(self) -> np.ndarray | None:
        """Run frames of a longer burst in bursts of the plan's length."""
        burst = self._plan.burst
        while not self._pending_results and len(self._pending_frames) >= burst:
            self._run_burst(self._pending_frames[:burst])
            self._pending_frames = self._pending_frames[burst:]
        return self._take_ready()

    def flush(self) -> list[np.ndarray]:
        if self._pending_frames or self._tile_states:
            self._run_burst(self._pending_frames, is_last=True)
        return list(self._pending_results)

    def fork(self) -> BurstTiledStream:
        twin = copy(self)
        twin._pending_results = self._pending_results.copy()
        return twin

    def state(self) -> State:
        plan, scale = self._plan, self._scale
        state = {
            "tile_origins": plan.origins,
            "pending_frames": stack_frames(self._pending_frames, plan.height, plan.width),
            "pending_results": stack_frames(self._pending_results, scale * plan.height, scale * plan.width),
            "results_due": np.array(self._results_due, np.int64),
        }
        # Before the first burst there are none: opening a stream takes memory, which may be short.
        return state | join_states("tile", map(self._tile_state, range(len(self._tile_states))))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        plan, scale = self._plan, self._scale
        own, tiles = split_state(state, "tile", len(plan))
        own = {  # the state of a TiledStream has none of these, and means the following
            "pending_frames": stack_frames((), plan.height, plan.width),
            "pending_results": stack_frames((), scale * plan.height, scale * plan.width),
            "results_due": np.array(self._lookahead, np.int64),
            **own,
        }
        any_count = range(2**31)
        specs = {
            "pending_frames": ArraySpec((any_count, plan.height, plan.width, 3)),
            "pending_results": ArraySpec((any_count, scale * plan.height, scale * plan.width, 3)),
            "results_due": ArraySpec((), "int64"),
        }
        _validate_tiled_state(own, plan, specs)
        self._pending_frames = list(np.array(own["pending_frames"]))
        self._pending_results = deque(np.array(own["pending_results"]))
        self._results_due = int(own["results_due"])
        if not (any(tiles) or self._pending_results or self._results_due):
            return  # before the first burst
        for tile in tiles:  # raises if a tile's state is of another kind of stream
            self._open_stream(plan.tile_height, plan.tile_width).restore(tile)
        self._recent = _shared_frames(tiles, plan)
        self._tile_states = ArraySpool(self._folder)
        for tile, slices in zip(tiles, plan.slices, strict=True):
            self._tile_states.add(_without_shared_frames(tile, self._recent, slices))

    def _take_ready(self) -> np.ndarray | None:
        """Return a result if one is ready: each is as late as the last one of a burst has to be."""
        delay = len(self._pending_results) + len(self._pending_frames) + self._results_due
        is_ready = self._pending_results and delay >= self._plan.burst + self._lookahead
        return self._pending_results.popleft() if is_ready else None

    def _run_burst(self, frames: Sequence[np.ndarray], is_last: bool = False) -> None:
        """Run every tile on a burst; change nothing if that fails."""
        recent = (*self._recent, *frames)[-2 * self._lookahead :] if self._lookahead else ()
        blenders: list[TileBlender] = []
        tile_states = ArraySpool(self._folder)
        for number, slices in enumerate(self._plan.slices):
            stream = self._open_tile(number)
            result_count = 0
            tiles = (np.ascontiguousarray(frame[slices]) for frame in frames)
            for result in _results(stream, tiles, is_last):
                if number == 0:
                    blenders.append(TileBlender(self._plan, self._scale))
                if result_count < len(blenders):
                    blenders[result_count].add_tile(number, result)
                result_count += 1
            _require_same_count(number, result_count, len(blenders))
            if not is_last:
                tile_states.add(_without_shared_frames(stream.state(), recent, slices))
        self._tile_states, self._recent = tile_states, recent
        self._results_due += len(frames) - len(blenders)
        self._pending_results.extend(blender.pixels for blender in blenders)

    def _open_tile(self, number: int) -> Stream:
        """Return a tile's stream as it was after the last burst."""
        stream = self._open_stream(self._plan.tile_height, self._plan.tile_width)
        if self._tile_states:
            stream.restore(self._tile_state(number))
        return stream

    def _tile_state(self, number: int) -> State:
        """Return a tile's state after the last burst."""
        return _with_shared_frames(self._tile_states[number], self._recent, self._plan.slices[number])


def count_due(state: Mapping[str, np.ndarray]) -> int:
    """Return how many results a state of a :class:`BurstTiledStream` still owes; 0 for other streams' states.

    So many frames late are results after it is restored, in a stream of shorter bursts, too.
    """
    if "results_due" not in state:
        return 0
    return int(state["results_due"]) + len(state["pending_frames"]) + len(state["pending_results"])


class TileBlender:
    """Assembles one result, tile by tile in the plan's order.

    Blending is ``old + weight * (new - old)``, first along rows, then along columns, so that tiles that agree
    give exactly their common value. Only the bands are blended; everything else is copied once.

    Args:
        plan: positions of the tiles.
        scale: upscaling factor of the results.

    Attributes:
        pixels: the result, float32 (scale*H, scale*W, 3); complete once every tile has been added.
    """

    def __init__(self, plan: TilePlan, scale: int) -> None:
        self.pixels = np.empty((scale * plan.height, scale * plan.width, 3), np.float32)
        self._plan = plan
        self._scale = scale
        # The current row of tiles in its band with the row above, not blended with that yet.
        self._band = np.empty((0, scale * plan.width, 3), np.float32)

    def add_tile(self, number: int, tile: np.ndarray) -> None:
        """Add the result of one tile, float32 (scale*tile_height, scale*tile_width, 3).

        Raises:
            EngineError: it is of another size.
        """
        plan, s = self._plan, self._scale
        if tile.shape != (s * plan.tile_height, s * plan.tile_width, 3):
            raise EngineError(f"a tile of {plan.tile_width}x{plan.tile_height} came back as {tile.shape}")
        row, column = plan.rows[number // len(plan.columns)], plan.columns[number % len(plan.columns)]
        if column is plan.columns[0]:
            self._band = np.empty((s * row.blend, *self.pixels.shape[1:]), np.float32)
        valid = tile[s * (row.valid_start - row.start) : s * (row.valid_stop - row.start)]
        valid = valid[:, s * (column.valid_start - column.start) : s * (column.valid_stop - column.start)]
        top, band_height = s * row.valid_start, s * row.blend
        self._blend_into_row(self._band, valid[:band_height], column)
        self._blend_into_row(self.pixels[top + band_height : s * row.valid_stop], valid[band_height:], column)
        if row.blend and column is plan.columns[-1]:
            old = self.pixels[top : top + band_height]
            _blend(old, self._band, _smoothstep(band_height)[:, None, None])

    def _blend_into_row(self, lines: np.ndarray, valid: np.ndarray, column: TileSpan) -> None:
        """Write a tile's part to full lines, blended with the tile on its left."""
        s = self._scale
        left, right, blend = s * column.valid_start, s * column.valid_stop, s * column.blend
        _blend(lines[:, left : left + blend], valid[:, :blend], _smoothstep(blend)[:, None])
        lines[:, left + blend : right] = valid[:, blend:]


def _blend(old: np.ndarray, new: np.ndarray, weight: np.ndarray) -> None:
    """Move ``old`` towards ``new`` in place."""
    change = new - old
    change *= weight
    old += change


def _smoothstep(size: int) -> np.ndarray:
    """Return the smoothstep from 0 to 1, sampled at pixel centres: float32 (size,)."""
    t = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, size))
    return t * t * (3 - 2 * t)


def _require_same_count(number: int, count: int, expected: int) -> None:
    if count != expected:
        raise EngineError(f"tile {number} owes {count} frames, tile 0 {expected}")


def _results(stream: Stream, frames: Iterable[np.ndarray], is_last: bool) -> Iterable[np.ndarray]:
    """Yield a stream's results for frames, and the remaining ones if these are the last frames."""
    for frame in frames:
        result = stream.push(frame)
        if result is not None:
            yield result
    if is_last:
        yield from stream.flush()


def _require_planned_size(frame: np.ndarray, plan: TilePlan) -> None:
    if frame.shape[:2] != (plan.height, plan.width):
        raise ValueError(f"planned for frames of {plan.width}x{plan.height}, not {frame.shape}")


def _validate_tiled_state(own: State, plan: TilePlan, others: Mapping[str, ArraySpec]) -> None:
    """Require the arrays of no tile: the origins of the plan's tiles, and others."""
    validate_state(own, {"tile_origins": ArraySpec((len(plan), 2), "int64"), **others})
    if not np.array_equal(own["tile_origins"], plan.origins):
        raise foreign_state_error("its tiles lie elsewhere in the frame")


def _without_shared_frames(
    state: State, recent: Sequence[np.ndarray], slices: tuple[slice, slice]
) -> dict[str, Item]:
    """Replace arrays that equal the last frames, which all tiles share, by their number of frames."""
    return {
        name: len(array) if _equals_recent(array, recent, slices) else array for name, array in state.items()
    }


def _equals_recent(array: np.ndarray, recent: Sequence[np.ndarray], slices: tuple[slice, slice]) -> bool:
    height, width = (each.stop - each.start for each in slices)
    if array.dtype != np.float32 or array.shape[1:] != (height, width, 3) or len(array) > len(recent):
        return False
    frames = recent[len(recent) - len(array) :]
    return all(np.array_equal(own, frame[slices]) for own, frame in zip(array, frames, strict=True))


def _with_shared_frames(
    items: Mapping[str, Item], recent: Sequence[np.ndarray], slices: tuple[slice, slice]
) -> State:
    """Invert :func:`_without_shared_frames`."""
    height, width = (each.stop - each.start for each in slices)
    return {
        name: item
        if isinstance(item, np.ndarray)
        else stack_frames((frame[slices] for frame in recent[len(recent) - item :]), height, width)
        for name, item in items.items()
    }


def _shared_frames(states: Sequence[State], plan: TilePlan) -> tuple[np.ndarray, ...]:
    """Assemble full frames from the ``frames`` of all tiles' states; return none if these do not fit."""
    parts = [state["frames"] for state in states if "frames" in state]
    shapes = {part.shape for part in parts}
    if (
        len(parts) < len(states)
        or len(shapes) > 1
        or parts[0].shape[1:] != (plan.tile_height, plan.tile_width, 3)
    ):
        return ()
    return tuple(assemble_tiles(parts, plan))
