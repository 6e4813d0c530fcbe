"""The edge of the program, where an error becomes one line on stderr and an exit status.

stdin, stdout and stderr, whatever the caller has made of them.

A film of six days must not end because the terminal that it was started from is gone, or because somebody
reads no more of its messages than the first line.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback as tracebacks
from pathlib import Path
from typing import Any, TextIO

import click

from vsrcli.cli.messages import JsonMessages
from vsrcli.errors import ReaderClosedError, SignalInterruptError, VsrError
from vsrcli.images.naming import NAME_WILDCARD, parse_target
from vsrcli.media.y4m import STDIO


def report_error(error: Exception, *, traceback: bool = False, messages: JsonMessages | None = None) -> int:
    """Say on stderr what went wrong.

    Args:
        error: whatever a command raised.
        traceback: whether to print the stack first.
        messages: of a program that listens; told, too, and alone if stderr is its own.

    Returns:
        The exit status that belongs to it.
    """
    if isinstance(error, BrokenPipeError | ReaderClosedError) or (
        isinstance(error, OSError) and error.errno == errno.EPIPE
    ):
        return _broken_pipe()
    if traceback:
        _write("".join(tracebacks.format_exception(error)).rstrip())
    if isinstance(error, click.Abort):
        return report_interrupt(messages)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # `vsr`, `vsr config`: nothing to do
        _write(error.message if sys.stderr.isatty() else click.unstyle(error.message))
        return error.exit_code
    status, text, details = _described(error, traceback=traceback)
    _log(error, "\n  ".join([text, *details]))
    if messages is not None:
        stopped = isinstance(error, SignalInterruptError)
        messages.write("stopped" if stopped else "error", status=status, text=text, details=details)
        if messages.alone:
            return status
    if isinstance(error, SignalInterruptError):
        _write(f"vsr: {text}")
    else:
        _line(text)
    for line in details:
        _write(click.style(f"  {line}", dim=True) if _coloured() else f"  {line}")
    return status


def report_interrupt(messages: JsonMessages | None = None) -> int:
    """Ctrl-C where there was nothing to clean up."""
    if messages is not None:
        messages.write("stopped", status=130, text="stopped", details=[])
    if messages is None or not messages.alone:
        _write("vsr: stopped")
    return 130


def _log(error: Exception, text: str) -> None:
    """For ``--log``; with the traceback of what nobody expected."""
    logger = logging.getLogger("vsrcli.told")
    expected = isinstance(error, VsrError | click.ClickException)
    logger.log(
        logging.ERROR if logger.hasHandlers() else logging.DEBUG, text, exc_info=None if expected else error
    )


def _described(error: Exception, *, traceback: bool) -> tuple[int, str, list[str]]:
    """Exit status, one line, and more lines."""
    if isinstance(error, VsrError):
        return (
            error.exit_status,
            one_line(str(error)),
            [one_line(line) for line in error.details.splitlines()],
        )
    if isinstance(error, click.UsageError):
        return 2, one_line(_usage(error)), []
    if isinstance(error, click.ClickException):
        return error.exit_code, one_line(error.format_message()), []
    what = " ".join(filter(None, (type(error).__name__, str(error))))
    return 1, one_line(f"unexpected {what}" + ("" if traceback else "; -v -v shows the traceback")), []


def one_line(text: str) -> str:
    """``text`` without line breaks and control characters (file names may hold both)."""
    text = " ".join(text.rstrip().splitlines())
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def _usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "vsr"
    return f"{message}; see `{command} --help`"


def _line(message: str) -> None:
    label = "vsr: error:"
    _write(f"{click.style(label, fg='red', bold=True) if _coloured() else label} {message}")


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone: the status has to be enough
        print(text, file=sys.stderr, flush=True)


def _broken_pipe() -> int:
    """The reader of stdout has left: not worth a word, but the interpreter must not try to flush again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ReaderClosedError.exit_status


def prepare_stdio() -> None:
    """Open those that are closed (or else the next file opened would become one of them), and let messages
    fall where nobody reads them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or _written(1)
    sys.stderr = BrokenPipeSafeStream(sys.stderr or _written(2))


class BrokenPipeSafeStream:
    """A text file whose reader may leave."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """As a file's; what cannot be written is dropped, and all that follows."""
        try:
            return self._file.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """As a file's."""
        try:
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class SourcePath(click.Path):
    """A film's name; ``-`` is stdin or stdout, and ``./-`` a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        path: Any = super().convert(value, param, ctx)
        return path.absolute() if path == STDIO and str(value) != str(STDIO) else path


class TargetPath(SourcePath):
    """The same of what is written; ``out/`` is a folder, even if there is none yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        path = super().convert(value, param, ctx)
        named = parse_target(value)
        return named if named.name == NAME_WILDCARD else path


def _written(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)
