"""Run child processes that end with this program, and that a stop of it ends, too."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vsrcli.system import signals
from vsrcli.system.signals import POLL_INTERVAL, raise_if_cancelled


def python_command(module: str, *arguments: str) -> list[str]:
    """Return ``python -m MODULE ...`` with this interpreter.

    It imports nothing from the current folder, unless this program lies in it.
    """
    is_here = False
    with contextlib.suppress(OSError):  # the current folder is gone
        is_here = Path.cwd() == Path(__file__).parents[2]
    return [sys.executable, *([] if is_here else ["-P"]), "-m", module, *arguments]


def start_process(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a process group of its own, so that Ctrl-C in a terminal does not reach it.

    It is killed if this program is left without cleanup.

    Args:
        command: executable and arguments.
        options: of ``Popen``.

    Raises:
        OSError: it could not be started.
    """
    group: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    child = subprocess.Popen(command, **group, **options)
    signals.children.add(child)
    return child


def run_process(
    command: Sequence[str],
    *,
    input: Any = None,
    timeout: float | None = None,
    progress: Callable[[bytes], object] = lambda output: None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as ``subprocess.run`` does; kill it if this program has to stop.

    Args:
        command: executable and arguments.
        input: for its stdin, if that is a pipe.
        timeout: seconds after which it is killed; None: never.
        progress: receives its output so far, where the system can tell; ``timeout`` counts anew from every
            change of what this returns.
        options: of ``Popen``.

    Raises:
        OSError: it could not be started.
        subprocess.TimeoutExpired: after ``timeout``; with its output so far, where the system can tell.
        SignalInterruptError: a signal has arrived.
    """
    end, reached = None if timeout is None else time.monotonic() + timeout, progress(b"")
    with start_process(command, **options) as child:
        try:
            while True:
                raise_if_cancelled()
                try:
                    out, err = child.communicate(input, timeout=POLL_INTERVAL)
                    return subprocess.CompletedProcess(command, child.returncode, out, err)
                except subprocess.TimeoutExpired as waiting:  # what was read is not lost
                    if timeout is not None and (now_reached := progress(waiting.output or b"")) != reached:
                        end, reached = time.monotonic() + timeout, now_reached
                    if end is not None and time.monotonic() >= end:
                        out, err = waiting.output, waiting.stderr
                        raise subprocess.TimeoutExpired(command, timeout or 0, out, err) from None
                input = None
        except BaseException:
            child.kill()
            raise
