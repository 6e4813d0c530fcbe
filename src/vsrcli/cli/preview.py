"""``vsr preview``: upscale a few seconds, and estimate time and size of the complete output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import MESSAGES, JsonMessages, progress_options
from vsrcli.cli.options import LOG, log_option, quiet_option, verbose_option
from vsrcli.cli.types import TimeParam
from vsrcli.cli.upscale_options import preview_options
from vsrcli.cli.upscale_values import build_options
from vsrcli.errors import UsageError
from vsrcli.images.naming import is_image_target
from vsrcli.media.containers import is_video_extension
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.progress import CompositeReporter, Progress, Reporter, Result
from vsrcli.system.files import temporary_folder
from vsrcli.system.signals import catch_signals, raise_if_cancelled

if TYPE_CHECKING:
    from vsrcli.pipeline.options import Options

_DEFAULT_POSITION = Fraction(1, 3)  # of the duration: after titles, before the end


@click.command(
    cls=Command,
    epilog="Example: vsr preview in.mp4 --at 0:12 --seconds 3\n\n"
    "Two models to compare: vsr preview in.mp4 a.mp4 -m duf-s; vsr preview in.mp4 b.mp4 -m lanczos",
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="[OUT]", required=False, type=click.Path(path_type=Path))
@option(
    "--at",
    "Start the preview here: 12.5, 1:02 or 0:01:02.5.  [default: after a third of the video]",
    type=TimeParam(),
    group="Preview",
)
@option("--seconds", "Make the preview this long.", type=TimeParam(), default="3", group="Preview")
@preview_options
@option("-y", "--overwrite", "Replace OUT if it exists.", is_flag=True, group="Output")
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
    **values: Any,
) -> None:
    """Upscale a few seconds and estimate the time and file size of the whole video.

    The preview is upscaled exactly as the whole video would be, with its sound. OUT defaults to the name of
    IN with "-preview", as .mkv if such a video cannot be written. Where there are sharp weights, and no
    --look was chosen, a second video, with "-looks" in its name, shows Lanczos, natural and sharp side by
    side.
    """
    if seconds <= 0:
        raise UsageError(f"--seconds {float(seconds):g}: a preview is longer than nothing; give 3, say")
    options = build_options(**values)
    from vsrcli.cli import summary
    from vsrcli.cli.preview_looks import looks_target, other_looks, write_looks
    from vsrcli.cli.progress import stderr_console
    from vsrcli.cli.reporters import make_reporter
    from vsrcli.compare.writers import check_target
    from vsrcli.pipeline.preparation import prepare_job
    from vsrcli.pipeline.run import run_job

    meta = click.get_current_context().meta
    messages: JsonMessages | None = meta.get(MESSAGES)
    console, is_verbose = stderr_console(), verbose > 0 and not quiet
    reporter = make_reporter(console, progress, messages, log=LOG in meta, quiet=quiet, verbose=is_verbose)
    if target is not None and is_image_target(target):
        raise UsageError(f"{target}: a preview is a video, so name one; one image: vsr upscale --frames 1")
    if target == STDIO:
        raise UsageError("-: a preview is a file, which may have a second one beside it; name it")
    target = target or _default_target(source)
    latest, compared = LatestProgress(), looks_target(target)
    with (
        catch_signals(report_stop=messages and messages.report_stop) as cancel,
        summary.echo_commands(is_verbose and not (messages and messages.uses_stderr)),
        temporary_folder("vsr-preview-") as folder,
    ):
        video = _probe_video(source, options.fps)
        options = _select_preview(video, options, at, seconds)
        job = prepare_job(source, target, options)
        others = other_looks(source, folder, options, target.suffix)
        if others:
            check_target(compared, [source], overwrite=options.encode.overwrite)
        result = run_job(job, CompositeReporter(latest, reporter), cancel)
        if others:
            if not quiet and messages is None:
                summary.print_notice(console, "the same with sharp weights, to compare ...")
            lanczos, sharp = (run_job(each, Reporter(), cancel).target for each in others)
            write_looks(
                lanczos,
                target,
                sharp,
                compared,
                on_frame=lambda count: raise_if_cancelled(),
                overwrite=options.encode.overwrite,
                ffmpeg=job.ffmpeg,
            )
    assert latest.value is not None  # a run writes a frame or fails
    estimate = estimate_full_run(video, result, latest.value)
    if messages is not None:
        if others:
            messages.write("looks", target=str(compared))
        messages.write("estimate", **estimate.__dict__)
    if not quiet and not (messages is not None and messages.uses_stderr):
        if others:
            summary.print_notice(console, f"Lanczos, natural and sharp side by side: {compared}")
        summary.print_notice(console, str(estimate))


class LatestProgress(Reporter):
    """Keeps the latest progress as ``value``."""

    value: Progress | None = None

    def progress(self, progress: Progress) -> None:
        self.value = progress


@dataclass(frozen=True)
class PreviewVideo:
    """Length of the whole video, as its container states it.

    Attributes:
        frames: number of frames; None if unknown.
        seconds: duration; None if unknown.
    """

    frames: int | None
    seconds: Fraction | None


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of upscaling the whole video; None where it is unknown.

    Attributes:
        frames: number of frames.
        seconds: computing time on this machine.
        size: of the output in bytes.
    """

    frames: int | None
    seconds: float | None
    size: int | None

    def __str__(self) -> str:
        from vsrcli.system.text import format_bytes, format_duration

        if self.frames is None or self.seconds is None or self.size is None:
            return "the whole video: its length is not known, so there is no estimate"
        cost = f"about {format_duration(self.seconds)} here and {format_bytes(self.size)}"
        return f"the whole video: {self.frames:,} frames, {cost}"


