"""Benchmark a model on this machine: alone, behind a decoder, and between decoder and encoder.

Time is measured in :mod:`vsrcli.pipeline.run`, with timed parts: decoder, engine and output. One thread there
takes frames from the decoder, hands them to the network, and results to the encoder. So these calls last as
long as it waits for each, and the remaining time is its own work: shots, colours, tiles.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from vsrcli._version import __version__
from vsrcli.bench.peak_memory import PeakMemory
from vsrcli.inference.selection import open_engine
from vsrcli.inference.types import Engine, Stream
from vsrcli.inference.wrappers import StreamWrapper
from vsrcli.media.encoder import FrameWriter
from vsrcli.media.source_reader import SourceReader
from vsrcli.media.types import Frame
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.outputs import DirectOutput, Output, open_output
from vsrcli.pipeline.passes import multiply_adds
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.pipeline.progress import CallbackReporter, Reporter
from vsrcli.pipeline.run import run_job
from vsrcli.pipeline.upscaler import Upscaler

STAGES = ("decode", "network", "encode", "other")


SCHEMA = 2


@dataclass(frozen=True)
class MemoryFigures:
    """Peak resident memory (RSS) in bytes.

    Attributes:
        total: of this process and its children together.
        process: of this process.
        children: of its children (ffmpeg).
    """

    total: int
    process: int
    children: int


@dataclass(frozen=True)
class RunFigures:
    """Figures of one measurement, of its median run.

    Attributes:
        frames: number of frames in a run.
        seconds: for these frames, without the start.
        start_seconds: before the first frame: loading and compiling the network.
        fps: frames per second.
        us_per_pixel: microseconds per low-resolution pixel and frame.
        multiply_adds_per_second: of the network as ``vsr models`` counts them, tiles' overlaps included; 0
            for interpolation.
        shares: of the seconds, by stage: ``decode`` (waiting for frames), ``network``, ``encode`` (waiting
            for the encoder, and for the output to be finalized) and ``other`` (shots, colours, tiles). They
            add up to 1. None for the network alone.
        memory: peak so far: a process seldom returns memory to the system.
    """

    frames: int
    seconds: float
    start_seconds: float
    fps: float
    us_per_pixel: float
    multiply_adds_per_second: float
    shares: dict[str, float] | None
    memory: MemoryFigures


@dataclass(frozen=True)
class BenchReport:
    """Result of a benchmark.

    Attributes:
        model: name of the weights.
        scale: requested; ``native_scale``: the network's.
        width, height: frame size of the source.
        engine: description of the engine: weights, device, precision.
        device: requested.
        precision: of the engine.
        tiles: number of tiles; ``tile``: (width, height) of one; ``burst``: frames that it computes at once.
        encoder: of the encoded runs.
        runs: number of runs of each measurement.
        look: of the network, ``natural`` or ``sharp``, or how much of it; empty for other models.
        strength: share of the network's picture; ``keep_color``: whether colour comes from the source. Both
            take time in ``other`` of the second and third measurement, but not the strength of a sharp look.
        network: the model alone, frames from memory.
        decoded: decoder, shots, colours and network; the output is discarded.
        encoded: from file to file, as ``vsr upscale``.
    """

    model: str
    scale: float
    native_scale: int
    width: int
    height: int
    engine: str
    device: str
    precision: str
    tiles: int
    tile: tuple[int, int]
    burst: int
    encoder: str
    runs: int
    look: str
    strength: float
    keep_color: bool
    network: RunFigures
    decoded: RunFigures
    encoded: RunFigures

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON, with ``schema`` (2) and ``version``."""
        return {"schema": SCHEMA, "version": __version__, **asdict(self)}


def measure(
    source: Path,
    folder: Path,
    options: Options,
    *,
    frames: int,
    runs: int = 1,
    on_step: Callable[[str], None] = lambda text: None,
) -> BenchReport:
    """Benchmark a model on a video.

    Args:
        source: path of the video.
        folder: for temporary outputs.
        options: as for :func:`vsrcli.upscale`; its span is upscaled in the second and third measurement.
        frames: number of frames to measure the model alone with.
        runs: number of runs of each measurement.
        on_step: called with the name of each measurement before it starts.

    Raises:
        VsrError: as ``upscale``.
    """
    job = prepare_job(source, folder / "encoded.mkv", replace(options, resume=False))
    on_step("the model alone")
    upscaler = Upscaler(job, job.tiles, CallbackReporter(on_notice=on_step))
    network = median_run([_measure_network(job, upscaler, frames) for _ in range(runs)])
    engine = upscaler.engine
    del upscaler
    figures = {}
    for encoded in (False, True):
        on_step("from the video to a video" if encoded else "from the video to nowhere")
        measured = []
        for number in range(runs):
            target = folder / f"{'encoded' if encoded else 'discarded'}{number}.mkv"
            timed_job = prepare_job(source, target, replace(options, resume=False))
            measured.append(_measure_pipeline(timed_job, encoded=encoded))
            target.unlink(missing_ok=True)
        figures[encoded] = median_run(measured)
    tiles, video = job.passes[0].tiles, job.source.video
    return BenchReport(
        model=job.model.name,
        scale=float(options.scale),
        native_scale=job.model.scale,
        width=video.width,
        height=video.height,
        engine=engine.description,
        device=options.device,
        precision=engine.precision,
        tiles=len(tiles),
        tile=(tiles.tile_width, tiles.tile_height),
        burst=tiles.burst,
        encoder=job.plan.codec,
        runs=runs,
        look=job.look,
        strength=options.strength,
        keep_color=job.keep_color,
        network=network,
        decoded=figures[False],
        encoded=figures[True],
    )


