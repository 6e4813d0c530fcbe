"""Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet.

:class:`ProgressDisplay` shows one job, :class:`BatchProgress` the videos of a batch: a bar for all of them
and one for each that is being upscaled.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from vsrcli.batch.planning import PlannedTask
from vsrcli.batch.task import BatchReporter, Outcome
from vsrcli.cli.console import one_line
from vsrcli.pipeline.progress import Progress
from vsrcli.system.text import format_duration

INTERVAL = 5.0  # seconds between plain lines


class ProgressDisplay:
    """Shows the progress of one job; a context manager. This one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, done: int, total: int | None, text: str) -> None:
        """Show that ``done`` of ``total`` units (None: unknown) are finished, followed by ``text``."""

    def print_line(self, line: str) -> None:
        """Print a line that stays."""


def stderr_console() -> Console:
    """Return a console that prints text as it is: no markup, no wrapping, colours only on a terminal."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def make_progress(console: Console, unit: str, *, quiet: bool = False) -> ProgressDisplay:
    """Return a display that suits the destination of stderr.

    Args:
        console: of stderr.
        unit: what is counted, in the plural.
        quiet: show nothing.
    """
    if quiet:
        return ProgressDisplay()
    return BarProgress(console, unit) if _can_animate(console) else PlainProgress(unit)


def make_batch_progress(
    console: Console, planned: Sequence[PlannedTask], *, quiet: bool = False
) -> BatchProgress:
    """Return a display for a batch that suits the destination of stderr.

    Args:
        console: of stderr.
        planned: all tasks of the batch.
        quiet: show failures only.
    """
    if quiet:
        return BatchProgress(console, planned)
    return (
        BarBatchProgress(console, planned) if _can_animate(console) else PlainBatchProgress(console, planned)
    )


def print_failure(console: Console, name: str, outcome: Outcome) -> None:
    """Print why a video of a batch failed."""
    console.print(Text.assemble(("failed: ", "bold red"), one_line(f"{name}: {outcome.reason}")))
    for line in outcome.details.splitlines():
        console.print(Text(f"  {one_line(line)}", "dim"))


def format_progress(progress: Progress) -> str:
    """Return text such as ``120/500, 3.2 fps, 2:03 left``."""
    total = "" if progress.total is None else f"/{progress.total}"
    left = "" if progress.eta is None else f", {format_duration(progress.eta)} left"
    pieces = "" if progress.pieces is None else f"; {progress.pieces}"
    return f"{progress.done}{total}, {progress.fps:.1f} fps{left}{pieces}"


class PlainProgress(ProgressDisplay):
    """Prints a line every :data:`INTERVAL` seconds, and one at the last unit."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._next_line = time.monotonic() + INTERVAL

    def update(self, done: int, total: int | None, text: str) -> None:
        if done != total and time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + INTERVAL
        self.print_line(f"{_count(done, total)} {self._unit}, {text}")

    def print_line(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)


class BarProgress(ProgressDisplay):
    """Shows a bar that disappears when the job ends; without a total it only counts."""

    def __init__(self, console: Console, unit: str) -> None:
        columns = [
            BarColumn(bar_width=24),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[text]}", markup=False),
        ]
        self._unit = unit
        self._progress = NarrowProgress(*columns, console=console, transient=True, refresh_per_second=8)
        self._task = self._progress.add_task("", total=None, text="starting")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, done: int, total: int | None, text: str) -> None:
        text = f"{_count(done, total)} {self._unit}, {text}"
        total = None if total is None else max(total, done)  # a container may state too few
        self._progress.update(self._task, completed=done, total=total, text=text)

    def print_line(self, line: str) -> None:
        self._progress.console.print(Text(one_line(line)), soft_wrap=True)


class BatchProgress(BatchReporter):
    """Shows the progress of a batch; a context manager. This one prints failures only."""

    def __init__(self, console: Console, planned: Sequence[PlannedTask]) -> None:
        self._console = console
        self._names = [each.task.name for each in planned]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def end(self, index: int, outcome: Outcome) -> None:
        if outcome.status == "failed":
            print_failure(self._console, self._names[index], outcome)


class PlainBatchProgress(BatchProgress):
    """Prints a line when a video starts and ends, and every :data:`INTERVAL` seconds between."""

    def __init__(self, console: Console, planned: Sequence[PlannedTask]) -> None:
        super().__init__(console, planned)
        self._next_line: dict[int, float] = {}

    def start(self, index: int) -> None:
        self._next_line[index] = time.monotonic() + INTERVAL
        self._print(index, "started")

    def notice(self, index: int, text: str) -> None:
        self._print(index, text)

    def progress(self, index: int, progress: Progress) -> None:
        if time.monotonic() >= self._next_line[index]:
            self._next_line[index] = time.monotonic() + INTERVAL
            self._print(index, format_progress(progress))

    def end(self, index: int, outcome: Outcome) -> None:
        super().end(index, outcome)
        if outcome.status == "done":
            self._print(index, f"done, {outcome.frames} frames in {format_duration(outcome.seconds)}")

    def _print(self, index: int, text: str) -> None:
        self._console.print(one_line(f"[{index + 1}/{len(self._names)}] {self._names[index]}: {text}"))


