"""The path itself: a film's frames through shots, tiles and a network, and back into a film."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vsrcli.engine.select import open_engine
from vsrcli.engine.types import Stream
from vsrcli.frames.fit import FittedStream
from vsrcli.frames.matte import underpainted, upscaled_alpha
from vsrcli.frames.pixels import to_codes, to_float
from vsrcli.frames.shots import ShotDetector
from vsrcli.frames.tiles import TiledStream
from vsrcli.job import Job, Options, prepare
from vsrcli.media.decode import Decoder
from vsrcli.media.encode import Encoder
from vsrcli.media.types import Frame


@dataclass(frozen=True)
class Progress:
    """Told after every frame written.

    Attributes:
        done: frames written.
        total: frames expected, or None if the container does not say.
        seconds: since the first frame was written, so that the start does not look like slow frames.
        shots: shots begun.
    """

    done: int
    total: int | None
    seconds: float
    shots: int

    @property
    def fps(self) -> float:
        """Frames per second so far."""
        return (self.done - 1) / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left, or None if unknown."""
        return None if self.total is None or not self.fps else max(self.total - self.done, 0) / self.fps


@dataclass(frozen=True)
class Result:
    """A finished film.

    Attributes:
        target: where it lies.
        frames: written.
        seconds: that it took, the network's start included.
        shots: found.
        engine: device and precision that it ran on.
        warnings: what was passed over or replaced in the source.
    """

    target: Path
    frames: int
    seconds: float
    shots: int
    engine: str
    warnings: tuple[str, ...]


def upscale(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Upscale one film.

    Args:
        source, target: files.
        options: see :class:`Options`.
        on_progress: called after every frame.

    Raises:
        VsrError: whatever went wrong, see :mod:`vsrcli.errors`; then there is no file at ``target``.
    """
    return run(prepare(source, target, options), on_progress=on_progress)


def run(
    job: Job,
    *,
    on_engine: Callable[[str], None] = lambda description: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Do what :func:`~vsrcli.job.prepare` decided.

    Args:
        job: from ``prepare``.
        on_engine: told device and precision once the network is loaded, before the first frame.
        on_progress: called after every frame.

    Raises:
        VsrError: see :func:`upscale`.
    """
    began, options, plan = time.perf_counter(), job.options, job.plan
    engine = open_engine(job.model, device=options.device, precision=options.precision)
    on_engine(engine.description)

    def open_stream() -> Stream:
        return FittedStream(TiledStream(engine.open, job.tiles, engine.scale), plan.height, plan.width)

    decoder = Decoder(
        job.source,
        start=options.start,
        end=job.end,
        frames=options.frames,
        deinterlace=options.deinterlace,
        alpha=plan.alpha,
        tolerant=options.keep_going,
        ffmpeg=job.ffmpeg,
    )
    path = ShotByShot(open_stream)
    with decoder, Encoder(plan, job.source, ffmpeg=job.ffmpeg) as encoder:
        first = None
        for frame in path.upscaled(decoder):
            encoder.write(frame)
            first = first or time.perf_counter()
            on_progress(Progress(encoder.count, job.expected_frames, time.perf_counter() - first, path.shots))
    seconds = time.perf_counter() - began
    warnings = (*decoder.warnings, *encoder.warnings)
    return Result(plan.target, encoder.count, seconds, path.shots, engine.description, warnings)


class ShotByShot:
    """Frames through streams, a fresh one for every shot, so that no window mixes two; alpha goes beside.

    Args:
        open_stream: makes the stream of a shot.

    Attributes:
        shots: begun so far.
    """

    def __init__(self, open_stream: Callable[[], Stream]) -> None:
        self.shots = 0
        self._open = open_stream
        self._waiting: deque[Frame] = deque()  # pushed, not answered yet; without their colours

    def upscaled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """As many frames as come in, in order and at their own times, in the number format they came in."""
        detector, stream = ShotDetector(), None
        for frame in frames:
            pixels = frame.pixels if frame.alpha is None else underpainted(frame.pixels, frame.alpha)
            if detector.is_cut(pixels) and stream:
                yield from self._answered(stream.flush())
                stream = None
            if stream is None:
                stream, self.shots = self._open(), self.shots + 1
            self._waiting.append(replace(frame, pixels=pixels[:0].copy()))
            result = stream.push(to_float(pixels))
            if result is not None:
                yield from self._answered([result])
        if stream:
            yield from self._answered(stream.flush())

    def _answered(self, results: Iterable[np.ndarray]) -> Iterator[Frame]:
        for result in results:
            asked = self._waiting.popleft()
            alpha = None if asked.alpha is None else upscaled_alpha(asked.alpha, *result.shape[:2])
            yield replace(asked, pixels=to_codes(result, asked.pixels.dtype), alpha=alpha)
