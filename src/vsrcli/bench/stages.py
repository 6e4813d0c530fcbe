"""Where the time of a film goes: the path of :mod:`vsrcli.pipeline.run`, watched from outside.

The path asks for frames, hands them to the network, and hands results to an encoder, all in one thread. So
the time between asking and getting is what it waits, and what is left is its own work: shots, colours, tiles.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Self, cast
from unittest import mock

import numpy as np

from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan
from vsrcli.inference.types import Engine, Stream
from vsrcli.media.resumable_decoder import ResumableDecoder
from vsrcli.pipeline import run
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.upscaler import Upscaler

STAGES = ("decode", "network", "encode", "other")


class Clock:
    """Seconds by stage: ``decode``, ``network`` and ``encode`` as waited for; ``start`` of the network."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began

    def shares(self, seconds: float) -> dict[str, float]:
        """Of a film that took so long, the start apart: parts of 1 by the names in ``STAGES``."""
        working = max(seconds - self.seconds["start"], 1e-9)
        shares = {stage: self.seconds[stage] / working for stage in STAGES[:-1]}
        return {**shares, "other": max(1 - sum(shares.values()), 0.0)}


class NullOutput:
    """A film that nobody keeps, see :class:`~vsrcli.pipeline.outputs.Output`."""

    def __init__(self, job: Job) -> None:
        self.frame_count = self.saved_count = self.resumed_count = self.shots = 0
        self.tiles: TilePlan = job.tiles
        self.state: State | None = None
        self.complete = False
        self.engine = ""
        self.warnings: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def set_engine(self, workshop: Upscaler) -> None:
        self.engine = workshop.engine.description

    def write(self, frame: object) -> None:
        self.frame_count += 1

    def checkpoint_if_due(self, path: object, check: Callable[[], None]) -> None:
        pass

    def end_of_frames(self, path: Any, warnings: tuple[str, ...]) -> None:
        self.shots, self.warnings = path.shots, warnings

    def finalize(self) -> None:
        self.complete = True


@contextlib.contextmanager
def watched(*, encoded: bool) -> Iterator[Clock]:
    """In the block, ``pipeline.run`` tells a clock what it waits for.

    Args:
        encoded: False: frames are made and thrown away.
    """
    clock, open_film = Clock(), run.open_output

    class TimedFrames(ResumableDecoder):
        def __iter__(self) -> Iterator[Any]:
            frames = super().__iter__()
            while True:
                with clock("decode"):
                    frame = next(frames, None)
                if frame is None:
                    return
                yield frame

    class TimedWorkshop(Upscaler):
        def __init__(self, *arguments: Any) -> None:
            with clock("start"):
                super().__init__(*arguments)
            self.engine = cast(Engine, ClockedEngine(self.engine, clock))

    def timed_film(job: Job, on_notice: Callable[[str], None]) -> Any:
        return TimedOutput(open_film(job, on_notice), clock) if encoded else NullOutput(job)

    with mock.patch.multiple(run, open_film=timed_film, Workshop=TimedWorkshop, Onward=TimedFrames):
        yield clock


class ClockedEngine:
    """An engine whose streams are timed; compiling counts as ``start``."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, height: int, width: int) -> Stream:
        with self._clock("start"):
            return ClockedStream(self._engine.open(height, width), self._clock)


class ClockedStream:
    """A stream that is timed, see :class:`~vsrcli.inference.types.Stream`."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self._stream, self._clock = stream, clock

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        with self._clock("network"):
            return self._stream.push(frame)

    def flush(self) -> list[np.ndarray]:
        with self._clock("network"):
            return self._stream.flush()

    def fork(self) -> ClockedStream:
        return ClockedStream(self._stream.fork(), self._clock)

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Any) -> None:
        with self._clock("network"):
            self._stream.restore(state)


class TimedOutput:
    """A film that is timed, see :class:`~vsrcli.pipeline.outputs.Output`."""

    _TIMED = ("write", "rest", "over", "finish")

    def __init__(self, film: Any, clock: Clock) -> None:
        self._film, self._clock = film, clock

    def __enter__(self) -> Self:
        self._film.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._film.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._film, name)
        if name not in self._TIMED:
            return found

        def timed(*arguments: Any) -> Any:
            with self._clock("encode"):
                return found(*arguments)

        return timed