class BarBatchProgress(BatchProgress):
    """Shows a bar for all videos and one for each that is being upscaled; they disappear at the end."""

    def __init__(self, console: Console, planned: Sequence[PlannedTask]) -> None:
        super().__init__(console, planned)
        self._eta = BatchEta(planned)
        self._bars = NarrowProgress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            refresh_per_second=8,
            expand=True,
        )
        self._total_bar = self._bars.add_task("all videos", total=1.0, text=self._eta.text())
        self._video_bars: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def start(self, index: int) -> None:
        name = one_line(self._names[index])
        self._video_bars[index] = self._bars.add_task(name, total=None, text="starting")

    def notice(self, index: int, text: str) -> None:
        self._console.print(Text(one_line(f"{self._names[index]}: {text}")), soft_wrap=True)

    def progress(self, index: int, progress: Progress) -> None:
        total = None if progress.total is None else max(progress.total, progress.done)
        self._bars.update(
            self._video_bars[index], completed=progress.done, total=total, text=format_progress(progress)
        )
        self._eta.update(index, progress)
        self._update_total()

    def end(self, index: int, outcome: Outcome) -> None:
        super().end(index, outcome)
        self._eta.end(index)
        if index in self._video_bars:
            self._bars.remove_task(self._video_bars.pop(index))
        self._update_total()

    def _update_total(self) -> None:
        self._bars.update(self._total_bar, completed=self._eta.share, text=self._eta.text())


class BatchEta:
    """Estimates progress and remaining time of a batch in pixels, since videos differ in frame size.

    A video of unknown length counts as long as the average of the others.
    """

    def __init__(self, planned: Sequence[PlannedTask]) -> None:
        waiting = [index for index, each in enumerate(planned) if each.outcome.status == "waiting"]
        jobs = {index: planned[index].job for index in waiting}
        lengths = [job.expected_frames for job in jobs.values() if job and job.expected_frames]
        average = sum(lengths) / len(lengths) if lengths else 1.0
        self._total_pixels = {
            index: planned[index].frame_pixels * ((job and job.expected_frames) or average)
            for index, job in jobs.items()
        }
        self._frame_pixels = {index: planned[index].frame_pixels for index in waiting}
        self._done_pixels = dict.fromkeys(waiting, 0.0)  # earlier runs included
        self._computed_pixels = dict.fromkeys(waiting, 0.0)  # by this run
        self._ended: set[int] = set()
        self._video_count = len(planned)
        self._ended_before = len(planned) - len(waiting)
        self._start_time: float | None = None

    def update(self, index: int, progress: Progress) -> None:
        """Count the frames of a video that have been written."""
        self._start_time = self._start_time or time.monotonic()
        frame_pixels = self._frame_pixels[index]
        self._done_pixels[index] = min(progress.done * frame_pixels, self._total_pixels[index])
        self._computed_pixels[index] = (progress.done - progress.resumed) * frame_pixels

    def end(self, index: int) -> None:
        """Count a video as ended, whatever its outcome."""
        self._done_pixels[index] = self._total_pixels[index]
        self._ended.add(index)

    @property
    def share(self) -> float:
        """Progress from 0 to 1."""
        total = sum(self._total_pixels.values())
        return sum(self._done_pixels.values()) / total if total else 1.0

    def text(self) -> str:
        """Return text such as ``3/7 videos, 1:02:03 left``."""
        videos = f"{self._ended_before + len(self._ended)}/{self._video_count} videos"
        computed = sum(self._computed_pixels.values())
        if self._start_time is None or not computed or time.monotonic() - self._start_time < 1:
            return videos
        left = sum(self._total_pixels.values()) - sum(self._done_pixels.values())
        return f"{videos}, {format_duration(left * (time.monotonic() - self._start_time) / computed)} left"


class NarrowProgress(RichProgress):
    """A Rich progress display that leaves a margin on the right."""

    def get_renderable(self) -> RenderableType:
        return _Margin(super().get_renderable())


class _Margin:
    """Leaves the last columns free: a ``^C`` that the terminal echoes must not wrap the line."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._inner, options.update_width(max(20, options.max_width - 4)))


def _can_animate(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _count(done: int, total: int | None) -> str:
    return f"{done}" if total is None else f"{done}/{total}"
