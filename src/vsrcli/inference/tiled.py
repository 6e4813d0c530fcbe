"""Tiles one after another, each for a burst of frames: memory for time.

Streams side by side (:class:`~vsrcli.frames.tiling.TiledStream`) all keep what they remember, and networks
that cache features remember about a kilobyte per low-resolution pixel of the *whole* frame, however small its
tiles are. Here only one tile's stream exists at a time. It is given a burst of frames, and then only its
*state* is kept: the last few frames, which all tiles share, and the hidden state of a recurrent network,
which waits on the disk. The price is that every stream computes its features of those frames again at each
burst, so longer bursts cost less time and more memory, and that answers come a burst later.

Arrays put aside on the disk, for what is looked at once in a while and too large to keep in memory.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from vsrcli.errors import EngineError, OutputError
from vsrcli.frames.state import ArraySpec, State, foreign_state_error, stack_frames, validate_state
from vsrcli.frames.tiling import TileBlender, TilePlan

if TYPE_CHECKING:
    from vsrcli.inference.types import Stream


Item = np.ndarray | int


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


class ArraySpool:
    """Named arrays and numbers by position. Arrays lie in one file that has no name, so nothing can be left.

    Args:
        folder: where the file lies; None: where the system keeps temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._rows: list[dict[str, tuple[int, np.dtype, tuple[int, ...]] | int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, items: Mapping[str, Item]) -> None:
        """Put aside the next ones.

        Raises:
            OutputError: the disk is full.
        """
        row: dict[str, tuple[int, np.dtype, tuple[int, ...]] | int] = {}
        for name, item in items.items():
            row[name] = self._write(item) if isinstance(item, np.ndarray) else item
        self._rows.append(row)

    def __getitem__(self, number: int) -> dict[str, Item]:
        return {
            name: item if isinstance(item, int) else self._read(*item)
            for name, item in self._rows[number].items()
        }

    def _write(self, array: np.ndarray) -> tuple[int, np.dtype, tuple[int, ...]]:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)
                weakref.finalize(self, self._file.close)
            place = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            raise OutputError(
                f"{str(folder)!r} cannot take what the network remembers ({error.strerror}): free some "
                "space, or allow more memory"
            ) from error
        return place, array.dtype, array.shape

    def _read(self, place: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        assert self._file is not None
        array: np.ndarray[Any, Any] = np.empty(shape, dtype)
        self._file.seek(place)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted and self._file.readinto(array.data.cast("B")) != wanted:  # type: ignore[attr-defined]
            raise OutputError(
                "what the network remembers was cut short on the disk; check it, and run the command again"
            )
        return array


class BurstTiledStream:
    """A stream made of one stream for each tile, one at a time; follows ``engine.types.Stream``.

    Gives bit for bit what a :class:`~vsrcli.frames.tiling.TiledStream` gives, ``plan.burst - 1`` frames later.

    Its state is that of a ``TiledStream`` after the last burst, and: ``waiting`` (N, H, W, 3), frames of the
    burst that is not full yet; ``owed`` (N, scale*H, scale*W, 3), results that were not asked for yet, both
    float32; and ``late``, int64: how many more results the tiles owe.

    Args:
        open_stream: makes a fresh stream for frames of (height, width).
        plan: where the tiles lie, and how long a burst is.
        scale: upscaling factor of the streams.
        lookahead: how many frames late the streams answer.
        folder: where hidden states wait, see :class:`~vsrcli.inference.tiled.ArraySpool`.
    """

    def __init__(
        self,
        open_stream: Callable[[int, int], Stream],
        plan: TilePlan,
        scale: int,
        lookahead: int,
        folder: Path | None = None,
    ) -> None:
        self._open = open_stream
        self._plan = plan
        self._scale = scale
        self._lookahead = lookahead
        self._folder = folder
        self._late = 0
        self._kept = ArraySpool(folder)  # every tile's state; none before the first burst
        self._recent: tuple[np.ndarray, ...] = ()  # frames before the waiting ones, for the states
        self._waiting: list[np.ndarray] = []
        self._owed: deque[np.ndarray] = deque()

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Take the next frame (height, width, 3); return the next finished one, or None.

        Raises:
            ValueError: the frame is not of the planned size.
            EngineError: tiles answer at different times or in the wrong size.
            OutputError: the disk is full.
        """
        plan = self._plan
        if frame.shape[:2] != (plan.height, plan.width):
            raise ValueError(f"planned for frames of {plan.width}x{plan.height}, not {frame.shape}")
        waiting = [*self._waiting, frame]
        if len(waiting) >= plan.burst:
            self._compute(waiting)
            waiting = []
        self._waiting = waiting
        # Evenly, so that a frame's answer is always as late as the last one of a burst has to be.
        behind = len(self._owed) + len(self._waiting) + self._late
        return self._owed.popleft() if self._owed and behind >= plan.burst + self._lookahead else None

    def flush(self) -> list[np.ndarray]:
        """End the shot: return every result still owed, in order. The stream is then spent."""
        if self._waiting or self._kept:
            self._compute(self._waiting, last=True)
        return list(self._owed)

    def fork(self) -> BurstTiledStream:
        twin = copy(self)
        twin._owed = self._owed.copy()
        return twin

    def state(self) -> State:
        plan, scale = self._plan, self._scale
        state = {
            "corners": _corners(plan),
            "waiting": stack_frames(self._waiting, plan.height, plan.width),
            "owed": stack_frames(self._owed, scale * plan.height, scale * plan.width),
            "late": np.array(self._late, np.int64),
        }
        for number in range(len(plan)):
            tile = self._state(number) if self._kept else self._opened(number).state()
            state |= {f"tile{number}.{name}": array for name, array in tile.items()}
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        plan, scale = self._plan, self._scale
        parts: dict[str, State] = {f"tile{number}": {} for number in range(len(plan))}
        own: State = {
            "waiting": stack_frames((), plan.height, plan.width),
            "owed": stack_frames((), scale * plan.height, scale * plan.width),
            "late": np.array(self._lookahead, np.int64),
        }  # what the state of a TiledStream, which has none of these, stands for
        for name, array in state.items():
            tile, _, rest = name.partition(".")
            parts.get(tile, own)[rest if tile in parts else name] = array
        corners = _corners(plan)
        any_number = range(2**31)
        validate_state(
            own,
            {
                "corners": ArraySpec(corners.shape, "int64"),
                "waiting": ArraySpec((any_number, plan.height, plan.width, 3)),
                "owed": ArraySpec((any_number, scale * plan.height, scale * plan.width, 3)),
                "late": ArraySpec((), "int64"),
            },
        )
        if not np.array_equal(own["corners"], corners):
            raise foreign_state_error("its tiles lie elsewhere in the frame")
        states = list(parts.values())
        for part in states:
            self._open(plan.tile_height, plan.tile_width).restore(part)  # refuses what is another stream's
        self._recent = tuple(_shared_frames(states, plan))
        self._kept = ArraySpool(self._folder)
        for number, part in enumerate(states):
            self._kept.add(_stripped(part, self._recent, self._part(number)))
        self._waiting = list(np.array(own["waiting"]))
        self._owed = deque(np.array(own["owed"]))
        self._late = int(own["late"])

    def _compute(self, frames: Sequence[np.ndarray], last: bool = False) -> None:
        """Every tile's turn; nothing has changed if it fails."""
        recent = (*self._recent, *frames)[-2 * self._lookahead :] if self._lookahead else ()
        canvases: list[TileBlender] = []
        kept = ArraySpool(self._folder)
        for number in range(len(self._plan)):
            stream, part = self._opened(number), self._part(number)
            answered = 0
            for answer in _answers(stream, (np.ascontiguousarray(frame[part]) for frame in frames), last):
                if number == 0:
                    canvases.append(TileBlender(self._plan, self._scale))
                if answered < len(canvases):
                    canvases[answered].add_tile(number, answer)
                answered += 1
            if answered != len(canvases):
                raise EngineError(f"tile {number} owes {answered} frames, tile 0 {len(canvases)}")
            if not last:
                kept.add(_stripped(stream.state(), recent, part))
        self._kept, self._recent = kept, recent
        self._late += len(frames) - len(canvases)
        self._owed.extend(canvas.pixels for canvas in canvases)

    def _opened(self, number: int) -> Stream:
        """The stream of a tile, where it was after the last burst."""
        stream = self._open(self._plan.tile_height, self._plan.tile_width)
        if self._kept:
            stream.restore(self._state(number))
        return stream

    def _state(self, number: int) -> State:
        """The state of a tile after the last burst."""
        return _full(self._kept[number], self._recent, self._part(number))

    def _part(self, number: int) -> tuple[slice, slice]:
        """Where a tile lies in a frame."""
        plan = self._plan
        row, column = plan.rows[number // len(plan.columns)], plan.columns[number % len(plan.columns)]
        return (
            slice(row.start, row.start + plan.tile_height),
            slice(column.start, column.start + plan.tile_width),
        )


def _answers(stream: Stream, frames: Iterable[np.ndarray], last: bool) -> Iterable[np.ndarray]:
    """What a stream says to frames, one at a time; ``last``: and what it still owes."""
    for frame in frames:
        answer = stream.push(frame)
        if answer is not None:
            yield answer
    if last:
        yield from stream.flush()


def _stripped(state: State, recent: Sequence[np.ndarray], part: tuple[slice, slice]) -> dict[str, Item]:
    """A tile's state; in place of frames that all tiles share, how many of the last ones they are."""
    return {name: len(array) if _is_frames(array, recent, part) else array for name, array in state.items()}


def _is_frames(array: np.ndarray, recent: Sequence[np.ndarray], part: tuple[slice, slice]) -> bool:
    height, width = (piece.stop - piece.start for piece in part)
    if array.dtype != np.float32 or array.shape[1:] != (height, width, 3) or len(array) > len(recent):
        return False
    frames = recent[len(recent) - len(array) :]
    return all(np.array_equal(mine, frame[part]) for mine, frame in zip(array, frames, strict=True))


def _full(kept: Mapping[str, Item], recent: Sequence[np.ndarray], part: tuple[slice, slice]) -> State:
    """The state that :func:`_stripped` was given."""
    height, width = (piece.stop - piece.start for piece in part)
    return {
        name: value
        if isinstance(value, np.ndarray)
        else stack_frames((frame[part] for frame in recent[len(recent) - value :]), height, width)
        for name, value in kept.items()
    }


def _shared_frames(states: Sequence[State], plan: TilePlan) -> list[np.ndarray]:
    """Whole frames, put together from the ``frames`` that every tile's state may have."""
    parts = [state.get("frames") for state in states]
    shape = (plan.tile_height, plan.tile_width, 3)
    if any(part is None or part.shape[1:] != shape or len(part) != len(parts[0]) for part in parts):  # type: ignore[arg-type]
        return []
    frames = [np.empty((plan.height, plan.width, 3), np.float32) for _ in parts[0]]  # type: ignore[union-attr]
    for (row, column), part in zip(plan, parts, strict=True):
        assert part is not None
        for frame, mine in zip(frames, part, strict=True):
            frame[row.start : row.start + plan.tile_height, column.start : column.start + plan.tile_width] = (
                mine
            )
    return frames


def _corners(plan: TilePlan) -> np.ndarray:
    return np.array([(row.start, column.start) for row, column in plan], np.int64)
