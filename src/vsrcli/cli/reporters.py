"""Who is told about a film while it is made: people at a terminal, or a program.

``--log FILE``: what was said on stderr and which commands ran, with times, for a report.
"""

from __future__ import annotations

import logging
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import click
from rich.console import Console

from vsrcli._version import __version__
from vsrcli.cli.messages import JsonMessages, done_message, progress_message, start_message
from vsrcli.cli.progress import (
    BarProgress,
    NoProgress,
    PlainProgress,
    ProgressDisplay,
    make_progress,
)
from vsrcli.cli.summary import print_notice, print_plan, print_result, print_summary, print_timings
from vsrcli.system.text import format_duration

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.run import Progress, Result


_TOLD = logging.getLogger("vsrcli.told")  # what people were told


def start_log(file: Path, arguments: Sequence[str]) -> Callable[[], None]:
    """Write the rest of this run to a file, after what is there already.

    Args:
        file: of the log.
        arguments: of the command line.

    Returns:
        What ends it.

    Raises:
        click.BadParameter: the file cannot be written.
    """
    try:
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(
            f"{str(file)!r} cannot be written ({error.strerror}); name another file", param_hint="--log"
        ) from error
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("vsrcli")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    log_message(f"vsr {__version__} on {platform.platform()}, Python {platform.python_version()}")
    log_message(f"command: {shlex.join(['vsr', *arguments])}")

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()

    return end


def log_message(line: str, level: int = logging.INFO) -> None:
    """Note what somebody has just been told; nothing without a log."""
    _TOLD.log(level, "%s", line)


class LogReporter:
    """A film's course for the log, see :class:`~vsrcli.cli.reporters.Reporter`: progress once a minute."""

    INTERVAL = 60.0

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def plan(self, job: Job) -> None:
        """See ``Reporter``."""
        self.begin(job)

    def begin(self, job: Job) -> None:
        """See ``Reporter``."""
        for key, value in start_message(job).items():
            log_message(f"{key}: {value}")

    def engine(self, description: str) -> None:
        """See ``Reporter``."""
        log_message(f"engine: {description}")

    def progress(self, progress: Progress) -> None:
        """See ``Reporter``."""
        now = time.monotonic()
        if now >= self._next or progress.done == progress.total:
            self._next = now + self.INTERVAL
            log_message(f"{progress.done} of {progress.total or 'unknown'} frames, {progress.fps:.2f} fps")

    def notice(self, text: str) -> None:
        """See ``Reporter``."""
        log_message(text)

    def done(self, result: Result) -> None:
        """See ``Reporter``."""
        for warning in result.warnings:
            log_message(warning, logging.WARNING)
        log_message(f"done: {result.frames} frames in {result.seconds:.1f} s: {result.target}")


class Reporter(Protocol):
    """What a command says of one film, in this order; a context manager around the run itself."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def plan(self, job: Job) -> None:
        """What would be done, for a dry run."""

    def begin(self, job: Job) -> None:
        """What will be done."""

    def engine(self, description: str) -> None:
        """The network is loaded."""

    def progress(self, progress: Progress) -> None:
        """A frame has been written."""

    def notice(self, text: str) -> None:
        """Something worth knowing, at any time."""

    def done(self, result: Result) -> None:
        """The film is there."""


class ConsoleReporter:
    """Lines and a bar on stderr.

    Args:
        console: of stderr.
        style: one of ``messages.STYLES`` but ``json``.
        quiet: say nothing at all.
        chatty: say more.
    """

    def __init__(self, console: Console, style: str = "auto", *, quiet: bool, chatty: bool) -> None:
        self._console, self._style, self._quiet, self._chatty = console, style, quiet, chatty
        self._meter: ProgressDisplay | None = None
        self._marks: list[tuple[str, float]] = []

    def __enter__(self) -> Self:
        self._marks = [("starting the network", time.perf_counter())]
        self._meter = _meter(self._console, self._style, quiet=self._quiet)
        self._meter.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._meter is not None:
            self._meter.__exit__(*exception)
            self._meter = None

    def plan(self, job: Job) -> None:
        if not self._quiet:
            print_plan(self._console, job)

    def begin(self, job: Job) -> None:
        if not self._quiet:
            print_summary(self._console, job, verbose=self._chatty)

    def engine(self, description: str) -> None:
        self.notice(f"engine: {description}")
        self._marks.append(("first frame", time.perf_counter()))

    def progress(self, progress: Progress) -> None:
        if progress.done == progress.resumed + 1:
            self._marks.append(("other frames", time.perf_counter()))
        left = "" if progress.eta is None else f", {format_duration(progress.eta)} left"
        if self._meter is not None:
            self._meter.update(progress.done, progress.total, f"{progress.fps:.1f} fps{left}")

    def notice(self, text: str) -> None:
        if self._meter is not None:
            self._meter.print_line(f"  {text}")
        elif not self._quiet:
            print_notice(self._console, text)

    def done(self, result: Result) -> None:
        if self._chatty:
            print_timings(self._console, self._marks)
        if not self._quiet:
            print_result(self._console, result, verbose=self._chatty)


class JsonReporter:
    """JSON messages; progress at most ten times a second.

    Args:
        out: where they go.
    """

    INTERVAL = 0.1

    def __init__(self, out: JsonMessages) -> None:
        self._out = out
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def plan(self, job: Job) -> None:
        self._out.write("plan", **start_message(job))

    def begin(self, job: Job) -> None:
        self._out.write("start", **start_message(job))

    def engine(self, description: str) -> None:
        self._out.write("engine", text=description)

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next or progress.done == progress.total:
            self._next = now + self.INTERVAL
            self._out.write("progress", **progress_message(progress))

    def notice(self, text: str) -> None:
        self._out.write("notice", text=text)

    def done(self, result: Result) -> None:
        self._out.write("done", **done_message(result))


class CompositeReporter:
    """Several at once."""

    def __init__(self, *listeners: Reporter) -> None:
        self._listeners = listeners

    def __enter__(self) -> Self:
        for each in self._listeners:
            each.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._listeners:
            each.__exit__(*exception)

    def plan(self, job: Job) -> None:
        for each in self._listeners:
            each.plan(job)

    def begin(self, job: Job) -> None:
        for each in self._listeners:
            each.begin(job)

    def engine(self, description: str) -> None:
        for each in self._listeners:
            each.engine(description)

    def progress(self, progress: Progress) -> None:
        for each in self._listeners:
            each.progress(progress)

    def notice(self, text: str) -> None:
        for each in self._listeners:
            each.notice(text)

    def done(self, result: Result) -> None:
        for each in self._listeners:
            each.done(result)


def make_reporter(
    console: Console,
    style: str,
    out: JsonMessages | None,
    *,
    log: bool = False,
    quiet: bool = False,
    chatty: bool = False,
) -> Reporter:
    """Whoever is to be told.

    Args:
        console: of stderr.
        style: what ``--progress`` says.
        out: for programs, if there is one that listens.
        log: whether there is a log.
        quiet, chatty: see :class:`ConsoleReporter`.
    """
    listeners: list[Reporter] = [LogReporter()] if log else []
    if out is not None:
        listeners.append(JsonReporter(out))
    if out is None or not out.alone:
        listeners.append(ConsoleReporter(console, style, quiet=quiet, chatty=chatty))
    return CompositeReporter(*listeners)


def _meter(console: Console, style: str, *, quiet: bool) -> ProgressDisplay:
    if quiet or style == "none":
        return NoProgress()
    if style == "auto":
        return make_progress(console, "frames")
    return BarProgress(console, "frames") if style == "bar" else PlainProgress("frames")
