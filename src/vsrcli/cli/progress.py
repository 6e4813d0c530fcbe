"""Progress on stderr: a bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet.

Progress of many films on stderr: one bar for all and one for each in hand, or plain lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from vsrcli.batch.planning import PlannedTask
from vsrcli.batch.task import Outcome
from vsrcli.cli.console import one_line
from vsrcli.pipeline.run import Progress
from vsrcli.system.text import format_duration

INTERVAL = 5.0  # seconds between plain lines


class ProgressDisplay(Protocol):
    """Shows how far a job is; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def update(self, done: int, total: int | None, text: str) -> None:
        """``done`` of ``total`` (None: unknown) are finished; ``text`` says the rest in a few words."""
        ...

    def print_line(self, line: str) -> None:
        """Print a line that stays."""
        ...


def stderr_console() -> Console:
    """A console that prints text as it is: no markup, no wrapping, colours only where they are wanted."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def make_progress(console: Console, unit: str, *, quiet: bool = False) -> ProgressDisplay:
    """The meter that suits where stderr goes.

    Args:
        console: of stderr.
        unit: what is counted, in the plural.
        quiet: show nothing.
    """
    if quiet:
        return NoProgress()
    return (
        BarProgress(console, unit)
        if console.is_terminal and not console.is_dumb_terminal
        else PlainProgress(unit)
    )


class NoProgress:
    """Nothing at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, done: int, total: int | None, text: str) -> None:
        pass

    def print_line(self, line: str) -> None:
        pass


class PlainProgress:
    """A line at the start, every :data:`INTERVAL` seconds, and at the last unit."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._next = time.monotonic() + INTERVAL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, done: int, total: int | None, text: str) -> None:
        if done != total and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        of = "" if total is None else f"/{total}"
        self.print_line(f"{done}{of} {self._unit}, {text}")

    def print_line(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)


class _Margin:
    """Leaves a line's last columns free: a ``^C`` that the terminal echoes must not wrap it."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._inner, options.update_width(max(20, options.max_width - 4)))


class NarrowProgress(RichProgress):
    """A progress display that leaves a margin."""

    def get_renderable(self) -> RenderableType:
        return _Margin(super().get_renderable())


class BarProgress:
    """A bar that goes away when the job is over; without a total it only counts."""

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
        of = "" if total is None else f"/{total}"
        total = None if total is None else max(total, done)  # a container may state too few
        self._progress.update(
            self._task, completed=done, total=total, text=f"{done}{of} {self._unit}, {text}"
        )

    def print_line(self, line: str) -> None:
        self._progress.console.print(Text(one_line(line)), soft_wrap=True)


