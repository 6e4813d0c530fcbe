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

from vsrcli.errors import NonFiniteError, OutOfMemoryError, UsageError
from vsrcli.frames.state import State, foreign_state_error
from vsrcli.frames.tiling import TilePlan, plan_tiles, retile_state
from vsrcli.inference.selection import open_engine
from vsrcli.inference.tiled import BurstTiledStream, TiledStream
from vsrcli.inference.types import Engine, Stream
from vsrcli.inference.wrappers import (
    FULL_FRAME,
    ChainedStream,
    ChainedTilePlan,
    ResizingStream,
    chain_tiles,
    first_pass_tiles,
    reuse_static_frames,
)
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.memory import tile_overlap

_PRECISE = "precise"
Answer = TypeVar("Answer")


class Upscaler:
    """Opens the streams of one film.

    Args:
        job: what is made.
        tiles: how frames were cut when states were saved.
        on_notice: told what has been changed.
        load: what loads a model, see :func:`~vsrcli.inference.selection.open_engine`, which is the default: for
            films one after the other, something that has loaded it already.

    Attributes:
        saved: how frames were cut when states were saved; of the first pass.
        cut: how they are cut now; of the first pass.
        engine: that computes unless numbers overflow.

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
        now = tiles
        if not job.fits_budget(tiles):  # of an earlier run, which was allowed more memory
            now = _lower_memory_tiles(job.tiles, tiles)
            size = f"{now.tile_width}x{now.tile_height}"
            on_notice(f"to save memory, going on with tiles of {size}, {now.burst} frames at a time")
        self._load = load or open_engine
        self._job, self._tell = job, on_notice
        self._model, self._overlap = job.model, job.overlap
        self._size, self._seen = (job.plan.height, job.plan.width), job.geometry.visible_share
        if job.model.second_pass is not None:
            self._size, self._seen = (
                (job.model.scale * tiles.height, job.model.scale * tiles.width),
                FULL_FRAME,
            )
        self._begin(first_pass_tiles(tiles), first_pass_tiles(now), None)
        self._second: Upscaler | None = None
        if (
            isinstance(tiles, ChainedTilePlan)
            and isinstance(now, ChainedTilePlan)
            and tiles.second_pass
            and now.second_pass
        ):
            self._second = _SecondPass(self, tiles.second_pass, now.second_pass)

    def _begin(self, saved: TilePlan, cut: TilePlan, engine: Engine | None) -> None:
        self.checkpoint_tiles, self.pass_tiles = saved, cut
        self.engine = engine or self._opened(self._job.options.precision)
        self._precise: Engine | None = None
        self._repeated = 0

    @property
    def tiles(self) -> TilePlan:
        """How frames are cut now, in all passes."""
        return (
            self.pass_tiles if self._second is None else chain_tiles(self.pass_tiles, self._second.pass_tiles)
        )

    @property
    def reused_frames(self) -> int:
        """Frames whose picture was given again instead of being computed again."""
        return self._repeated if self._second is None else self._second.reused_frames

    def open_stream(self) -> Stream:
        """The stream of a new shot."""
        own = RetryingStream(self)
        return own if self._second is None else ChainedStream(own, self._second.open_stream())

    def build_stream(self, *, precise: bool) -> Stream:
        """An ordinary stream; ``precise``: in fp32, whatever was asked for."""
        engine = self._in_fp32() if precise else self.engine
        plan, kind, tiles = self._job.plan, self._model.architecture.kind, self.pass_tiles
        if tiles.burst > 1:
            # the film's folder has room for it, and is no memory in disguise
            aside = Path(tempfile.gettempdir()) if plan.to_stdout else plan.target.parent
            tiled = BurstTiledStream(engine.open, tiles, engine.scale, engine.lookahead, aside)
        else:
            tiled = TiledStream(engine.open, tiles, engine.scale)
        fitted = ResizingStream(tiled, *self._size, self._seen)
        return reuse_static_frames(fitted, kind, engine.lookahead + tiles.burst - 1, self._count)

    def halve_tiles(self, error: OutOfMemoryError) -> None:
        """Halve the tiles.

        Raises:
            OutOfMemoryError: ``error``, if there is no smaller tile.
        """
        before = self.pass_tiles
        side = max(before.tile_height, before.tile_width) // 2
        try:
            smaller = plan_tiles(before.height, before.width, side, self._overlap)
            self.pass_tiles = replace(smaller, burst=before.burst)
        except UsageError:
            raise error from None
        if max(self.pass_tiles.tile_height, self.pass_tiles.tile_width) >= max(
            before.tile_height, before.tile_width
        ):
            raise error
        self._tell(
            f"not enough memory for tiles of {before.tile_width}x{before.tile_height}: going on with "
            f"{self.pass_tiles.tile_width}x{self.pass_tiles.tile_height}"
        )

    def fall_back_to_fp32(self, error: NonFiniteError) -> None:
        """Say that a shot goes on in fp32.

        Raises:
            NonFiniteError: ``error``, if that is what it is in.
        """
        if self.engine.precision == "fp32":
            raise error
        self._tell(f"the network gave NaN or infinity in {self.engine.precision}: this shot goes on in fp32")

    def _count(self) -> None:
        self._repeated += 1

    def _opened(self, precision: str) -> Engine:
        options = self._job.options
        asked = {"device": options.device, "precision": precision, "engine": options.engine}
        return self._load(self._model, **asked, on_notice=self._tell)

    def _in_fp32(self) -> Engine:
        if self._precise is None:
            self._precise = self._opened("fp32")
        return self._precise


class _SecondPass(Upscaler):
    """The second pass of a chain; a network that is loaded already is not loaded again."""

    def __init__(self, first: Upscaler, saved: TilePlan, cut: TilePlan) -> None:
        job, then = first._job, first._model.second_pass
        assert then is not None
        self._load, self._job, self._tell, self._second = first._load, job, first._tell, None
        self._model, self._overlap = then, tile_overlap(then, job.options.overlap)
        self._size, self._seen = (job.plan.height, job.plan.width), job.geometry.visible_share
        same = (then.weights, then.scale) == (first._model.weights, first._model.scale)
        self._begin(saved, cut, first.engine if same else None)


def _lower_memory_tiles(planned: TilePlan, saved: TilePlan) -> TilePlan:
    """Tiles for less memory than an earlier run had; in bursts if that had some, since it may owe results."""
    fewer = replace(planned, burst=max(planned.burst, min(saved.burst, 2)))
    if (
        isinstance(fewer, ChainedTilePlan)
        and isinstance(saved, ChainedTilePlan)
        and fewer.second_pass
        and saved.second_pass
    ):
        fewer = replace(fewer, second_pass=_lower_memory_tiles(fewer.second_pass, saved.second_pass))
    return fewer


class RetryingStream:
    """One shot on its way through a network, see :class:`~vsrcli.inference.types.Stream`.

    Its state is that of the stream inside, and ``precise``: whether it is in fp32 now.
    """

    def __init__(self, workshop: Upscaler) -> None:
        self._workshop = workshop
        self._precise = False
        self._tiles = workshop.pass_tiles
        self._stream: Stream | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._ask(lambda stream: stream.push(frame))

    def flush(self) -> list[np.ndarray]:
        return self._ask(lambda stream: stream.flush())

    def fork(self) -> RetryingStream:
        twin = RetryingStream(self._workshop)
        twin._precise, twin._tiles = self._precise, self._tiles
        twin._stream = self._stream.fork() if self._stream else None
        return twin

    def state(self) -> State:
        stream = self._stream or self._opened(None, self._tiles)
        return {**stream.state(), _PRECISE: np.array(self._precise)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        inner = dict(state)
        if _PRECISE not in inner:
            raise foreign_state_error(f"it has no {_PRECISE!r}")
        self._precise = bool(inner.pop(_PRECISE))
        self._stream = self._opened(inner, self._workshop.checkpoint_tiles)

    def _ask(self, ask: Callable[[Stream], Answer]) -> Answer:
        stream = self._stream or self._opened(None, self._tiles)
        while True:
            before = stream.fork()  # a push that fails may have begun to change things
            try:
                answer = ask(stream)
            except OutOfMemoryError as error:
                self._workshop.halve_tiles(error)
            except NonFiniteError as error:
                if self._precise:
                    raise
                self._workshop.fall_back_to_fp32(error)
                self._precise = True
            else:
                self._stream = stream
                return answer
            stream = self._opened(before.state(), self._tiles)

    def _opened(self, state: Mapping[str, np.ndarray] | None, tiles: TilePlan) -> Stream:
        """A new stream in a state that was saved with these tiles; None: at a shot's start."""
        while True:
            self._tiles = self._workshop.pass_tiles
            try:
                stream = self._workshop.build_stream(precise=self._precise)
                if state is not None:
                    cut = retile_state(state, tiles, self._tiles)
                    stream.restore(_to_float32(cut) if self._precise else cut)
                return stream
            except OutOfMemoryError as error:
                self._workshop.halve_tiles(error)


def _to_float32(state: State) -> State:
    """Half-precision arrays in single precision; a memory that is infinite already begins anew."""
    found = {}
    for name, array in state.items():
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            array = array if np.isfinite(array).all() else np.zeros_like(array)
        found[name] = array
    return found
