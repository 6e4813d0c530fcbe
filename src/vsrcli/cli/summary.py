"""Lines about a run on stderr: the plan before it, the result after it, and how to resume it."""

from __future__ import annotations

import contextlib
import logging
import math
import shlex
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console

from vsrcli.cli.console import one_line
from vsrcli.errors import VsrError
from vsrcli.inference.looks import NATURAL
from vsrcli.media.types import Source
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.memory import relative_cost
from vsrcli.pipeline.passes import Pass
from vsrcli.pipeline.progress import Progress, Reporter, Result
from vsrcli.system.text import format_bytes, format_duration

_LISTED_PIECES = 8  # at the start and at the end of a long plan


def print_summary(console: Console, job: Job, *, verbose: bool = False) -> None:
    """Print a few lines before a run: source, target, and whatever is not simply copied."""
    _print(console, source_line(job.source))
    _print(console, target_line(job))
    if job.options.size is not None or job.geometry.factor != math.prod(each.scale for each in job.models):
        _print(console, f"  scale: {scale_line(job)}")
    if verbose:
        _print_streams(console, job)
    _print_notices(console, job)
    if job.is_faithful or job.look not in ("", NATURAL):
        _print(console, f"  look: {look_line(job)}")
    _print(console, f"  model: {model_names(job)}, {tile_line(job)}, {memory_line(job)}")
    if job.engine is not None and job.engine.reason.startswith("tuned"):
        _print(console, f"  engine: {job.engine}")
    if verbose:
        _print(console, f"  ffmpeg: {job.ffmpeg.path} ({job.ffmpeg.version})")


def print_plan(console: Console, job: Job) -> None:
    """Print everything that was decided, for ``--dry-run``."""
    _print(console, source_line(job.source))
    _print(console, target_line(job))
    _print_streams(console, job)
    _print_notices(console, job)
    for model in job.models:
        _print(console, f"  model: {model.name}, {model.architecture.summary}")
    if look := look_line(job):
        _print(console, f"  look: {look}")
    _print(console, f"  scale: {scale_line(job)}")
    _print(console, f"  tiles: {tile_line(job)}")
    _print(console, f"  memory: {memory_line(job)}{_memory_details(job)}")
    frames = "unknown" if job.expected_frames is None else job.expected_frames
    _print(console, f"  frames: {frames}{_time_range(job)}")
    _print(console, f"  segments: {segment_line(job)}")
    for line in piece_lines(job):
        _print(console, f"    {line}")
    if job.plan.header is not None:
        _print(console, f"  header: {job.plan.header.line().decode('latin-1').rstrip()}")
    _print(console, f"  engine: {job.engine or 'none: interpolation on the CPU'}")
    _print(console, f"  ffmpeg: {job.ffmpeg.path} ({job.ffmpeg.version})")
    _print(console, "dry run: nothing was written")


def print_notice(console: Console, text: str) -> None:
    """Print one indented line."""
    _print(console, f"  {text}")


def print_result(console: Console, result: Result, *, verbose: bool = False) -> None:
    """Print warnings, and the last line of a run: frames, time and target."""
    for warning in result.warnings:
        _print(console, f"  warning: {warning}", "yellow")
    fps = (result.frames - result.resumed) / result.seconds if result.seconds else 0.0
    elapsed = format_duration(result.seconds) if result.seconds >= 60 else f"{result.seconds:.1f} s"
    if verbose:
        _print(console, f"  shots: {result.shots}; on {result.engine}")
    if result.reused_frames:
        new_frames = result.frames - result.resumed
        were = "was" if result.reused_frames == 1 else "were"
        _print(
            console, f"  {result.reused_frames} of {new_frames} frames {were} repeated and not computed again"
        )
    target = "stdout" if result.target == STDIO else str(result.target)
    _print(console, f"{result.frames} frames in {elapsed} ({fps:.1f} fps): {target}", "green")


def print_timings(console: Console, phases: list[tuple[str, float]]) -> None:
    """Print how long each phase took.

    Args:
        console: of stderr.
        phases: name and start (``time.perf_counter``) of each phase; the last one ends now.
    """
    ends = [start for _, start in phases[1:]] + [time.perf_counter()]
    parts = [f"{name} {end - start:.2f} s" for (name, start), end in zip(phases, ends, strict=True)]
    _print(console, f"  timings: {', '.join(parts)}")


@contextlib.contextmanager
def echo_commands(enabled: bool) -> Iterator[None]:
    """Print the command line of every ffmpeg that is started within the block, if ``enabled``."""

    class EchoHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(f"  $ {one_line(record.getMessage())}", file=sys.stderr, flush=True)

    logger, handler = logging.getLogger("vsrcli.media.process"), EchoHandler()
    previous_level = logger.level
    if enabled:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous_level)


