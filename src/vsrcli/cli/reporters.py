"""Reporters of a run: lines and a bar for people, JSON messages for programs, a log file.

A command makes its reporter with :func:`make_reporter`; a run calls it, see
:class:`~vsrcli.pipeline.progress.Reporter`.
"""

from __future__ import annotations

import logging
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console

from vsrcli._version import __version__
from vsrcli.cli.messages import JsonMessages, done_message, pieces_message, progress_message, start_message
from vsrcli.cli.progress import BarProgress, PlainProgress, ProgressDisplay, make_progress
from vsrcli.cli.summary import print_notice, print_plan, print_result, print_summary, print_timings
from vsrcli.pipeline.progress import CompositeReporter, Progress, Reporter, Result
from vsrcli.system.text import format_duration

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job

_LOGGER = logging.getLogger("vsrcli.messages")


def make_reporter(
    console: Console,
    style: str,
    messages: JsonMessages | None,
    *,
    log: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> Reporter:
    """Return the reporter for the options of a command.

    Args:
        console: of stderr.
        style: value of ``--progress``.
        messages: for JSON messages, if they were requested.
        log: whether a log is being written.
        quiet, verbose: see :class:`ConsoleReporter`.
    """
    reporters: list[Reporter] = [LogReporter()] if log else []
    if messages is not None:
        reporters.append(JsonReporter(messages))
    if messages is None or not messages.uses_stderr:
        reporters.append(ConsoleReporter(console, style, quiet=quiet, verbose=verbose))
    return CompositeReporter(*reporters)


class ConsoleReporter(Reporter):
    """Prints lines and a progress bar on stderr.

    Args:
        console: of stderr.
        style: one of ``messages.STYLES`` but ``json``.
        quiet: print nothing at all.
        verbose: print streams, timings and shots, too.
    """

    def __init__(self, console: Console, style: str = "auto", *, quiet: bool, verbose: bool) -> None:
        self._console, self._style, self._quiet, self._verbose = console, style, quiet, verbose
        self._display: ProgressDisplay | None = None
        self._phases: list[tuple[str, float]] = []

    def __enter__(self) -> Self:
        self._phases = [("starting the network", time.perf_counter())]
        self._display = _make_display(self._console, self._style, quiet=self._quiet)
        self._display.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._display is not None:
            self._display.__exit__(*exception)
            self._display = None

    def plan(self, job: Job) -> None:
        if not self._quiet:
            print_plan(self._console, job)

    def start(self, job: Job) -> None:
        if not self._quiet:
            print_summary(self._console, job, verbose=self._verbose)

    def engine(self, description: str) -> None:
        self.notice(f"engine: {description}")
        self._phases.append(("first frame", time.perf_counter()))

    def progress(self, progress: Progress) -> None:
        if progress.done == progress.resumed + 1:
            self._phases.append(("other frames", time.perf_counter()))
        left = "" if progress.eta is None else f", {format_duration(progress.eta)} left"
        left += "" if progress.pieces is None else f"; {progress.pieces}"
        if self._display is not None:
            self._display.update(progress.done, progress.total, f"{progress.fps:.1f} fps{left}")

    def notice(self, text: str) -> None:
        if self._display is not None:
            self._display.print_line(f"  {text}")
        elif not self._quiet:
            print_notice(self._console, text)

    def done(self, result: Result) -> None:
        if self._verbose:
            print_timings(self._console, self._phases)
        if not self._quiet:
            print_result(self._console, result, verbose=self._verbose)


class JsonReporter(Reporter):
    """Writes JSON messages, ``progress`` at most every :attr:`INTERVAL` seconds and at the last frame."""

    INTERVAL = 0.1

    def __init__(self, messages: JsonMessages) -> None:
        self._messages = messages
        self._next_progress = 0.0

    def plan(self, job: Job) -> None:
        self._messages.write("plan", **start_message(job), **pieces_message(job))

    def start(self, job: Job) -> None:
        self._messages.write("start", **start_message(job))

    def engine(self, description: str) -> None:
        self._messages.write("engine", text=description)

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_progress or progress.done == progress.total:
            self._next_progress = now + self.INTERVAL
            self._messages.write("progress", **progress_message(progress))

    def notice(self, text: str) -> None:
        self._messages.write("notice", text=text)

    def done(self, result: Result) -> None:
        self._messages.write("done", **done_message(result))


class LogReporter(Reporter):
    """Writes to the log, progress at most every :attr:`INTERVAL` seconds and at the last frame."""

    INTERVAL = 60.0

    def __init__(self) -> None:
        self._next_progress = 0.0

    def plan(self, job: Job) -> None:
        self.start(job)

    def start(self, job: Job) -> None:
        for key, value in start_message(job).items():
            log_message(f"{key}: {value}")

    def engine(self, description: str) -> None:
        log_message(f"engine: {description}")

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_progress or progress.done == progress.total:
            self._next_progress = now + self.INTERVAL
            log_message(f"{progress.done} of {progress.total or 'unknown'} frames, {progress.fps:.2f} fps")

    def notice(self, text: str) -> None:
        log_message(text)

    def done(self, result: Result) -> None:
        for warning in result.warnings:
            log_message(warning, logging.WARNING)
        log_message(f"done: {result.frames} frames in {result.seconds:.1f} s: {result.target}")


def start_log(file: Path, arguments: Sequence[str]) -> Callable[[], None]:
    """Append messages and actions of this run to a log file, with UTC times.

    Args:
        file: created if missing.
        arguments: of the command line, for the log's first lines.

    Returns:
        A function that ends the log.

    Raises:
        click.BadParameter: the file cannot be written.
    """
    try:
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise click.BadParameter(
            f"{str(file)!r} cannot be written ({error.strerror}); name another file", param_hint="--log"
        ) from error
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("vsrcli")
    previous_level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    log_message(f"vsr {__version__} on {platform.platform()}, Python {platform.python_version()}")
    log_message(f"command: {shlex.join(['vsr', *arguments])}")

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(previous_level)
        handler.close()

    return end


def log_message(line: str, level: int = logging.INFO) -> None:
    """Write a line to the log, if there is one."""
    _LOGGER.log(level, "%s", line)


def _make_display(console: Console, style: str, *, quiet: bool) -> ProgressDisplay:
    if quiet or style == "none":
        return ProgressDisplay()
    if style == "auto":
        return make_progress(console, "frames")
    return BarProgress(console, "frames") if style == "bar" else PlainProgress("frames")
