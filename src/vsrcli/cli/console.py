"""Standard streams and errors: what a user sees when something goes wrong, and the exit status.

An error is one line on stderr, with details indented below it. Standard streams may be closed, and their
readers may leave: a run of six days must not end because the terminal it was started from is gone, or because
its messages go to ``head -1``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback as tracebacks
from io import TextIOWrapper
from typing import Any, TextIO

import click

from vsrcli.cli.messages import JsonMessages
from vsrcli.errors import ReaderClosedError, SignalInterruptError, VsrError, describe_unexpected


def prepare_stdio() -> None:
    """Open standard streams that are closed, and make writing to stderr safe against a reader that leaves.

    Otherwise the next file that is opened would become stdin, stdout or stderr. What stdout cannot encode,
    such as file names that are not Unicode, becomes an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
    sys.stdout = sys.stdout or _open_for_writing(1)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = BrokenPipeSafeStream(sys.stderr or _open_for_writing(2))


def report_error(error: Exception, *, traceback: bool = False, messages: JsonMessages | None = None) -> int:
    """Print an error on stderr, and write it to the log.

    Args:
        error: any error that a command raised.
        traceback: print the stack first.
        messages: also write a JSON message; if these use stderr, nothing else is printed there.

    Returns:
        The exit status for this error.
    """
    if isinstance(error, BrokenPipeError | ReaderClosedError) or (
        isinstance(error, OSError) and error.errno == errno.EPIPE
    ):
        return _broken_pipe()
    stack = "".join(tracebacks.format_exception(error)).rstrip() if traceback else ""
    if stack and not (messages is not None and messages.uses_stderr):
        _write(stack)
    if isinstance(error, click.Abort):
        return report_interrupt(messages)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # `vsr`, `vsr config`: nothing to do
        _write(error.message if sys.stderr.isatty() else click.unstyle(error.message))
        return error.exit_code
    status, text, details = _describe(error, traceback=traceback)
    _log(error, "\n  ".join([text, *details]))
    if messages is not None:
        stopped = isinstance(error, SignalInterruptError)
        lines = [*details, *stack.splitlines()] if messages.uses_stderr else details
        messages.write("stopped" if stopped else "error", status=status, text=text, details=lines)
        if messages.uses_stderr:
            return status
    if isinstance(error, SignalInterruptError):
        _write(f"vsr: {text}")
    else:
        _print_error(text)
    for line in details:
        _write(click.style(f"  {line}", dim=True) if _uses_colour() else f"  {line}")
    return status


def report_interrupt(messages: JsonMessages | None = None) -> int:
    """Print that Ctrl-C stopped the program where nothing had to be cleaned up; return the exit status."""
    if messages is not None:
        messages.write("stopped", status=130, text="stopped", details=[])
    if messages is None or not messages.uses_stderr:
        _write("vsr: stopped")
    return 130


def one_line(text: str) -> str:
    """Return ``text`` without line breaks and control characters; file names may contain both."""
    text = " ".join(text.rstrip().splitlines())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class BrokenPipeSafeStream:
    """A text stream that drops everything once its reader has left."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write ``text``, or drop it and everything after it."""
        try:
            return self._file.write(text)
        except OSError:
            self._redirect_to_null()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop everything from now on."""
        try:
            self._file.flush()
        except OSError:
            self._redirect_to_null()

    def _redirect_to_null(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._file.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _log(error: Exception, text: str) -> None:
    """Write an error to the log; unexpected ones with their traceback."""
    logger = logging.getLogger("vsrcli.messages")
    expected = isinstance(error, VsrError | click.ClickException)
    logger.log(
        logging.ERROR if logger.hasHandlers() else logging.DEBUG, text, exc_info=None if expected else error
    )


def _describe(error: Exception, *, traceback: bool) -> tuple[int, str, list[str]]:
    """Return exit status, message and further lines."""
    if isinstance(error, VsrError):
        details = [one_line(line) for line in error.details.splitlines()]
        return error.exit_status, one_line(str(error)), details
    if isinstance(error, click.UsageError):
        return 2, one_line(_describe_usage(error)), []
    if isinstance(error, click.ClickException):
        return error.exit_code, one_line(error.format_message()), []
    text = describe_unexpected(error)
    hint = "; -v -v shows the traceback" if text.startswith("unexpected ") and not traceback else ""
    return 1, one_line(text + hint), []


def _describe_usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "vsr"
    return f"{message}; see `{command} --help`"


def _print_error(message: str) -> None:
    label = "vsr: error:"
    _write(f"{click.style(label, fg='red', bold=True) if _uses_colour() else label} {message}")


def _uses_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone: only the exit status remains
        print(text, file=sys.stderr, flush=True)


def _broken_pipe() -> int:
    """Redirect stdout, whose reader has left, so that the interpreter does not fail to flush it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ReaderClosedError.exit_status


def _open_for_writing(descriptor: int) -> TextIO:
    return open(descriptor, "w", encoding="utf-8", closefd=False)