class ResumeHint(Reporter):
    """Says after an interrupted or failed run how far it got and how to resume it.

    Create it before the run, so that it can tell an output of this run from an older file.

    Args:
        target: path of the output.
        arguments: of the command line, to be repeated.
    """

    def __init__(self, target: Path, arguments: Sequence[str]) -> None:
        self._target = target
        self._arguments = [each for each in arguments if each != "--no-resume"]
        self._previous_identity = self._target_identity()
        self._progress: Progress | None = None

    def progress(self, progress: Progress) -> None:
        self._progress = progress

    def after_signal(self, saved_frames: int) -> str:
        """Return a message for a run that a signal stopped.

        Args:
            saved_frames: frames that a resumed run will not compute again.
        """
        message = f"stopped at frame {self._done:,}"
        if self._target == STDIO:
            return message
        if self._target_identity() != self._previous_identity:
            return f"{message}; {self._target} had just been finished"
        if not saved_frames:
            return f"{message}; nothing was written at {self._target}"
        return f"{message}; {self._resume_message(saved_frames)}"

    def after_forced_exit(self) -> str:
        """Return the line for a run that is left without cleanup."""
        return f"vsr: {self.after_signal(self._progress.saved if self._progress else 0)}"

    def after_error(self, error: VsrError) -> str:
        """Return a message for a run that failed; empty if no frames are saved."""
        return self._resume_message(error.saved_frames, error.resume_option) if error.saved_frames else ""

    def _resume_message(self, saved_frames: int, option: str | None = "") -> str:
        total = f" of {self._progress.total:,}" if self._progress and self._progress.total else ""
        lost = max(self._done - saved_frames, 0)
        loss = f", the {lost:,} after them lost" if lost else ""
        resume = "" if option is None else f"; to resume: {self._command_with(option)}"
        return f"{saved_frames:,}{total} frames are saved{loss}{resume}"

    def _command_with(self, option: str) -> str:
        """Return the command line with one more option; what follows ``--`` are names of files."""
        arguments = self._arguments
        end = arguments.index("--") if "--" in arguments else len(arguments)
        parts = (shlex.join(["vsr", *arguments[:end]]), option, shlex.join(arguments[end:]))
        return " ".join(filter(None, parts))

    @property
    def _done(self) -> int:
        return self._progress.done if self._progress else 0

    def _target_identity(self) -> tuple[int, int] | None:
        """Return inode and modification time of the file at the target, None if there is none.

        A folder changes with each image, and a pipe with each frame.
        """
        with contextlib.suppress(OSError):
            status = self._target.stat()
            if stat.S_ISREG(status.st_mode):
                return status.st_ino, status.st_mtime_ns
        return None


def source_line(source: Source) -> str:
    """Return text such as ``in.mp4: h264 yuv420p 240x136, 24 fps, 120 frames, 0:05, 1.2 MB``."""
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
    return f"{source.display_name}: {', '.join(parts)}"


def target_line(job: Job) -> str:
    """Return text such as ``-> out.mp4: libx264 yuv420p 960x544, MP4, with 1 audio``."""
    plan = job.plan
    copied = [stream.kind for stream in plan.streams if stream.action == "copy"]
    names = [f"{copied.count(kind)} {kind}" for kind in dict.fromkeys(copied)]
    chapters = len(job.source.chapters) if plan.container.has_chapters else 0
    if chapters:
        names.append(f"{chapters} chapter{'s' * (chapters > 1)}")
    others = f", with {', '.join(names)}" if names else ""
    video = f"{plan.codec} {plan.pix_fmt} {plan.width}x{plan.height}"
    return f"-> {plan.display_name}: {video}, {plan.container.name}{others}"


def model_names(job: Job) -> str:
    """Return the models of all passes, ``A`` or ``A, then B``; one that runs twice stands once."""
    return ", then ".join(dict.fromkeys(each.name for each in job.models))


def look_line(job: Job) -> str:
    """Return text such as ``0.6 of the network, the rest Lanczos; colours of the source``, or ``sharp``."""
    share = f"{job.strength:.3g} of the network, the rest Lanczos" if job.strength < 1 else ""
    look = "" if share and job.look == NATURAL else job.look
    return "; ".join(filter(None, (look, share, "colours of the source" if job.keep_color else "")))


def tile_line(job: Job) -> str:
    """Return text such as ``whole frames`` or ``6 tiles of 128x128, 31 % more work``, for each pass."""
    lines = [_pass_tiles(each) for each in job.passes]
    return ", then ".join(lines) if len(set(lines)) > 1 else lines[0]


