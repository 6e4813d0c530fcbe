"""The edge of the program, where an error becomes one line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback as tracebacks

import click

from vsrcli.errors import Interrupted, ReaderGone, VsrError


def report(error: Exception, *, traceback: bool = False) -> int:
    """Say on stderr what went wrong.

    Args:
        error: whatever a command raised.
        traceback: whether to print the stack first.

    Returns:
        The exit status that belongs to it.
    """
    if isinstance(error, BrokenPipeError | ReaderGone) or (
        isinstance(error, OSError) and error.errno == errno.EPIPE
    ):
        return _broken_pipe()
    if traceback:
        _write("".join(tracebacks.format_exception(error)).rstrip())
    if isinstance(error, Interrupted):
        _write(f"vsr: {one_line(str(error))}")
        return error.exit_status
    if isinstance(error, VsrError):
        _line(str(error))
        _details(error.details)
        return error.exit_status
    if isinstance(error, click.ClickException):
        _line(_usage(error) if isinstance(error, click.UsageError) else error.format_message())
        return 2 if isinstance(error, click.UsageError) else error.exit_code
    if isinstance(error, click.Abort):
        return interrupted()
    what = " ".join(filter(None, (type(error).__name__, str(error))))
    _line(f"unexpected {what}" + ("" if traceback else "; -v -v shows the traceback"))
    return 1


def interrupted() -> int:
    """Ctrl-C where there was nothing to clean up."""
    _write("vsr: stopped")
    return 130


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
    _write(f"{click.style(label, fg='red', bold=True) if _coloured() else label} {one_line(message)}")


def _details(details: str) -> None:
    for line in details.splitlines():
        text = f"  {one_line(line)}"
        _write(click.style(text, dim=True) if _coloured() else text)


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone: the status has to be enough
        print(text, file=sys.stderr, flush=True)


def _broken_pipe() -> int:
    """The reader of stdout has left: not worth a word, but the interpreter must not try to flush again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ReaderGone.exit_status
