"""``--log FILE``: what was said on stderr and which commands ran, with times, for a report."""

from __future__ import annotations

import logging
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from vsrcli import __version__
from vsrcli.cli.messages import start_message

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
    """A film's course for the log, see :class:`~vsrcli.cli.telling.Reporter`: progress once a minute."""

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
