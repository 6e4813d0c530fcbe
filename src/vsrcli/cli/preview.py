"""``vsr preview``: a few seconds of the new film, and what the whole of it would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import MESSAGES, progress_options
from vsrcli.cli.options import LOG, log_option, quiet_option, verbose_option
from vsrcli.cli.types import TimeParam
from vsrcli.cli.upscale_options import build_options, film_options
from vsrcli.errors import UsageError
from vsrcli.images.naming import is_image_target
from vsrcli.system.signals import catch_signals

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job, Options
    from vsrcli.pipeline.run import Progress, Result

_ANYWHERE = Fraction(1, 3)  # of the film: beyond titles, before the end


@click.command(
    cls=Command,
    epilog="Example: vsr preview in.mp4 --at 0:12 --seconds 3\n\n"
    "Two models to compare: vsr preview in.mp4 a.mp4 -m duf-s; vsr preview in.mp4 b.mp4 -m lanczos",
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="[OUT]", required=False, type=click.Path(path_type=Path))
@option(
    "--at",
    type=TimeParam(),
    group="Preview",
    help="Start the preview here: 12.5, 1:02 or 0:01:02.5.  [default: after a third of the video]",
)
@option(
    "--seconds",
    type=TimeParam(),
    default="3",
    show_default=True,
    group="Preview",
    help="Make the preview this long.",
)
@film_options
@option("-y", "--overwrite", is_flag=True, group="Output", help="Replace OUT if it exists.")
@progress_options
@log_option
@quiet_option
@verbose_option
def preview(
    source: Path,
    target: Path | None,
    at: Fraction | None,
    seconds: Fraction,
    progress: str,
    quiet: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Upscale a few seconds and estimate the time and file size of the whole video.

    The preview is upscaled exactly as the whole video would be, with its sound. OUT defaults to the name of
    IN with "-preview".
    """
    for name in ("start", "end", "frames"):
        if given[name] is not None:
            raise UsageError(f"--{name} is for the film: a preview has --at and --seconds")
    if seconds <= 0:
        raise UsageError(f"--seconds {float(seconds):g}: a preview is longer than nothing; give 3, say")
    options = build_options(**given)
    from vsrcli.cli import summary
    from vsrcli.cli.progress import stderr_console
    from vsrcli.cli.reporters import make_reporter
    from vsrcli.pipeline.job import prepare_job
    from vsrcli.pipeline.run import run_job

    meta = click.get_current_context().meta
    console, chatty = stderr_console(), verbose > 0 and not quiet
    teller = make_reporter(console, progress, meta.get(MESSAGES), log=LOG in meta, quiet=quiet, chatty=chatty)
    if target is not None and is_image_target(target):
        raise UsageError(f"{target}: a preview is a film, so name one; one picture: vsr upscale --frames 1")
    target = target or _beside(source)
    marks: list[Progress] = []
    with catch_signals() as received, summary.echo_commands(chatty):
        film = _film(source, options.fps)
        job = prepare_job(source, target, _moment(film, options, at, seconds))
        teller.begin(job)

        def on_progress(now: Progress) -> None:
            received.raise_if_cancelled()
            marks[:] = [now]
            teller.progress(now)

        with teller:
            result = run_job(job, on_engine=teller.engine, on_progress=on_progress, on_notice=teller.notice)
        teller.done(result)
    estimate = estimate_full_run(film, job, result, marks[-1])
    if MESSAGES in meta:
        meta[MESSAGES].write("estimate", **estimate.__dict__)
    if not quiet and not (MESSAGES in meta and meta[MESSAGES].alone):
        summary.print_notice(console, str(estimate))


@dataclass(frozen=True)
class PreviewVideo:
    """The whole film, as its container states it.

    Attributes:
        frames: or None.
        seconds: or None.
    """

    frames: int | None
    seconds: Fraction | None


def _beside(source: Path) -> Path:
    """A preview's name where nobody says; of pictures, ``frames-preview.mp4`` beside their folder."""
    if source.is_dir():
        return source.with_name(f"{source.name}-preview.mp4")
    if is_image_target(source):
        folder = source.absolute().parent
        return folder.with_name(f"{folder.name}-preview.mp4")
    return source.with_name(f"{source.stem}-preview{source.suffix}")


def _film(source: Path, fps: Fraction | None) -> PreviewVideo:
    from vsrcli.images.probe import probe_source as find_source

    film = find_source(source, fps)
    seconds, rate = film.video.duration or film.duration, film.video.frame_rate
    frames = film.video.frame_count or (round(seconds * rate) if seconds and rate else None)
    return PreviewVideo(frames, seconds)


def _moment(film: PreviewVideo, options: Options, at: Fraction | None, seconds: Fraction) -> Options:
    """The part that is made: where nothing is said, from a third on, if the film is long enough."""
    if at is None:
        at = film.seconds * _ANYWHERE if film.seconds and film.seconds > 2 * seconds else Fraction(0)
    at = round(at * 1000) / Fraction(1000)
    return replace(options, start=at, end=at + seconds, segment="none")


@dataclass(frozen=True)
class Estimate:
    """What the whole film would take, from a part of it.

    Attributes:
        frames: of the film; None if nobody knows.
        seconds: of computing, here.
        size: bytes of the new film.
    """

    frames: int | None
    seconds: float | None
    size: int | None

    def __str__(self) -> str:
        from vsrcli.system.text import format_bytes, format_duration

        if self.frames is None or self.seconds is None or self.size is None:
            return "the whole film: its length is not known, so nobody can say"
        took = f"about {format_duration(self.seconds)} here and {format_bytes(self.size)}"
        return f"the whole film: {self.frames:,} frames, {took}"


def estimate_full_run(film: PreviewVideo, job: Job, result: Result, last: Progress) -> Estimate:
    """Time by the frames after the first one, which waits for the network; size by what came out.

    Args:
        film: the whole.
        job, result: of the part.
        last: of its progress.
    """
    if film.frames is None:
        return Estimate(None, None, None)
    started = result.seconds - last.seconds
    each = last.seconds / max(result.frames - 1, 1)
    size = round(result.target.stat().st_size * film.frames / result.frames)
    return Estimate(film.frames, round(started + each * film.frames, 1), size)
