"""Run a job: decode, upscale shot by shot, encode."""

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
    """Progress of a run; reported after every frame written, and at the start of a resumed run.

    Attributes:
        done: frames written, those of earlier runs included.
        total: frames expected; None if the container does not state it.
        seconds: since the first frame of this run was written, so that the start of the network does not
            count as a slow frame.
        shots: shots begun.
        resumed: frames of earlier runs.
        saved: frames in committed segments, which an interruption does not cost.
    """

    done: int
    total: int | None
    seconds: float
    shots: int
    resumed: int = 0
    saved: int = 0

    @property
    def fps(self) -> float:
        """Frames per second of this run, without its first frame; 0 before there are two."""
        return (self.done - self.resumed - 1) / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Remaining seconds; None if unknown."""
        return None if self.total is None or not self.fps else max(self.total - self.done, 0) / self.fps


@dataclass(frozen=True)
class Result:
    """Result of a finished run.

    Attributes:
        target: path of the output.
        frames: number of frames in it.
        seconds: duration of this run, start of the network included.
        shots: number of shots.
        engine: device and precision, for people.
        warnings: what was skipped or replaced in the source.
        resumed: frames of earlier runs.
        reused_frames: frames whose result was reused, since no pixel within the network's window had changed.
    """

    target: Path
    frames: int
    seconds: float
    shots: int
    engine: str
    warnings: tuple[str, ...]
    resumed: int = 0
    reused_frames: int = 0


def upscale(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Result:
    """Upscale one video or image sequence; resume an interrupted run.

    Args:
        source, target: videos, image sequences (see :mod:`vsrcli.images.naming`), or ``-`` for stdin and
            stdout.
        options: see :class:`~vsrcli.pipeline.options.Options`.
        on_progress: called after every frame.
        on_notice: called with a line of text, for example where the run resumes.

    Raises:
        VsrError: see :mod:`vsrcli.errors`. There is no file at ``target`` then; finished segments stay in a
            hidden folder next to it, and the same call resumes after them.
    """
    with open_input(source, target, on_notice=on_notice) as opened:
        return run_job(prepare_job(opened, target, options), on_progress=on_progress, on_notice=on_notice)


def run_job(
    job: Job,
    *,
    on_engine: Callable[[str], None] = lambda description: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda text: None,
    load_engine: Callable[..., Engine] | None = None,
) -> Result:
    """Run a job of :func:`~vsrcli.pipeline.job.prepare_job`.

    Args:
        job: what to run.
        on_engine: called with device and precision once the network is loaded, before the first frame.
        on_progress, on_notice: see :func:`upscale`.
        load_engine: see :class:`~vsrcli.pipeline.upscaler.Upscaler`.

    Raises:
        VsrError: see :func:`upscale`.
    """
    started, reused_frames = time.perf_counter(), 0
    with open_output(job, on_notice) as output:
        report_progress = _ProgressReporter(job, output, on_progress)
        if not output.complete:
            upscaler = Upscaler(job, output.tiles, on_notice, load_engine)
            on_engine(upscaler.engine.description)
            output.set_engine(upscaler)
            shots = ShotUpscaler(upscaler.open_stream, output.state)
            with ResumableDecoder(job.source, partial(_open_decoder, job), shots.last_input) as frames:
                for group in shots.upscale_grouped(guard_input(output, frames)):
                    for frame in group:
                        output.write(frame)
                        report_progress(shots.count)
                    output.checkpoint_if_due(shots, frames.raise_if_damaged)
                output.end_of_frames(shots, frames.warnings)
            reused_frames = upscaler.reused_frames
        output.finalize()
    return Result(
        target=job.plan.target,
        frames=output.frame_count,
        seconds=time.perf_counter() - started,
        shots=output.shot_count,
        engine=output.engine,
        warnings=output.warnings,
        resumed=output.resumed_count,
        reused_frames=reused_frames,
    )


def _open_decoder(job: Job, resume_point: ResumePoint | None) -> Decoder:
    """Open a decoder of the job's span, or of its part from ``resume_point`` on, that frame included."""
    options, source = job.options, job.source
    start, frames = options.start, options.frames
    if resume_point is not None:
        start = resume_point.pts * source.video.time_base - source.start
        frames = None if frames is None else frames - resume_point.frame_count + 1
    arguments: dict[str, Any] = {
        "start": start,
        "end": job.end,
        "max_frames": frames,
        "deinterlace": options.deinterlace,
        "alpha": job.plan.alpha,
        "tolerant": options.keep_going,
        "ffmpeg": job.ffmpeg,
    }
    if isinstance(source, ImageSequence):
        return ImageSequenceDecoder(source, **arguments)
    return Y4mDecoder(source, **arguments) if y4m_stream_of(source) else Decoder(source, **arguments)


class _ProgressReporter:
    """Calls ``on_progress`` after every frame, and once at the start if the run is resumed."""

    def __init__(self, job: Job, output: Output, on_progress: Callable[[Progress], None]) -> None:
        self._total, self._output, self._on_progress = job.expected_frames, output, on_progress
        self._first_time: float | None = None
        if output.resumed_count:
            on_progress(self._progress(0.0, output.shot_count))

    def __call__(self, shot_count: int) -> None:
        now = time.perf_counter()
        self._first_time = self._first_time or now
        self._on_progress(self._progress(now - self._first_time, shot_count))

    def _progress(self, seconds: float, shot_count: int) -> Progress:
        output = self._output
        return Progress(
            output.frame_count, self._total, seconds, shot_count, output.resumed_count, output.saved_count
        )
