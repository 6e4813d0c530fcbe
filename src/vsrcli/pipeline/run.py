"""Run a job: decode, upscale shot by shot, encode."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from vsrcli.inference.types import Engine
from vsrcli.media.stdin import open_input
from vsrcli.pipeline.job import Job, Options, prepare_job
from vsrcli.pipeline.outputs import Output, guard_input, open_output
from vsrcli.pipeline.progress import CallbackReporter, Progress, Reporter, Result
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.signals import CancelToken, current_token


def upscale(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
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
    reporter = CallbackReporter(on_progress, on_notice)
    with open_input(source, target, on_notice=reporter.notice) as opened:
        return run_job(prepare_job(opened, target, options), reporter)


def run_job(
    job: Job,
    reporter: Reporter | None = None,
    cancel: CancelToken | None = None,
    *,
    load_engine: Callable[..., Engine] | None = None,
    open_output: Callable[[Job, Reporter], Output] = open_output,
) -> Result:
    """Run a job of :func:`~vsrcli.pipeline.job.prepare_job`.

    Args:
        job: what to run.
        reporter: receives everything that happens; None: nobody does.
        cancel: asked before every frame; None: the token of the running command.
        load_engine: see :class:`~vsrcli.pipeline.upscaler.Upscaler`.
        open_output: opens the output.

    Raises:
        SignalInterruptError: ``cancel`` is set. Committed segments stay, see :func:`upscale`.
        VsrError: see :func:`upscale`.
    """
    reporter, cancel = reporter or Reporter(), cancel or current_token()
    started, reused_frames = time.perf_counter(), 0
    reporter.start(job)
    with reporter, open_output(job, reporter) as output:
        meter = ProgressMeter(job, output)
        if output.resumed_count:
            reporter.progress(meter.at_start())
        if not output.complete:
            upscaler = Upscaler(job, output.tiles, reporter, load_engine)
            reporter.engine(upscaler.engine.description)
            output.set_engine(upscaler)
            shots = ShotUpscaler(upscaler.open_stream, output.state)
            with job.open_decoder(shots.last_input) as frames:
                for group in shots.upscale_grouped(guard_input(output, frames)):
                    for frame in group:
                        cancel.raise_if_cancelled()
                        output.write(frame)
                        reporter.progress(meter.after_frame(shots.count))
                    output.checkpoint_if_due(shots, frames.raise_if_damaged)
                output.end_of_frames(shots, frames.warnings)
            reused_frames = upscaler.reused_frames
        output.finalize()
    result = Result(
        target=job.plan.target,
        frames=output.frame_count,
        seconds=time.perf_counter() - started,
        shots=output.shot_count,
        engine=output.engine,
        warnings=output.warnings,
        resumed=output.resumed_count,
        reused_frames=reused_frames,
    )
    reporter.done(result)
    return result


class ProgressMeter:
    """Counts frames and seconds of a run."""

    def __init__(self, job: Job, output: Output) -> None:
        self._total, self._output = job.expected_frames, output
        self._first_time: float | None = None

    def at_start(self) -> Progress:
        """Return the progress of earlier runs."""
        return self._progress(0.0, self._output.shot_count)

    def after_frame(self, shot_count: int) -> Progress:
        """Return the progress after a frame of this run."""
        now = time.perf_counter()
        self._first_time = self._first_time or now
        return self._progress(now - self._first_time, shot_count)

    def _progress(self, seconds: float, shot_count: int) -> Progress:
        output = self._output
        return Progress(
            output.frame_count, self._total, seconds, shot_count, output.resumed_count, output.saved_count
        )
