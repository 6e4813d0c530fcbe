"""The streams of a run, which retry: with smaller tiles after out-of-memory, in fp32 after NaN or infinity.

A push that fails is repeated on a new stream in the state before it. Memory that is short once will be short
again, so smaller tiles stay until the end of the run; an overflow depends on the frames, so fp32 stays until
the end of the shot only.

The state is divided anew along the new tiles. For networks with a window of frames this is exact, since
frames are their state. The hidden state of a recurrent network was computed with larger tiles, so with more
context than in smaller ones.
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
from vsrcli.pipeline.progress import Reporter

_FP32_KEY = "fp32"
Results = TypeVar("Results")


class Upscaler:
    """Owns the engines of a run and opens its streams, one for each shot.

    Args:
        job: the run.
        tiles: tile plan that the state to resume from was saved with; the job's if there is none.
        reporter: receives a notice when tiles or precision change.
        load_engine: as :func:`~vsrcli.inference.selection.open_engine`, the default. A batch passes one that
            caches engines.

    Attributes:
        checkpoint_tiles: tile plan that states were saved with; of this pass.
        pass_tiles: current tile plan; of this pass.
        engine: in the requested precision.

    Raises:
        EngineError: the device is missing.
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        job: Job,
        tiles: TilePlan,
        reporter: Reporter,
        load_engine: Callable[..., Engine] | None = None,
    ) -> None:
        current = tiles
        if not job.fits_budget(tiles):  # an earlier run had a larger --max-memory
            current = _lower_memory_tiles(job.tiles, tiles)
            size = f"{current.tile_width}x{current.tile_height}"
            reporter.notice(
                f"to save memory, going on with tiles of {size}, {current.burst} frames at a time"
            )
        self._load_engine = load_engine or open_engine
        self._job, self._on_notice = job, reporter.notice
        self._model, self._overlap = job.model, job.overlap
        self._size, self._visible_share = (job.plan.height, job.plan.width), job.geometry.visible_share
        if job.model.second_pass is not None:
            self._size = job.model.scale * tiles.height, job.model.scale * tiles.width
            self._visible_share = FULL_FRAME
        self._set_up(first_pass_tiles(tiles), first_pass_tiles(current), None)
        self._second_pass: Upscaler | None = None
        if (
            isinstance(tiles, ChainedTilePlan)
            and isinstance(current, ChainedTilePlan)
            and tiles.second_pass
            and current.second_pass
        ):
            self._second_pass = _SecondPass(self, tiles.second_pass, current.second_pass)

    def _set_up(self, checkpoint_tiles: TilePlan, pass_tiles: TilePlan, engine: Engine | None) -> None:
        self.checkpoint_tiles, self.pass_tiles = checkpoint_tiles, pass_tiles
        self.engine = engine or self._open_engine(self._job.options.precision)
        self._fp32_engine: Engine | None = None
        self._reused_frames = 0

    @property
    def tiles(self) -> TilePlan:
        """Current tile plan, of both passes if there are two."""
        second = self._second_pass
        return self.pass_tiles if second is None else chain_tiles(self.pass_tiles, second.pass_tiles)

    @property
    def reused_frames(self) -> int:
        """Frames whose result was reused instead of computed, since their window had not changed."""
        return self._reused_frames if self._second_pass is None else self._second_pass.reused_frames

    def open_stream(self) -> Stream:
        """Open the stream of a new shot; it retries, see the module's description."""
        stream = RetryingStream(self)
        return stream if self._second_pass is None else ChainedStream(stream, self._second_pass.open_stream())

    def build_stream(self, *, fp32: bool) -> Stream:
        """Return a stream that does not retry, with the current tiles; in fp32 or the requested precision."""
        engine = self._open_fp32_engine() if fp32 else self.engine
        plan, kind, tiles = self._job.plan, self._model.architecture.kind, self.pass_tiles
        if tiles.burst > 1:
            # the target's folder has space, and is not a tmpfs as often as the temporary one
            folder = Path(tempfile.gettempdir()) if plan.to_stdout else plan.target.parent
            tiled = BurstTiledStream(engine.open, tiles, engine.scale, engine.lookahead, folder)
        else:
            tiled = TiledStream(engine.open, tiles, engine.scale)
        resized = ResizingStream(tiled, *self._size, self._visible_share)
        return reuse_static_frames(resized, kind, engine.lookahead + tiles.burst - 1, self._count_reused)

    def halve_tiles(self, error: OutOfMemoryError) -> None:
        """Halve the side of the tiles, until the end of the run.

        Args:
            error: raised again if tiles cannot be smaller.

        Raises:
            OutOfMemoryError: tiles cannot be smaller.
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
        self._on_notice(
            f"not enough memory for tiles of {before.tile_width}x{before.tile_height}: going on with "
            f"{self.pass_tiles.tile_width}x{self.pass_tiles.tile_height}"
        )

    def fall_back_to_fp32(self, error: NonFiniteError) -> None:
        """Send a notice that the shot continues in fp32.

        Args:
            error: raised again if the engine is in fp32 already.

        Raises:
            NonFiniteError: the engine is in fp32 already.
        """
        if self.engine.precision == "fp32":
            raise error
        self._on_notice(
            f"the network gave NaN or infinity in {self.engine.precision}: this shot goes on in fp32"
        )

    def _count_reused(self) -> None:
        self._reused_frames += 1

    def _open_engine(self, precision: str) -> Engine:
        options = self._job.options
        requested = {"device": options.device, "precision": precision, "engine": options.engine}
        return self._load_engine(self._model, **requested, on_notice=self._on_notice)

    def _open_fp32_engine(self) -> Engine:
        if self._fp32_engine is None:
            self._fp32_engine = self._open_engine("fp32")
        return self._fp32_engine


class _SecondPass(Upscaler):
    """The second pass of ``--chain``; shares the engine of the first if both run the same network."""

    def __init__(self, first: Upscaler, checkpoint_tiles: TilePlan, pass_tiles: TilePlan) -> None:
        job, second = first._job, first._model.second_pass
        assert second is not None
        self._load_engine, self._job, self._on_notice = first._load_engine, job, first._on_notice
        self._second_pass = None
        self._model, self._overlap = second, tile_overlap(second, job.options.overlap)
        self._size, self._visible_share = (job.plan.height, job.plan.width), job.geometry.visible_share
        same_engine = (second.weights, second.scale) == (first._model.weights, first._model.scale)
        self._set_up(checkpoint_tiles, pass_tiles, first.engine if same_engine else None)


def _lower_memory_tiles(planned: TilePlan, saved: TilePlan) -> TilePlan:
    """Return the planned tiles, in bursts if the saved ones are: their state may hold pending results."""
    tiles = replace(planned, burst=max(planned.burst, min(saved.burst, 2)))
    if (
        isinstance(tiles, ChainedTilePlan)
        and isinstance(saved, ChainedTilePlan)
        and tiles.second_pass
        and saved.second_pass
    ):
        tiles = replace(tiles, second_pass=_lower_memory_tiles(tiles.second_pass, saved.second_pass))
    return tiles


class RetryingStream:
    """A stream of one shot that retries, see :class:`~vsrcli.inference.types.Stream`.

    Its state is that of the inner stream, and ``fp32``: whether the shot has fallen back to it.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self._fp32 = False
        self._tiles = upscaler.pass_tiles
        self._stream: Stream | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._retry(lambda stream: stream.push(frame))

    def flush(self) -> list[np.ndarray]:
        return self._retry(lambda stream: stream.flush())

    def fork(self) -> RetryingStream:
        twin = RetryingStream(self._upscaler)
        twin._fp32, twin._tiles = self._fp32, self._tiles
        twin._stream = self._stream.fork() if self._stream else None
        return twin

    def state(self) -> State:
        stream = self._stream or self._build_stream(None, self._tiles)
        return {**stream.state(), _FP32_KEY: np.array(self._fp32)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        stream_state = dict(state)
        if _FP32_KEY not in stream_state:
            raise foreign_state_error(f"it has no {_FP32_KEY!r}")
        self._fp32 = bool(stream_state.pop(_FP32_KEY))
        self._stream = self._build_stream(stream_state, self._upscaler.checkpoint_tiles)

    def _retry(self, call: Callable[[Stream], Results]) -> Results:
        stream = self._stream or self._build_stream(None, self._tiles)
        while True:
            before = stream.fork()  # a push that fails may have changed the state
            try:
                results = call(stream)
            except OutOfMemoryError as error:
                self._upscaler.halve_tiles(error)
            except NonFiniteError as error:
                if self._fp32:
                    raise
                self._upscaler.fall_back_to_fp32(error)
                self._fp32 = True
            else:
                self._stream = stream
                return results
            stream = self._build_stream(before.state(), self._tiles)

    def _build_stream(self, state: Mapping[str, np.ndarray] | None, tiles: TilePlan) -> Stream:
        """Return a new stream in a state that was saved with ``tiles``; None: at the start of a shot."""
        while True:
            self._tiles = self._upscaler.pass_tiles
            try:
                stream = self._upscaler.build_stream(fp32=self._fp32)
                if state is not None:
                    retiled = retile_state(state, tiles, self._tiles)
                    stream.restore(_to_float32(retiled) if self._fp32 else retiled)
                return stream
            except OutOfMemoryError as error:
                self._upscaler.halve_tiles(error)


def _to_float32(state: State) -> State:
    """Return floating-point arrays in float32; those that are not finite are reset to 0."""
    result = {}
    for name, array in state.items():
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            array = array if np.isfinite(array).all() else np.zeros_like(array)
        result[name] = array
    return result