def median_run(runs: list[RunFigures]) -> RunFigures:
    """Return the run of median speed (of two, the slower), with the largest memory of all runs."""
    middle = statistics.median_low([each.fps for each in runs])
    largest = max((each.memory for each in runs), key=lambda memory: memory.total)
    return replace(next(each for each in runs if each.fps == middle), memory=largest)


def _measure_network(job: Job, upscaler: Upscaler, frames: int) -> RunFigures:
    """Measure a stream as a video has it, tiles included, once its window is full."""
    video = job.source.video
    rng = np.random.default_rng(0)
    pool = rng.random((8, video.height, video.width, 3), np.float32)  # consecutive frames differ
    started = time.perf_counter()
    with PeakMemory() as peak:
        stream = upscaler.passes[0].build_stream(fp32=False)
        start_seconds = time.perf_counter() - started
        number = 0
        while stream.push(pool[number % len(pool)]) is None:
            number += 1
        done, started = 0, time.perf_counter()
        while done < frames:
            number += 1
            done += stream.push(pool[number % len(pool)]) is not None
        seconds = time.perf_counter() - started
    return _figures(job, frames, seconds, start_seconds, None, peak)


def _measure_pipeline(job: Job, *, encoded: bool) -> RunFigures:
    """Measure a run of the pipeline."""
    clock = StageClock()

    def load_engine(*arguments: Any, **options: Any) -> Engine:
        with clock("start"):
            return cast(Engine, TimedEngine(open_engine(*arguments, **options), clock))

    def open_timed_output(job: Job, reporter: Reporter) -> Any:
        if not encoded:
            return DirectOutput(job, FrameWriter())
        return TimedOutput(open_output(job, reporter), clock)

    job = replace(job, reader=cast(SourceReader, TimedReader(job.reader, clock)))
    with PeakMemory() as peak:
        result = run_job(job, load_engine=load_engine, open_output=open_timed_output)
    start = clock.seconds["start"]
    return _figures(job, result.frames, result.seconds - start, start, clock.shares(result.seconds), peak)


def _figures(
    job: Job, frames: int, seconds: float, start: float, shares: dict[str, float] | None, peak: PeakMemory
) -> RunFigures:
    video = job.source.video
    pixels = frames * video.width * video.height
    macs = multiply_adds(job.models) * pixels * job.passes[0].tiles.overhead_factor
    return RunFigures(
        frames=frames,
        seconds=seconds,
        start_seconds=start,
        fps=frames / seconds,
        us_per_pixel=seconds * 1e6 / pixels,
        multiply_adds_per_second=macs / seconds,
        shares=shares,
        memory=MemoryFigures(peak.total, peak.process, peak.children),
    )


class StageClock:
    """Measures seconds by stage: waits for ``decode``, ``network``, ``encode``; ``start`` of the network."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def shares(self, seconds: float) -> dict[str, float]:
        """Return the shares of ``STAGES`` in a run of ``seconds``, without its start; they add up to 1.

        Waiting for the decoder may overlap with the start; then stages together take more than the rest of
        the run, and their sum counts as the run.
        """
        stages = {stage: self.seconds[stage] for stage in STAGES[:-1]}
        working = max(seconds - self.seconds["start"], sum(stages.values()), 1e-9)
        shares = {stage: taken / working for stage, taken in stages.items()}
        return {**shares, "other": max(1 - sum(shares.values()), 0.0)}


class TimedEngine:
    """An engine whose streams are timed; compiling counts as ``start``."""

    def __init__(self, engine: Engine, clock: StageClock) -> None:
        self._engine, self._clock = engine, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, height: int, width: int) -> Stream:
        with self._clock("start"):
            return TimedStream(self._engine.open(height, width), self._clock)


class TimedStream(StreamWrapper):
    """A timed stream."""

    def __init__(self, stream: Stream, clock: StageClock) -> None:
        super().__init__(stream)
        self._clock = clock

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        with self._clock("network"):
            return super().push(frame)

    def flush(self) -> list[np.ndarray]:
        with self._clock("network"):
            return super().flush()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        with self._clock("network"):
            super().restore(state)


class TimedReader:
    """A reader of a source whose decoders are timed, see :class:`~vsrcli.media.types.SourceReader`."""

    def __init__(self, reader: SourceReader, clock: StageClock) -> None:
        self._reader, self._clock = reader, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def open_decoder(self, **options: Any) -> TimedDecoder:
        return TimedDecoder(self._reader.open_decoder(**options), self._clock)


class TimedDecoder:
    """Yields the frames of a decoder; the wait for each is timed."""

    def __init__(self, decoder: Any, clock: StageClock) -> None:
        self._decoder, self._clock = decoder, clock

    def __enter__(self) -> Self:
        self._decoder.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._decoder.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._decoder)
        while True:
            with self._clock("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


class TimedOutput:
    """A timed output, see :class:`~vsrcli.pipeline.outputs.Output`."""

    _TIMED = ("write", "checkpoint_if_due", "end_of_frames", "finalize")

    def __init__(self, output: Output, clock: StageClock) -> None:
        self._output, self._clock = output, clock

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._output.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._output, name)
        if name not in self._TIMED:
            return attribute

        def timed(*arguments: Any) -> Any:
            with self._clock("encode"):
                return attribute(*arguments)

        return timed
