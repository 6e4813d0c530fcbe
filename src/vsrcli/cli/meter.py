"""Progress on stderr: a bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from vsrcli.cli.failure import one_line

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


def format_duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
