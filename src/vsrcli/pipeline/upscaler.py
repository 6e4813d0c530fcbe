"""The streams of a run, which retry: with smaller tiles after out-of-memory, in fp32 after NaN or infinity.

A push that fails is repeated on a new stream in the state before it. Memory that is short once will be short
again, so smaller tiles stay until the end of the run; an overflow depends on the frames, so fp32 stays until
the end of the shot only.

The state is divided anew along the new tiles. For networks with a window of frames this is exact, since
frames are their state. The hidden state of a recurrent network was computed with larger tiles, so with more
context than in smaller ones.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from vsrcli.errors import NonFiniteError, OutOfMemoryError, UsageError
from vsrcli.frames.state import State, foreign_state_error
from vsrcli.frames.tiling import TilePlan, plan_tiles, retile_state
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.faithful import FaithfulStream
from vsrcli.inference.selection import ModelChoice, open_engine, select_interpolation
from vsrcli.inference.tiled import BurstTiledStream, TiledStream
from vsrcli.inference.types import Engine, Stream
from vsrcli.inference.wrappers import (
    ChainedStream,
    ResizingStream,
    reuse_static_frames,
)
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.passes import Pass, interpolation_stream
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.shot_upscaler import ShotUpscaler

_FP32_KEY = "fp32"
Results = TypeVar("Results")


def choose_tiles(
    job: Job, saved: Sequence[TilePlan], on_notice: Callable[[str], None]
) -> tuple[TilePlan, ...]:
    """Return the tile plans with which a run goes on after one that saved its state with others.

    Those are kept where they fit, see :meth:`~vsrcli.pipeline.job.Job.can_keep_tiles`; else the job's take
    their place, in bursts if the saved ones are, as their state may hold pending results.

    Args:
        job: the run.
        saved: tile plans of the passes that the state was saved with.
        on_notice: called with a line if the plans are others.
    """
    if job.can_keep_tiles(saved) or tuple(saved) == job.tiles:
        return tuple(saved)
    chosen = tuple(
        replace(plan, burst=max(plan.burst, min(each.burst, 2)))
        for plan, each in zip(job.tiles, saved, strict=True)
    )
    size = f"{chosen[0].tile_width}x{chosen[0].tile_height}"
    on_notice(f"to save memory, going on with tiles of {size}, {chosen[0].burst} frames at a time")
    return chosen


class Upscaler:
    """Owns the engines of a run and opens its streams, one for each shot.

    Args:
        job: the run.
        tiles: tile plans of the passes that the state to resume from was saved with; the job's if there is
            none.
        reporter: receives a notice when tiles or precision change.
        load_engine: as :func:`~vsrcli.inference.selection.open_engine`, the default. A batch passes one that
            caches engines.
        keep_tiles: begin with ``tiles`` whatever memory is free: somebody else has chosen them.

    Attributes:
        passes: in order.
        engine: of the first pass, in the requested precision.
        repeat_count: frames that were left out, since they repeat the one before.

    Raises:
        EngineError: the device is missing.
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        job: Job,
        tiles: Sequence[TilePlan],
        reporter: Reporter,
        load_engine: Callable[..., Engine] | None = None,
        *,
        keep_tiles: bool = False,
    ) -> None:
        self._load_engine = load_engine or open_engine
        self._job, self._options, self._on_notice = job, job.options, reporter.notice
        self._engines: dict[tuple[str, str], Engine] = {}  # by model and precision
        self.repeat_count = 0
        current = tuple(tiles) if keep_tiles else choose_tiles(job, tiles, reporter.notice)
        # The target's folder has space, and is not a tmpfs as often as the temporary one.
        folder = None if job.plan.to_stdout else job.plan.target.parent
        self.passes = [
            PassUpscaler(each, saved, plan, folder, partial(self._engine, each.model), reporter.notice)
            for each, saved, plan in zip(job.passes, tiles, current, strict=True)
        ]
        self.engine = self._engine(job.passes[0].model, job.options.precision)

    @property
    def tiles(self) -> tuple[TilePlan, ...]:
        """Current tile plans of the passes."""
        return tuple(each.tiles for each in self.passes)

    @property
    def reused_frames(self) -> int:
        """Frames whose result was reused instead of computed, since their window had not changed."""
        return self.passes[-1].reused_frames

    def open_shots(self, state: Mapping[str, np.ndarray] | None = None) -> ShotUpscaler:
        """Return the upscaler of frames, whose shots have streams of :meth:`open_stream`.

        Args:
            state: see :class:`~vsrcli.pipeline.shot_upscaler.ShotUpscaler`.

        Raises:
            EngineError: the state is of another network.
        """
        job = self._job
        has_state = any(each.model.architecture.has_state for each in job.passes)
        leaves_out = has_state and job.strength > 0  # else interpolation is all that is seen
        return ShotUpscaler(self.open_stream, state, on_repeat=self._count_repeat if leaves_out else None)

    def open_stream(self) -> Stream:
        """Open the stream of a new shot; it retries, see the module's description."""
        stream = ChainedStream([RetryingStream(each) for each in self.passes])
        job = self._job
        if not job.is_faithful:
            return stream
        size, last = (job.source.video.height, job.source.video.width), job.passes[-1]
        models = select_interpolation(job.geometry.factor, chain=job.options.chain)
        return FaithfulStream(
            stream,
            *size,
            interpolation_stream(models, *size, last, last.model.phase),
            strength=job.strength,
            keep_color=job.keep_color,
            visible_share=last.visible_share,
        )

    def _count_repeat(self) -> None:
        self.repeat_count += 1

    def _engine(self, model: ModelChoice, precision: str | None = None) -> Engine:
        """Return the engine of a model, in the requested precision by default; load it at the first call."""
        options, precision = self._options, precision or self._options.precision
        key = model.checksum, precision
        if key not in self._engines:
            requested = {"device": options.device, "precision": precision, "engine": options.engine}
            self._engines[key] = self._load_engine(model, **requested, on_notice=self._on_notice)
        return self._engines[key]


