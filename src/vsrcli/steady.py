"""Streams that do not give up: smaller tiles where memory is short, more precision where numbers overflow.

A push that fails is asked again, of a new stream that remembers what the old one did before it. Memory that
is short once will be short again, so smaller tiles stay for the rest of the film; an overflow belongs to the
pictures, so more precision stays to the end of the shot.

What a stream remembers is cut anew along the new tiles. For networks that look at a window this is exact,
since they remember frames. What a recurrent network remembers was computed with larger tiles, and is the
better for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from vsrcli.engine.repeats import without_repeats
from vsrcli.engine.select import open_engine
from vsrcli.engine.types import Engine, Stream
from vsrcli.errors import EngineError, NotFinite, OutOfMemory, UsageError
from vsrcli.frames.bursts import BurstStream
from vsrcli.frames.fit import FittedStream
from vsrcli.frames.spans import TilePlan
from vsrcli.frames.state import State, foreign
from vsrcli.frames.tiles import TiledStream, plan_tiles
from vsrcli.job import Job

_PRECISE = "precise"
Answer = TypeVar("Answer")


class Workshop:
    """Opens the streams of one film.

    Args:
        job: what is made.
        tiles: how frames were cut when states were saved.
        on_notice: told what has been changed.
        load: what loads a model, see :func:`~vsrcli.engine.select.open_engine`, which is the default: for
            films one after the other, something that has loaded it already.

    Attributes:
        saved: how frames were cut when states were saved.
        tiles: how they are cut now.
        engine: that computes unless numbers overflow.
        repeated: frames whose picture was given again instead of being computed again.

    Raises:
        EngineError: the device is not there.
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        job: Job,
        tiles: TilePlan,
        on_notice: Callable[[str], None],
        load: Callable[..., Engine] | None = None,
    ) -> None:
        self._load = load or open_engine
        self.saved = self.tiles = tiles
        if not job.allows(tiles):  # of an earlier run, which was allowed more memory
            self.tiles = replace(job.tiles, burst=max(job.tiles.burst, min(tiles.burst, 2)))
            size = f"{self.tiles.tile_width}x{self.tiles.tile_height}"
            on_notice(f"to save memory, going on with tiles of {size}, {self.tiles.burst} frames at a time")
        self.engine = self._opened(job, job.options.precision, on_notice)
        self.repeated = 0
        self._job = job
        self._precise: Engine | None = None
        self._tell = on_notice

    def open(self) -> SteadyStream:
        """The stream of a new shot."""
        return SteadyStream(self)

    def fresh(self, *, precise: bool) -> Stream:
        """An ordinary stream; ``precise``: in fp32, whatever was asked for."""
        engine = self._in_fp32() if precise else self.engine
        plan, kind, tiles = self._job.plan, self._job.model.architecture.kind, self.tiles
        if tiles.burst > 1:
            # the film's folder has room for it, and is no memory in disguise
            aside = Path(tempfile.gettempdir()) if plan.to_stdout else plan.target.parent
            tiled = BurstStream(engine.open, tiles, engine.scale, engine.lookahead, aside)
        else:
            tiled = TiledStream(engine.open, tiles, engine.scale)
        fitted = FittedStream(tiled, plan.height, plan.width)
        return without_repeats(fitted, kind, engine.lookahead + tiles.burst - 1, self._count)

    def shrink(self, error: OutOfMemory) -> None:
        """Halve the tiles.

        Raises:
            OutOfMemory: ``error``, if there is no smaller tile.
        """
        before = self.tiles
        side = max(before.tile_height, before.tile_width) // 2
        try:
            smaller = plan_tiles(before.height, before.width, side, self._job.overlap)
            self.tiles = replace(smaller, burst=before.burst)
        except UsageError:
            raise error from None
        if max(self.tiles.tile_height, self.tiles.tile_width) >= max(before.tile_height, before.tile_width):
            raise error
        self._tell(
            f"not enough memory for tiles of {before.tile_width}x{before.tile_height}: going on with "
            f"{self.tiles.tile_width}x{self.tiles.tile_height}"
        )

    def refine(self, error: NotFinite) -> None:
        """Say that a shot goes on in fp32.

        Raises:
            NotFinite: ``error``, if that is what it is in.
        """
        if self.engine.precision == "fp32":
            raise error
        self._tell(f"the network gave NaN or infinity in {self.engine.precision}: this shot goes on in fp32")

    def _count(self) -> None:
        self.repeated += 1

    def _opened(self, job: Job, precision: str, on_notice: Callable[[str], None]) -> Engine:
        options = job.options
        asked = {"device": options.device, "precision": precision, "engine": options.engine}
        return self._load(job.model, **asked, on_notice=on_notice)

    def _in_fp32(self) -> Engine:
        if self._precise is None:
            self._precise = self._opened(self._job, "fp32", self._tell)
        return self._precise


class SteadyStream:
    """One shot on its way through a network, see :class:`~vsrcli.engine.types.Stream`.

    Its state is that of the stream inside, and ``precise``: whether it is in fp32 now.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._precise = False
        self._tiles = workshop.tiles
        self._stream: Stream | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._ask(lambda stream: stream.push(frame))

    def flush(self) -> list[np.ndarray]:
        return self._ask(lambda stream: stream.flush())

    def fork(self) -> SteadyStream:
        twin = SteadyStream(self._workshop)
        twin._precise, twin._tiles = self._precise, self._tiles
        twin._stream = self._stream.fork() if self._stream else None
        return twin

    def state(self) -> State:
        stream = self._stream or self._opened(None, self._tiles)
        return {**stream.state(), _PRECISE: np.array(self._precise)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        inner = dict(state)
        if _PRECISE not in inner:
            raise foreign(f"it has no {_PRECISE!r}")
        self._precise = bool(inner.pop(_PRECISE))
        self._stream = self._opened(inner, self._workshop.saved)

    def _ask(self, ask: Callable[[Stream], Answer]) -> Answer:
        stream = self._stream or self._opened(None, self._tiles)
        while True:
            before = stream.fork()  # a push that fails may have begun to change things
            try:
                answer = ask(stream)
            except OutOfMemory as error:
                self._workshop.shrink(error)
            except NotFinite as error:
                if self._precise:
                    raise
                self._workshop.refine(error)
                self._precise = True
            else:
                self._stream = stream
                return answer
            stream = self._opened(before.state(), self._tiles)

    def _opened(self, state: Mapping[str, np.ndarray] | None, tiles: TilePlan) -> Stream:
        """A new stream in a state that was saved with these tiles; None: at a shot's start."""
        while True:
            self._tiles = self._workshop.tiles
            try:
                stream = self._workshop.fresh(precise=self._precise)
                if state is not None:
                    cut = retiled(state, tiles, self._tiles)
                    stream.restore(_precise(cut) if self._precise else cut)
                return stream
            except OutOfMemory as error:
                self._workshop.shrink(error)


def retiled(state: Mapping[str, np.ndarray], old: TilePlan, new: TilePlan) -> State:
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


def _precise(state: State) -> State:
    """Half-precision arrays in single precision; a memory that is infinite already begins anew."""
    found = {}
    for name, array in state.items():
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            array = array if np.isfinite(array).all() else np.zeros_like(array)
        found[name] = array
    return found
