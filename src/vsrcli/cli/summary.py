"""What ``vsr upscale`` tells before and after the run, and what ``--dry-run`` shows; all on stderr.

How far a film has come, in the words that an interrupted or failed run leaves behind.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vsrcli.cli.console import one_line
from vsrcli.media.stdin import display_name
from vsrcli.media.types import Source
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.memory import relative_cost
from vsrcli.system.text import format_bytes, format_duration

if TYPE_CHECKING:
    from vsrcli.pipeline.run import Progress, Result


def print_summary(console: Console, job: Job, *, verbose: bool = False) -> None:
    """What will happen, in a few lines: the target and whatever is not simply kept."""
    _say(console, source_line(job.source))
    _say(console, target_line(job))
    if job.options.size is not None or job.geometry.factor != job.model.scale:
        _say(console, f"  scale: {scale_line(job)}")
    if verbose:
        _streams(console, job)
    _notices(console, job)
    _say(console, f"  model: {job.model.name}, {tile_line(job)}, {memory_line(job)}")
    if verbose:
        _say(console, f"  ffmpeg: {job.ffmpeg.path} ({job.ffmpeg.version})")


def print_plan(console: Console, job: Job) -> None:
    """Everything that was decided, for ``--dry-run``."""
    model = job.model
    _say(console, source_line(job.source))
    _say(console, target_line(job))
    _streams(console, job)
    _notices(console, job)
    _say(console, f"  model: {model.name}, {model.architecture.summary}")
    _say(console, f"  scale: {scale_line(job)}")
    _say(console, f"  tiles: {tile_line(job)}")
    _say(console, f"  memory: {memory_line(job)}{_memory_parts(job)}")
    _say(
        console, f"  frames: {'unknown' if job.expected_frames is None else job.expected_frames}{_span(job)}"
    )
    _say(console, f"  segments: {segment_line(job)}")
    if job.plan.header is not None:
        _say(console, f"  header: {job.plan.header.line().decode('latin-1').rstrip()}")
    _say(console, f"  engine: {job.engine or 'none: interpolation on the CPU'}")
    _say(console, f"  ffmpeg: {job.ffmpeg.path} ({job.ffmpeg.version})")
    _say(console, "dry run: nothing was written")


def print_notice(console: Console, text: str) -> None:
    """One line below the others."""
    _say(console, f"  {text}")


def print_result(console: Console, result: Result, *, verbose: bool = False) -> None:
    """The last line: what has become of it."""
    for warning in result.warnings:
        _say(console, f"  warning: {warning}", "yellow")
    fps = result.frames / result.seconds if result.seconds else 0.0
    took = format_duration(result.seconds) if result.seconds >= 60 else f"{result.seconds:.1f} s"
    if verbose:
        _say(console, f"  shots: {result.shots}; on {result.engine}")
    if result.reused_frames:
        made = result.frames - result.resumed
        was = "was" if result.reused_frames == 1 else "were"
        _say(console, f"  {result.reused_frames} of {made} frames {was} repeated and not computed again")
    _say(console, f"{result.frames} frames in {took} ({fps:.1f} fps): {_named(result.target)}", "green")


def print_timings(console: Console, marks: list[tuple[str, float]]) -> None:
    """How long each part took; ``marks`` are (name, when it began)."""
    ends = [began for _, began in marks[1:]] + [time.perf_counter()]
    parts = [f"{name} {end - began:.2f} s" for (name, began), end in zip(marks, ends, strict=True)]
    _say(console, f"  timings: {', '.join(parts)}")


@contextlib.contextmanager
def echo_commands(wanted: bool) -> Iterator[None]:
    """Print the command line of every ffmpeg that is started in the block, if wanted."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(f"  $ {one_line(record.getMessage())}", file=sys.stderr, flush=True)

    logger, teller = logging.getLogger("vsrcli.media.process"), Teller()
    before = logger.level
    if wanted:
        logger.addHandler(teller)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.setLevel(before)