class BatchProgress(Protocol):
    """Shows how far a batch is; a context manager and a :class:`~vsrcli.batch.task.BatchObserver`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def on_start(self, number: int) -> None: ...

    def on_notice(self, number: int, text: str) -> None: ...

    def on_progress(self, number: int, progress: Progress) -> None: ...

    def on_end(self, number: int, outcome: Outcome) -> None: ...


def make_batch_progress(
    console: Console, checked: Sequence[PlannedTask], *, quiet: bool = False
) -> BatchProgress:
    """The board that suits where stderr goes.

    Args:
        console: of stderr.
        checked: all films.
        quiet: show failures only.
    """
    if quiet:
        return NoBatchProgress(console, checked)
    live = console.is_terminal and not console.is_dumb_terminal
    return BarBatchProgress(console, checked) if live else PlainBatchProgress(console, checked)


def print_failure(console: Console, name: str, outcome: Outcome) -> None:
    """One failed film, as it happens."""
    console.print(Text.assemble(("failed: ", "bold red"), one_line(f"{name}: {outcome.reason}")))
    for line in outcome.details.splitlines():
        console.print(Text(f"  {one_line(line)}", "dim"))


class NoBatchProgress:
    """Nothing but failures."""

    def __init__(self, console: Console, checked: Sequence[PlannedTask]) -> None:
        self._console = console
        self._names = [each.task.name for each in checked]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def on_start(self, number: int) -> None:
        pass

    def on_notice(self, number: int, text: str) -> None:
        pass

    def on_progress(self, number: int, progress: Progress) -> None:
        pass

    def on_end(self, number: int, outcome: Outcome) -> None:
        if outcome.status == "failed":
            print_failure(self._console, self._names[number], outcome)


class PlainBatchProgress(NoBatchProgress):
    """A line when a film begins and ends, and every :data:`~vsrcli.cli.progress.INTERVAL` seconds between."""

    def __init__(self, console: Console, checked: Sequence[PlannedTask]) -> None:
        super().__init__(console, checked)
        self._next: dict[int, float] = {}

    def on_start(self, number: int) -> None:
        self._next[number] = time.monotonic() + INTERVAL
        self._say(number, "begun")

    def on_notice(self, number: int, text: str) -> None:
        self._say(number, text)

    def on_progress(self, number: int, progress: Progress) -> None:
        if time.monotonic() >= self._next[number]:
            self._next[number] = time.monotonic() + INTERVAL
            self._say(number, format_progress(progress))

    def on_end(self, number: int, outcome: Outcome) -> None:
        super().on_end(number, outcome)
        if outcome.status == "done":
            self._say(number, f"done, {outcome.frames} frames in {format_duration(outcome.seconds)}")

    def _say(self, number: int, text: str) -> None:
        self._console.print(one_line(f"[{number + 1}/{len(self._names)}] {self._names[number]}: {text}"))


class BarBatchProgress(NoBatchProgress):
    """A bar for all films and one for each in hand; they go away when the batch is over."""

    def __init__(self, console: Console, checked: Sequence[PlannedTask]) -> None:
        super().__init__(console, checked)
        self._work = BatchEta(checked)
        self._bars = NarrowProgress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            refresh_per_second=8,
            expand=True,
        )
        self._all = self._bars.add_task("all films", total=1.0, text=self._work.text())
        self._films: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def on_start(self, number: int) -> None:
        name = one_line(self._names[number])
        self._films[number] = self._bars.add_task(name, total=None, text="starting")

    def on_notice(self, number: int, text: str) -> None:
        self._console.print(Text(one_line(f"{self._names[number]}: {text}")), soft_wrap=True)

    def on_progress(self, number: int, progress: Progress) -> None:
        total = None if progress.total is None else max(progress.total, progress.done)
        self._bars.update(
            self._films[number], completed=progress.done, total=total, text=format_progress(progress)
        )
        self._work.note(number, progress)
        self._show()

    def on_end(self, number: int, outcome: Outcome) -> None:
        super().on_end(number, outcome)
        self._work.end(number)
        if number in self._films:
            self._bars.remove_task(self._films.pop(number))
        self._show()

    def _show(self) -> None:
        self._bars.update(self._all, completed=self._work.share, text=self._work.text())


class BatchEta:
    """How much of all films is there, and how long the rest takes: by pixels, since films differ in size."""

    def __init__(self, checked: Sequence[PlannedTask]) -> None:
        waiting = [number for number, each in enumerate(checked) if each.outcome.status == "waiting"]
        known = {number: checked[number].job for number in waiting}
        lengths = [job.expected_frames for job in known.values() if job and job.expected_frames]
        usual = sum(lengths) / len(lengths) if lengths else 1.0
        self._totals = {
            number: checked[number].pixels * ((job and job.expected_frames) or usual)
            for number, job in known.items()
        }
        self._pixels = {number: checked[number].pixels for number in waiting}
        self._there = dict.fromkeys(waiting, 0.0)
        self._made = dict.fromkeys(waiting, 0.0)
        self._over: set[int] = set()
        self._films = len(checked)
        self._before = len(checked) - len(waiting)
        self._began: float | None = None

    def note(self, number: int, progress: Progress) -> None:
        """A frame has been written."""
        self._began = self._began or time.monotonic()
        self._there[number] = min(progress.done * self._pixels[number], self._totals[number])
        self._made[number] = (progress.done - progress.resumed) * self._pixels[number]

    def end(self, number: int) -> None:
        """A film is over, one way or another."""
        self._there[number] = self._totals[number]
        self._over.add(number)

    @property
    def share(self) -> float:
        """0 to 1."""
        whole = sum(self._totals.values())
        return sum(self._there.values()) / whole if whole else 1.0

    def text(self) -> str:
        """``3/7 films, 1:02:03 left``."""
        films = f"{self._before + len(self._over)}/{self._films} films"
        made = sum(self._made.values())
        if self._began is None or not made or time.monotonic() - self._began < 1:
            return films
        left = sum(self._totals.values()) - sum(self._there.values())
        return f"{films}, {format_duration(left * (time.monotonic() - self._began) / made)} left"


def format_progress(progress: Progress) -> str:
    """``120/500, 3.2 fps, 2:03 left``."""
    of = "" if progress.total is None else f"/{progress.total}"
    left = "" if progress.eta is None else f", {format_duration(progress.eta)} left"
    return f"{progress.done}{of}, {progress.fps:.1f} fps{left}"
