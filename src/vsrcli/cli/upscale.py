"""``vsr upscale``: one film in, one film out."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.options import ARGUMENTS, engine_options, memory_options, quiet_option, verbose_option
from vsrcli.cli.signals import interruptible
from vsrcli.cli.standing import Standing
from vsrcli.cli.values import Scale, Segment, Setting, Time
from vsrcli.errors import Interrupted, VsrError
from vsrcli.job import Job, Options, prepare
from vsrcli.media.plan import EncodeOptions

if TYPE_CHECKING:
    from vsrcli.pipeline import Progress

_DEFAULT = Options()


@click.command(
    epilog="Example: vsr upscale in.mp4 out.mkv --scale 4 --codec libx265 --crf 20 -e tune=grain\n\n"
    "Names that begin with a dash stand behind --: vsr upscale -s 2 -- -in.mp4 out.mp4"
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "-s", "--scale", type=Scale(), default=str(_DEFAULT.scale), show_default=True, help="Factor, 1 to 4."
)
@click.option(
    "-m",
    "--model",
    default=_DEFAULT.model,
    show_default=True,
    help="See `vsr models`, or a .weights.h5 file.",
)
@memory_options
@click.option(
    "--overlap",
    "--tile-pad",
    type=click.IntRange(min=0),
    metavar="N",
    help="Context of a tile in source pixels; default: all that the network sees, so tiles do not show.",
)
@engine_options
@click.option("--codec", help="h264, hevc, av1, vp9, or any encoder of ffmpeg; default: what suits OUT.")
@click.option(
    "--crf", type=click.FloatRange(min=0), help="Constant quality on the encoder's scale; lower is better."
)
@click.option("--preset", help="The encoder's speed preset.")
@click.option("--pix-fmt", help="Pixel format of OUT; default: the depth and chroma of IN.")
@click.option(
    "-e", "--encoder-option", "extra", type=Setting(), multiple=True, help="Handed to ffmpeg as it is."
)
@click.option("--start", type=Time(), help="Begin here: 12.5, 1:02 or 0:01:02.5.")
@click.option("--end", type=Time(), help="Stop before this time.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames.")
@click.option(
    "--segment",
    type=Segment(),
    default=_DEFAULT.segment,
    show_default=True,
    metavar="auto|none|N",
    help="Save what is finished every N frames; auto: about a minute's work; none: write OUT in one go.",
)
@click.option("--no-resume", is_flag=True, help="Begin anew, even if an interrupted run could be continued.")
@click.option(
    "--keep-going", is_flag=True, help="Replace damaged frames by the ones before, and list them at the end."
)
@click.option("--no-deinterlace", is_flag=True, help="Leave interlaced pictures as they are.")
@click.option("--ffmpeg", metavar="PATH", help="An ffmpeg other than the bundled one.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and write nothing.")
@quiet_option
@verbose_option
def upscale(source: Path, target: Path, dry_run: bool, quiet: bool, verbose: int, **given: Any) -> None:
    """Upscale one film.

    Every frame keeps its time; sound, subtitles, chapters, metadata and colours go along. OUT appears when
    it is complete; its extension chooses the container. A run that was interrupted is continued by the same
    command.
    """
    start, end = given["start"], given["end"]
    if end is not None and end <= (start or 0):
        raise click.BadParameter(
            f"{float(end):g} s is not after the start ({float(start or 0):g} s)", param_hint="--end"
        )
    options = _options(**given)
    from vsrcli.cli import summary
    from vsrcli.cli.meter import stderr_console

    chatty = verbose > 0 and not quiet
    console = stderr_console()
    standing = Standing(target, click.get_current_context().meta.get(ARGUMENTS, ()))
    try:
        with interruptible() as received, summary.commands_told(chatty):
            job = prepare(source, target, options)
            if dry_run:
                if not quiet:
                    summary.print_plan(console, job)
                return
            if not quiet:
                summary.print_summary(console, job, verbose=chatty)

            def count(progress: Progress) -> None:
                received.check()
                standing.note(progress)

            _run(job, console, count, quiet=quiet, verbose=chatty)
    except Interrupted as stop:
        raise Interrupted(standing.stopped(stop.kept), signum=stop.signum) from stop
    except VsrError as error:
        error.details = "\n".join(filter(None, (error.details, standing.failed(error.kept))))
        raise


def _options(
    *,
    scale: Fraction,
    model: str,
    tile: str | int,
    overlap: int | None,
    device: str,
    precision: str,
    engine: str,
    max_memory: int | None,
    start: Fraction | None,
    end: Fraction | None,
    frames: int | None,
    segment: str | int,
    no_resume: bool,
    keep_going: bool,
    no_deinterlace: bool,
    ffmpeg: str | None,
    **encode: Any,
) -> Options:
    """Command line values as the library wants them."""
    return Options(
        scale=scale,
        model=model,
        tile=tile,
        overlap=overlap,
        device=device,
        precision=precision,
        engine=engine,
        max_memory=max_memory,
        encode=EncodeOptions(**encode),
        start=start,
        end=end,
        frames=frames,
        deinterlace=not no_deinterlace,
        segment=segment,
        resume=not no_resume,
        keep_going=keep_going,
        ffmpeg=ffmpeg,
    )


def _run(job: Job, console: Any, count: Any, *, quiet: bool, verbose: bool) -> None:
    """The film itself, with progress."""
    from vsrcli.cli import summary
    from vsrcli.cli.meter import clock, open_meter
    from vsrcli.pipeline import run

    marks = [("starting the network", time.perf_counter())]
    with open_meter(console, "frames", quiet=quiet) as meter:

        def on_engine(description: str) -> None:
            meter.say(f"  engine: {description}")
            marks.append(("first frame", time.perf_counter()))

        def on_progress(progress: Progress) -> None:
            count(progress)
            if progress.done == progress.resumed + 1:
                marks.append(("other frames", time.perf_counter()))
            left = "" if progress.eta is None else f", {clock(progress.eta)} left"
            meter.tell(progress.done, progress.total, f"{progress.fps:.1f} fps{left}")

        def on_notice(text: str) -> None:
            meter.say(f"  {text}")

        result = run(job, on_engine=on_engine, on_progress=on_progress, on_notice=on_notice)
    if verbose:
        summary.print_timings(console, marks)
    if not quiet:
        summary.print_result(console, result, verbose=verbose)
