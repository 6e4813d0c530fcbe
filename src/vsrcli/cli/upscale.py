"""``vsr upscale``: upscale one video, image sequence or image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vsrcli.cli.cluster_options import WorkerRequest, cluster_options, request_workers
from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import MESSAGES, JsonMessages, progress_options
from vsrcli.cli.options import ARGUMENTS, LOG, check_applicable, log_option, quiet_option, verbose_option
from vsrcli.cli.summary import ResumeHint
from vsrcli.cli.types import SourcePath, TargetPath
from vsrcli.cli.upscale_options import upscale_options
from vsrcli.cli.upscale_values import build_options
from vsrcli.errors import SignalInterruptError, VsrError
from vsrcli.media.containers import STDOUT_CONTAINERS
from vsrcli.media.stdin import StdinInput
from vsrcli.media.stdout import require_stdout_pipe
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.pipeline.progress import CompositeReporter
from vsrcli.pipeline.run import run_job
from vsrcli.system.signals import catch_signals


@click.command(
    cls=Command,
    epilog="Example: vsr upscale in.mp4 out.mkv --scale 2 --codec hevc --crf 20\n\n"
    "An image sequence: vsr upscale 'frames/%05d.png' out/\n\n"
    "An image: vsr upscale photo.jpg photo_x4.png\n\n"
    "In a pipe: ffmpeg -i in.mkv -f yuv4mpegpipe - | vsr upscale - - | ffmpeg -i - out.mp4\n\n"
    "File names that begin with a dash, after --: vsr upscale -s 2 -- -in.mp4 out.mp4",
)
@click.argument("source", metavar="IN", type=SourcePath())
@click.argument("target", metavar="OUT", type=TargetPath())
@upscale_options
@option("-y", "--overwrite", "Replace OUT if it exists.", is_flag=True, group="Output")
@option("-n", "--dry-run", "Show the plan and write nothing.", is_flag=True, group="Output")
@option(
    "--format",
    f"Write this format to stdout: {', '.join(STDOUT_CONTAINERS)}.  "
    f"[default: {next(iter(STDOUT_CONTAINERS))}]",
    type=click.Choice(list(STDOUT_CONTAINERS)),
    metavar="NAME",
    group="Output",
)
@cluster_options
@progress_options
@log_option
@quiet_option
@verbose_option
def upscale(
    source: Path,
    target: Path,
    dry_run: bool,
    workers: int | None,
    cluster: str | None,
    strict: bool,
    progress: str,
    quiet: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Upscale a video, an image sequence or an image.

    IN is a video, an image, a folder of images or a pattern (frames/%05d.png, 'frames/*.png'), or - for
    stdin. OUT is the file or folder to write, or - for stdout; its extension chooses the format. It appears
    when it is complete.

    Every frame keeps its time; sound, subtitles, chapters, metadata and colours are preserved, too. Run the
    same command again to resume an interrupted run.
    """
    context = click.get_current_context()
    check_applicable(context, values, "stdout" if target == STDIO else "file")
    request, options, _ = request_workers(
        context, build_options(**values), WorkerRequest(workers, cluster, strict)
    )
    if request and source == STDIO:
        request = request.without_workers("stdin can be read only once; save the video to a file first")
    from vsrcli.cli import summary
    from vsrcli.cli.progress import stderr_console
    from vsrcli.cli.reporters import make_reporter

    meta = context.meta
    messages: JsonMessages | None = meta.get(MESSAGES)
    is_verbose = verbose > 0 and not quiet
    reporter = make_reporter(
        stderr_console(), progress, messages, log=LOG in meta, quiet=quiet, verbose=is_verbose
    )
    resume_hint = ResumeHint(target, meta.get(ARGUMENTS, ()))
    if target == STDIO and not dry_run:
        require_stdout_pipe()
    stdin = StdinInput(target, probe_only=dry_run, on_notice=reporter.notice)
    try:
        with (
            catch_signals(
                resume_hint=resume_hint.after_forced_exit, report_stop=messages and messages.report_stop
            ) as cancel,
            summary.echo_commands(is_verbose and not (messages and messages.uses_stderr)),
            stdin,
        ):
            opened = stdin if source == STDIO else source
            job = prepare_job(opened, target, request.options(options))
            if request:
                from vsrcli.cluster.video import has_pieces, reason_without_pieces

                if not has_pieces(job):
                    request = request.without_workers(reason_without_pieces(job))
                    job = prepare_job(opened, target, request.options(options))
            for text in request.notices:
                reporter.notice(text)
            if request:
                job = request.share_memory(
                    job, lambda shared: prepare_job(opened, target, shared), reporter.notice
                )
            if dry_run:
                return reporter.plan(job)
            from vsrcli.cluster.run import run_on_workers

            both = CompositeReporter(resume_hint, reporter)
            if request:
                run_on_workers(job, request.workers(job), both, cancel, strict=strict)
            else:
                run_job(job, both, cancel)
    except SignalInterruptError as error:
        message = resume_hint.after_signal(error.saved_frames)
        raise SignalInterruptError(message, signum=error.signum) from error
    except VsrError as error:
        error.details = "\n".join(filter(None, (error.details, resume_hint.after_error(error))))
        raise
