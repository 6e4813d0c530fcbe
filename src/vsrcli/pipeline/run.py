"""The path itself: a film's frames through shots, tiles and a network, and back into a film."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vsrcli.images.reader import ImageSequenceDecoder
from vsrcli.inference.types import Engine
from vsrcli.media.decoder import Decoder
from vsrcli.media.resumable_decoder import ResumableDecoder, ResumePoint
from vsrcli.media.stdin import Y4mDecoder, open_input, y4m_stream_of
from vsrcli.media.types import ImageSequence
from vsrcli.pipeline.job import Job, Options, prepare_job
from vsrcli.pipeline.outputs import Output, guard_input, open_output
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.pipeline.upscaler import Upscaler


@dataclass(frozen=True)
class Progress:
    """Told after every frame written, and at the start of a run that goes on with an earlier one.

    Attributes:
        done: frames there.
        total: frames expected, or None if the container does not say.
        seconds: since the first frame was written, so that the start does not look like slow frames.
        shots: shots begun.
        resumed: frames that were there when this run began.
        kept: frames that an interruption would not have cost, when the last one was finished.
    """

    done: int
    total: int | None
    seconds: float
    shots: int
    resumed: int = 0
    saved: int = 0

    @property
    def fps(self) -> float:
        """Frames per second so far."""
        return (self.done - self.resumed - 1) / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left, or None if unknown."""
        return None if self.total is None or not self.fps else max(self.total - self.done, 0) / self.fps


@dataclass(frozen=True)
class Result:
    """A finished film.

    Attributes:
        target: where it lies.
        frames: in it.
        seconds: that this run took, the network's start included.
        shots: found.
        engine: device and precision that it ran on.
        warnings: what was passed over in the source.
        resumed: frames that earlier runs had made.
        repeated: frames that this run did not compute, since nothing that the network looks at had changed.
    """

    target: Path
    frames: int
    seconds: float
    shots: int
    engine: str
    warnings: tuple[str, ...]
    resumed: int = 0
    repeated: int = 0


def upscale(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Result:
    """Upscale one film.

    Args:
        source, target: files, pictures (see :mod:`vsrcli.images.naming`), or ``-`` for stdin and stdout.
        options: see :class:`Options`.
        on_progress: called after every frame.
        on_notice: told where an interrupted film goes on, and what had to be changed on the way.

    Raises:
        VsrError: whatever went wrong, see :mod:`vsrcli.errors`; then there is no file at ``target``. What has
            been finished is kept beside it, and the same call goes on from there.
    """
    with open_input(source, target, on_notice=on_notice) as film:
        return run_job(prepare_job(film, target, options), on_progress=on_progress, on_notice=on_notice)


def run_job(
    job: Job,
    *,
    on_engine: Callable[[str], None] = lambda description: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda text: None,
    load: Callable[..., Engine] | None = None,
) -> Result:
    """Do what :func:`~vsrcli.pipeline.job.prepare_job` decided.

    Args:
        job: from ``prepare``.
        on_engine: told device and precision once the network is loaded, before the first frame.
        on_progress, on_notice: see :func:`upscale`.
        load: see :class:`~vsrcli.pipeline.upscaler.Upscaler`.

    Raises:
        VsrError: see :func:`upscale`.
    """
    began, repeated = time.perf_counter(), 0
    with open_output(job, on_notice) as film:
        tell = _ProgressReporter(job, film, on_progress)
        if not film.complete:
            workshop = Upscaler(job, film.tiles, on_notice, load)
            on_engine(workshop.engine.description)
            film.set_engine(workshop)
            path = ShotUpscaler(workshop.open_stream, film.state)
            with ResumableDecoder(job.source, partial(_open_decoder, job), path.last_input) as frames:
                for group in path.upscale_grouped(guard_input(film, frames)):
                    for frame in group:
                        film.write(frame)
                        tell(path.shots)
                    film.checkpoint_if_due(path, frames.raise_if_damaged)
                film.end_of_frames(path, frames.warnings)
            repeated = workshop.reused_frames
        film.finalize()
    return Result(
        target=job.plan.target,
        frames=film.frame_count,
        seconds=time.perf_counter() - began,
        shots=film.shots,
        engine=film.engine,
        warnings=film.warnings,
        resumed=film.resumed_count,
        repeated=repeated,
    )


def _open_decoder(job: Job, seen: ResumePoint | None) -> Decoder:
    """The frames of the span; or its rest, from one that was seen on."""
    options, source = job.options, job.source
    start, frames = options.start, options.frames
    if seen is not None:
        start = seen.pts * source.video.time_base - source.start
        frames = None if frames is None else frames - seen.frame_count + 1
    wanted: dict[str, Any] = {
        "start": start,
        "end": job.end,
        "max_frames": frames,
        "deinterlace": options.deinterlace,
        "alpha": job.plan.alpha,
        "tolerant": options.keep_going,
        "ffmpeg": job.ffmpeg,
    }
    if isinstance(source, ImageSequence):
        return ImageSequenceDecoder(source, **wanted)
    return Y4mDecoder(source, **wanted) if y4m_stream_of(source) else Decoder(source, **wanted)


class _ProgressReporter:
    """Counts and tells; the first time at once if there are frames already."""

    def __init__(self, job: Job, film: Output, on_progress: Callable[[Progress], None]) -> None:
        self._total, self._film, self._tell = job.expected_frames, film, on_progress
        self._first: float | None = None
        if film.resumed_count:
            on_progress(
                Progress(film.frame_count, self._total, 0.0, film.shots, film.resumed_count, film.saved_count)
            )

    def __call__(self, shots: int) -> None:
        film, now = self._film, time.perf_counter()
        self._first = self._first or now
        seconds = now - self._first
        self._tell(
            Progress(film.frame_count, self._total, seconds, shots, film.resumed_count, film.saved_count)
        )