def source_line(source: Source) -> str:
    """``in.mp4: h264 yuv420p 240x136, 24 fps, 120 frames, 0:05, 1.2 MB``."""
    video = source.video
    depth = f" {video.bit_depth} bit" if video.is_high_bit_depth else ""
    parts = [f"{video.codec} {video.pix_fmt}{depth} {video.width}x{video.height}"]
    if video.frame_rate is not None:
        parts.append(f"{float(video.frame_rate):.5g} fps")
    if video.frame_count is not None:
        parts.append(f"{video.frame_count} frame{'s' * (video.frame_count != 1)}")
    duration = video.duration or source.duration
    if duration is not None:
        parts.append(format_duration(float(duration)) if duration >= 1 else f"{float(duration):.2g} s")
    if source.size_bytes:
        parts.append(format_bytes(source.size_bytes))
    return f"{display_name(source)}: {', '.join(parts)}"


def target_line(job: Job) -> str:
    """``-> out.mp4: libx264 yuv420p 960x544, MP4``; with the other streams that simply go along."""
    plan = job.plan
    kept = [stream.kind for stream in plan.streams if stream.action == "copy"]
    names = [f"{kept.count(kind)} {kind}" for kind in dict.fromkeys(kept)]
    chapters = len(job.source.chapters) if plan.container.has_chapters else 0
    if chapters:
        names.append(f"{chapters} chapter{'s' * (chapters > 1)}")
    along = f", with {', '.join(names)}" if names else ""
    picture = f"{plan.codec} {plan.pix_fmt} {plan.width}x{plan.height}"
    return f"-> {plan.display_name}: {picture}, {plan.container.name}{along}"


def tile_line(job: Job) -> str:
    """``whole frames`` or ``6 tiles of 128x128, 31 % more work``."""
    tiles = job.tiles
    if len(tiles) == 1 and tiles.burst == 1:
        return "whole frames"
    more = relative_cost(job.model.architecture, tiles) - 1
    burst = f", {tiles.burst} frames at a time" if tiles.burst > 1 else ""
    size = f"{tiles.tile_width}x{tiles.tile_height}"
    return f"{len(tiles)} tile{'s' * (len(tiles) > 1)} of {size}{burst}, {more:.0%} more work"


def scale_line(job: Job) -> str:
    """``64x48 x2.5: the network's x3, then resampled to 160x120, shown as 4:3``."""
    video, plan, model, geometry = job.source.video, job.plan, job.model, job.geometry
    across, down = _factor(geometry.scale_x), _factor(geometry.scale_y)
    factor = f"x{across}" if geometry.scale_x == geometry.scale_y else f"x{across} across, x{down} down"
    passes, reached = f"x{model.scale}", model.scale
    if model.second_pass is not None:
        passes, reached = f"{passes} and x{model.second_pass.scale}", reached * model.second_pass.scale
    native = (reached * video.width, reached * video.height) == (plan.width, plan.height)
    end = f"{'' if native else 'then resampled to '}{plan.width}x{plan.height}"
    shown = Fraction(plan.width, plan.height) * plan.sample_aspect_ratio
    return (
        f"{video.width}x{video.height} {factor}: the network's {passes}, {end}, shown as {_aspect(shown)}"
        f"{_placed(job)}"
    )


def _placed(job: Job) -> str:
    """How the picture lies in a box that was asked for."""
    wanted, geometry = job.options.size, job.geometry
    if wanted is None or wanted.width is None or wanted.height is None:
        return ""
    if geometry.is_uncropped:
        box = f"{wanted.width}x{wanted.height}"
        return "" if box == f"{job.plan.width}x{job.plan.height}" else f", fitted into {box} without bars"
    side, share = (
        ("width", geometry.visible_fractions[0])
        if geometry.visible_fractions[0] < 1
        else ("height", geometry.visible_fractions[1])
    )
    return f", cut to the middle {float(share):.1%} of its {side}"