def estimate_full_run(video: PreviewVideo, result: Result, progress: Progress) -> Estimate:
    """Extrapolate from a preview to the whole video.

    Loading the network and waiting for the first frame counts once; the other frames count by their average
    time. The output's size is proportional to the number of frames.

    Args:
        video: the whole video.
        result: of the preview.
        progress: of the preview, the last one.
    """
    if video.frames is None:
        return Estimate(None, None, None)
    startup_seconds = result.seconds - progress.seconds
    frame_seconds = progress.seconds / max(result.frames - 1, 1)
    size = round(result.target.stat().st_size * video.frames / result.frames)
    return Estimate(video.frames, round(startup_seconds + frame_seconds * video.frames, 1), size)


def _default_target(source: Path) -> Path:
    """Return ``NAME-preview.EXT``, with ``.mkv`` if no such video can be written.

    For an image sequence, ``FOLDER-preview.mp4`` in the parent folder.
    """
    if source.is_dir():
        folder = source.resolve() if source.name in ("", "..") else source
        return folder.parent / f"{folder.name}-preview.mp4"
    if is_image_target(source):
        folder = source.absolute().parent
        return folder.with_name(f"{folder.name}-preview.mp4")
    suffix = source.suffix if is_video_extension(source.suffix) else ".mkv"
    return source.with_name(f"{source.stem}-preview{suffix}")


def _probe_video(path: Path, fps: Fraction | None) -> PreviewVideo:
    from vsrcli.images.sequence import probe_source

    source = probe_source(path, fps)
    seconds, rate = source.video.duration or source.duration, source.video.frame_rate
    frames = source.video.frame_count or (round(seconds * rate) if seconds and rate else None)
    return PreviewVideo(frames, seconds)


def _select_preview(video: PreviewVideo, options: Options, at: Fraction | None, seconds: Fraction) -> Options:
    """Return options for the time range of the preview: by default from a third of a video on."""
    if at is None:
        is_long = video.seconds is not None and video.seconds > 2 * seconds
        at = video.seconds * _DEFAULT_POSITION if video.seconds and is_long else Fraction(0)
    at = round(at * 1000) / Fraction(1000)
    return replace(options, start=at, end=at + seconds, segment="none")
