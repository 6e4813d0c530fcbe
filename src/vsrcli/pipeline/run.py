"""Run a job: decode, upscale shot by shot, encode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vsrcli.inference.types import Engine
from vsrcli.media.stdin import open_input
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.outputs import Output, open_output
from vsrcli.pipeline.pieces import run_pieces
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.pipeline.progress import CallbackReporter, Progress, Reporter, Result
from vsrcli.pipeline.run_meter import RunMeter
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.signals import CancelToken, current_token


def upscale(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    cancel: CancelToken | None = None,
) -> Result:
    """Upscale one video or image sequence; resume an interrupted run.

    Args:
        source, target: videos, image sequences (see :mod:`vsrcli.images.naming`), or ``-`` for stdin and
            stdout.
        options: see :class:`~vsrcli.pipeline.options.Options`.
        on_progress: called after every frame.
        on_notice: called with a line of text, for example where the run resumes.
        cancel: asked before every frame; ``cancel.cancel()``, in any thread, stops the run.

    Raises:
        SignalInterruptError: the run was stopped.
        VsrError: see :mod:`vsrcli.errors`. There is no file at ``target`` then; finished segments stay in a
            hidden folder next to it, and the same call resumes after them.
    """
    reporter = CallbackReporter(on_progress, on_notice)
    with open_input(source, target, on_notice=reporter.notice) as opened:
        return run_job(prepare_job(opened, target, options), reporter, cancel)


def run_job(
    job: Job,
    reporter: Reporter | None = None,
    cancel: CancelToken | None = None,
    *,
    load_engine: Callable[..., Engine] | None = None,
    open_output: Callable[[Job, Reporter], Output] = open_output,
) -> Result:
    """Run a job of :func:`~vsrcli.pipeline.preparation.prepare_job`.

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
    reporter.start(job)
    if job.options.segment == "shots" and job.segmented:
        return run_pieces(job, reporter, cancel, load_engine)
    with reporter, open_output(job, reporter) as output:
        meter = RunMeter(job, output, reporter)
        if not output.journal.complete:
            upscaler = Upscaler(job, output.journal.tiles, reporter, load_engine)
            reporter.engine(upscaler.engine.description)
            output.set_engine(upscaler)
            shots = upscaler.open_shots(output.state)
            output.state = None  # may take as much memory as the network; `shots` has what it needs
            with job.open_decoder(shots.last_input) as frames:
                for group in shots.upscale_grouped(output.guard_input(frames)):
                    for frame in group:
                        cancel.raise_if_cancelled()
                        output.write(frame)
                        meter.report(shots.count)
                    output.checkpoint_if_due(shots, frames.raise_if_damaged)
                output.end_of_frames(shots, frames.warnings)
            meter.reused_frames = upscaler.reused_frames + upscaler.repeat_count
        output.finalize()
    result = meter.result()
    reporter.done(result)
    return result