def scale_line(job: Job) -> str:
    """Return text such as ``64x48 x2.5: the network's x3, then resampled to 160x120, shown as 4:3``."""
    video, plan, geometry = job.source.video, job.plan, job.geometry
    across, down = _format_factor(geometry.scale_x), _format_factor(geometry.scale_y)
    factor = f"x{across}" if geometry.scale_x == geometry.scale_y else f"x{across} across, x{down} down"
    scales = [each.model.scale for each in job.passes]
    passes, total = " and ".join(f"x{scale}" for scale in scales), math.prod(scales)
    native = (total * video.width, total * video.height) == (plan.width, plan.height)
    end = f"{'' if native else 'then resampled to '}{plan.width}x{plan.height}"
    aspect_ratio = Fraction(plan.width, plan.height) * plan.sample_aspect_ratio
    return (
        f"{video.width}x{video.height} {factor}: the network's {passes}, {end}, shown as "
        f"{_format_aspect(aspect_ratio)}{_placement(job)}"
    )


def segment_line(job: Job) -> str:
    """Return text that says how many frames each segment has."""
    from vsrcli.pipeline.segmented_output import frames_per_segment

    if not job.segmented:
        return "none: an interrupted run starts over"
    if job.options.segment == "shots":
        return "a piece ends at the first shot change after 10 s, inside a shot after 60 s"
    return f"{frames_per_segment(job)} frames each on a CPU, or a little less at a shot change"


def piece_lines(job: Job) -> list[str]:
    """Return lines with the pieces of ``--segment shots``, the first and last ones of many."""
    from vsrcli.pipeline.pieces import plan_of

    lines = [
        f"piece {piece.number}: frames {piece.first_frame:,} to {piece.end_frame - 1:,}"
        + (f", inside a shot, after {piece.warmup_frames} more to warm up" if piece.warmup_frames else "")
        for piece in plan_of(job)
    ]
    if len(lines) <= 2 * _LISTED_PIECES:
        return lines
    left_out = f"... {len(lines) - 2 * _LISTED_PIECES} more"
    return [*lines[:_LISTED_PIECES], left_out, *lines[-_LISTED_PIECES:]]


def memory_line(job: Job) -> str:
    """Return text such as ``about 2.1 GiB at the peak``."""
    return f"about {format_bytes(job.memory_estimate().total)} at the peak"


def _pass_tiles(each: Pass) -> str:
    tiles = each.tiles
    if len(tiles) == 1 and tiles.burst == 1:
        return "whole frames"
    more = relative_cost(each.model.architecture, tiles) - 1
    burst = f", {tiles.burst} frames at a time" if tiles.burst > 1 else ""
    size = f"{tiles.tile_width}x{tiles.tile_height}"
    return f"{len(tiles)} tile{'s' * (len(tiles) > 1)} of {size}{burst}, {more:.0%} more work"


def _placement(job: Job) -> str:
    """Return how frames were fitted into a requested size, with a leading comma; empty without one."""
    size, geometry = job.options.size, job.geometry
    if size is None or size.width is None or size.height is None:
        return ""
    if geometry.is_uncropped:
        box = f"{size.width}x{size.height}"
        return "" if box == f"{job.plan.width}x{job.plan.height}" else f", fitted into {box} without bars"
    across, down = geometry.visible_fractions
    side, share = ("width", across) if across < 1 else ("height", down)
    return f", cropped to the middle {float(share):.1%} of its {side}"


def _format_factor(factor: Fraction) -> str:
    return f"{float(factor):.4g}"


def _format_aspect(ratio: Fraction) -> str:
    """Return ``4:3``, or ``2.39:1`` where small integers do not express it."""
    small = ratio.limit_denominator(16)
    return f"{small.numerator}:{small.denominator}" if small == ratio else f"{float(ratio):.3g}:1"


def _memory_details(job: Job) -> str:
    """Return the parts of the memory estimate, and the budget."""
    estimate, budget = job.memory_estimate(), job.memory_budget
    parts = f"{format_bytes(estimate.network)} for the network, {format_bytes(estimate.ffmpeg)} for ffmpeg"
    gpu = "" if budget.gpu is None else f", {format_bytes(budget.gpu)} on the GPU"
    return f" ({parts}), of {format_bytes(budget.host)} allowed{gpu}"


def _print_streams(console: Console, job: Job) -> None:
    labels = {"encode": "upscaled", "copy": "copied", "convert": "converted", "drop": "dropped"}
    for stream in job.plan.streams:
        note = f" ({stream.note})" if stream.note else ""
        _print(console, f"  #{stream.index} {stream.kind} {stream.codec}: {labels[stream.action]}{note}")


def _print_notices(console: Console, job: Job) -> None:
    for text in job.plan.notices:
        _print(console, f"  note: {text}", "yellow")


def _time_range(job: Job) -> str:
    start, end = job.options.start, job.end
    if start is None and end is None:
        return ""
    last = "the end" if end is None else f"{float(end):g} s"
    return f", from {float(start or 0):g} s to {last}"


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(one_line(line), style=style)