def _factor(factor: Fraction) -> str:
    return f"{float(factor):.4g}"


def _aspect(shown: Fraction) -> str:
    """``4:3``, or ``2.39:1`` for what has no name in small numbers."""
    small = shown.limit_denominator(16)
    return f"{small.numerator}:{small.denominator}" if small == shown else f"{float(shown):.3g}:1"


def segment_line(job: Job) -> str:
    """How long segments are."""
    from vsrcli.pipeline.segmented_output import frames_per_segment

    if not job.segmented:
        return "none: an interrupted run begins anew"
    return f"{frames_per_segment(job)} frames each on a CPU, or a little less at a shot change"


def memory_line(job: Job) -> str:
    """``about 2.1 GiB at the peak``."""
    return f"about {format_bytes(job.memory_estimate().total)} at the peak"


def _memory_parts(job: Job) -> str:
    """What takes it, and what may be taken."""
    peak, limit = job.memory_estimate(), job.memory_budget
    parts = f"{format_bytes(peak.network)} for the network, {format_bytes(peak.ffmpeg)} for ffmpeg"
    gpu = "" if limit.gpu is None else f", {format_bytes(limit.gpu)} on the GPU"
    return f" ({parts}), of {format_bytes(limit.host)} allowed{gpu}"


def _streams(console: Console, job: Job) -> None:
    words = {"encode": "upscaled", "copy": "copied", "convert": "converted", "drop": "dropped"}
    for stream in job.plan.streams:
        note = f" ({stream.note})" if stream.note else ""
        _say(console, f"  #{stream.index} {stream.kind} {stream.codec}: {words[stream.action]}{note}")


def _notices(console: Console, job: Job) -> None:
    for text in job.plan.notices:
        _say(console, f"  note: {text}", "yellow")


def _named(target: Path) -> str:
    return "stdout" if target == STDIO else str(target)


def _span(job: Job) -> str:
    start, end = job.options.start, job.end
    if start is None and end is None:
        return ""
    last = "the end" if end is None else f"{_number(end)} s"
    return f", from {_number(start or Fraction(0))} s to {last}"


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(one_line(line), style=style)


class ResumeHint:
    """Told of every progress.

    Args:
        target: where the film will lie.
        arguments: of the command line, to be given again.
    """

    def __init__(self, target: Path, arguments: Sequence[str]) -> None:
        self._target = target
        self._command = shlex.join(["vsr", *(each for each in arguments if each != "--no-resume")])
        self._before = self._identity()
        self._progress: Progress | None = None

    def update(self, progress: Progress) -> None:
        """What has been told last counts."""
        self._progress = progress

    def after_signal(self, kept: int) -> str:
        """After a signal: where it stands, and how to go on; ``kept`` frames are not lost."""
        done = f"stopped at frame {self._done:,}"
        if self._target == STDIO:
            return done
        if self._identity() != self._before:
            return f"{done}; {self._target} had just been finished"
        return f"{done}; {self._kept(kept) if kept else f'nothing was written at {self._target}'}"

    def after_error(self, kept: int) -> str:
        """After an error: what is not lost; empty if nothing is kept."""
        return self._kept(kept) if kept else ""

    def _kept(self, kept: int) -> str:
        of = f" of {self._progress.total:,}" if self._progress and self._progress.total else ""
        lost = max(self._done - kept, 0)
        after = f", the {lost:,} after them lost" if lost else ""
        return f"{kept:,}{of} frames are kept{after}; to go on: {self._command}"

    @property
    def _done(self) -> int:
        return self._progress.done if self._progress else 0

    def _identity(self) -> tuple[int, int] | None:
        """Which file lies at the target, to know afterwards whether it is a new one."""
        with contextlib.suppress(OSError):
            found = self._target.stat()
            return found.st_ino, found.st_mtime_ns
        return None
