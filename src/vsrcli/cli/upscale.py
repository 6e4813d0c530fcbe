"""``vsr upscale``: one film in, one film out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.console import SourcePath, TargetPath
from vsrcli.cli.messages import MESSAGES, progress_options
from vsrcli.cli.options import ARGUMENTS, LOG, from_command_line, log_option, quiet_option, verbose_option
from vsrcli.cli.summary import ResumeHint
from vsrcli.cli.upscale_options import build_options, film_options
from vsrcli.errors import SignalInterruptError, VsrError
from vsrcli.media.containers import FORMATS
from vsrcli.media.stdin import StdinInput
from vsrcli.media.stdout import require_stdout_pipe
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.job import prepare_job
from vsrcli.system.signals import catch_signals, exit_immediately

if TYPE_CHECKING:
    from vsrcli.pipeline.run import Progress


@click.command(
    epilog="Example: vsr upscale in.mp4 out.mkv --scale 4 --codec libx265 --crf 20 -e tune=grain\n\n"
    "Names that begin with a dash stand behind --: vsr upscale -s 2 -- -in.mp4 out.mp4\n\n"
    "Pictures: vsr upscale 'frames/%05d.png' out/\n\n"
    "One picture: vsr upscale photo.jpg photo_x4.png\n\n"
    "In a pipe: ffmpeg -i in.mkv -f yuv4mpegpipe - | vsr upscale - - | ffmpeg -i - out.mp4"
)
@click.argument("source", metavar="IN", type=SourcePath())
@click.argument("target", metavar="OUT", type=TargetPath())
@film_options
@click.option(
    "--format",
    type=click.Choice(list(FORMATS)),
    help=f"What goes to stdout; default: {next(iter(FORMATS))}.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and write nothing.")
@progress_options
@log_option
@quiet_option
@verbose_option
def upscale(
    source: Path, target: Path, dry_run: bool, progress: str, quiet: bool, verbose: int, **given: Any
) -> None:
    """Upscale one film, or pictures.

    Every frame keeps its time; sound, subtitles, chapters, metadata and colours go along. OUT appears when
    it is complete; its extension chooses the container. A run that was interrupted is continued by the same
    command. A dash is stdin or stdout: YUV4MPEG2, or with --format another container, frame by frame.
    Pictures are named by a pattern (frames/%05d.png, 'frames/*.png'), a folder or a file.
    """
    context = click.get_current_context()
    if target != STDIO and not from_command_line(context, "format"):
        given["format"] = None  # a settings file means it for stdout
    options = build_options(**given)
    from vsrcli.cli import summary
    from vsrcli.cli.progress import stderr_console
    from vsrcli.cli.reporters import make_reporter

    meta = context.meta
    chatty = verbose > 0 and not quiet
    teller = make_reporter(
        stderr_console(), progress, meta.get(MESSAGES), log=LOG in meta, quiet=quiet, chatty=chatty
    )
    standing = ResumeHint(target, meta.get(ARGUMENTS, ()))
    if target == STDIO and not dry_run:
        require_stdout_pipe()

    def at_once(signum: int) -> None:
        stdin.cleanup()
        exit_immediately(signum)

    stdin = StdinInput(target, peek=dry_run, on_notice=teller.notice)
    try:
        with catch_signals(leave=at_once) as received, summary.echo_commands(chatty), stdin:
            job = prepare_job(stdin if source == STDIO else source, target, options)
            if dry_run:
                return teller.plan(job)
            teller.begin(job)
            from vsrcli.pipeline.run import run_job

            def on_progress(now: Progress) -> None:
                received.raise_if_cancelled()
                standing.update(now)
                teller.progress(now)

            with teller:
                result = run_job(
                    job, on_engine=teller.engine, on_progress=on_progress, on_notice=teller.notice
                )
            teller.done(result)
    except SignalInterruptError as stop:
        raise SignalInterruptError(standing.after_signal(stop.saved_frames), signum=stop.signum) from stop
    except VsrError as error:
        error.details = "\n".join(filter(None, (error.details, standing.after_error(error.saved_frames))))
        raise