class PassUpscaler:
    """One pass of a run: opens its streams, with tiles that shrink and a precision that rises after errors.

    Args:
        properties: of the pass.
        checkpoint_tiles: tile plan that states were saved with.
        tiles: tile plan to begin with.
        folder: of temporary files; None: the system's.
        load_engine: returns the engine in a precision, the requested one by default; loads it once.
        on_notice: called with a line of text when tiles or precision change.

    Attributes:
        checkpoint_tiles, tiles: as passed; ``tiles`` until they become smaller.
        reused_frames: number of results that were reused instead of computed.
    """

    def __init__(
        self,
        properties: Pass,
        checkpoint_tiles: TilePlan,
        tiles: TilePlan,
        folder: Path | None,
        load_engine: Callable[..., Engine],
        on_notice: Callable[[str], None],
    ) -> None:
        self.checkpoint_tiles, self.tiles, self.reused_frames = checkpoint_tiles, tiles, 0
        self._pass, self._folder = properties, folder
        self._load_engine, self._on_notice = load_engine, on_notice
        self._engines: list[StreamingEngine] = []  # that streams were opened on
        load_engine()  # a missing device or damaged file is an error before the first frame

    def build_stream(self, *, fp32: bool) -> Stream:
        """Return a stream that does not retry, with the current tiles; in fp32 or the requested precision."""
        engine, tiles = self._load_engine("fp32" if fp32 else None), self.tiles
        if isinstance(engine, StreamingEngine) and engine not in self._engines:
            self._engines.append(engine)
        if tiles.burst > 1:
            tiled: Stream = BurstTiledStream(engine.open, tiles, engine.scale, engine.lookahead, self._folder)
        else:
            tiled = TiledStream(engine.open, tiles, engine.scale)
        resized = ResizingStream(tiled, self._pass.height, self._pass.width, self._pass.visible_share)
        kind, lookahead = self._pass.model.architecture.kind, engine.lookahead + tiles.burst - 1
        return reuse_static_frames(resized, kind, lookahead, self._count_reused)

    def halve_tiles(self, error: OutOfMemoryError) -> None:
        """Halve the side of the tiles until the end of the run; raise ``error`` if they cannot be smaller."""
        before, network = self.tiles, self._pass.model.architecture
        if network.tile_pixels:
            raise error  # smaller ones take as much
        side = max(before.tile_height, before.tile_width)
        try:
            size = before.height, before.width
            smaller = plan_tiles(*size, side // 2, self._pass.overlap, multiple=network.multiple)
        except UsageError:
            raise error from None
        if max(smaller.tile_height, smaller.tile_width) >= side:
            raise error
        self.tiles = replace(smaller, burst=before.burst)
        for engine in self._engines:
            engine.clear_compiled()
        self._on_notice(
            f"not enough memory for tiles of {before.tile_width}x{before.tile_height}: going on with "
            f"{smaller.tile_width}x{smaller.tile_height}"
        )

    def fall_back_to_fp32(self, error: NonFiniteError) -> None:
        """Send a notice that the shot continues in fp32; raise ``error`` if the engine is in fp32 already."""
        precision = self._load_engine().precision
        if precision == "fp32":
            raise error
        self._on_notice(f"the network gave NaN or infinity in {precision}: this shot goes on in fp32")

    def _count_reused(self) -> None:
        self.reused_frames += 1


class RetryingStream(Stream):
    """A stream of one shot that retries, see :class:`~vsrcli.inference.types.Stream`.

    Its state is that of the inner stream, and ``fp32``: whether the shot has fallen back to it.
    """

    def __init__(self, upscaler: PassUpscaler) -> None:
        self._upscaler = upscaler
        self._fp32 = False
        self._tiles = upscaler.tiles
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

    def take_overdue(self) -> np.ndarray | None:
        return self._retry(lambda stream: stream.take_overdue())

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
            state = before.state()
            del stream, before  # they hold the memory of larger tiles
            self._stream = None
            gc.collect()  # a traceback may hold them in a cycle
            stream = self._build_stream(state, self._tiles)

    def _build_stream(self, state: Mapping[str, np.ndarray] | None, tiles: TilePlan) -> Stream:
        """Return a new stream in a state that was saved with ``tiles``; None: at the start of a shot."""
        while True:
            self._tiles = self._upscaler.tiles
            try:
                return self._open_stream(state, tiles)
            except OutOfMemoryError as error:
                self._upscaler.halve_tiles(error)

    def _open_stream(self, state: Mapping[str, np.ndarray] | None, tiles: TilePlan) -> Stream:
        stream = self._upscaler.build_stream(fp32=self._fp32)
        if state is not None:
            retiled = retile_state(state, tiles, self._tiles)
            stream.restore(_to_float32(retiled) if self._fp32 else retiled)
        return stream


def _to_float32(state: State) -> State:
    """Return floating-point arrays in float32; those that are not finite are reset to 0."""
    result = {}
    for name, array in state.items():
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            array = array if np.isfinite(array).all() else np.zeros_like(array)
        result[name] = array
    return result
