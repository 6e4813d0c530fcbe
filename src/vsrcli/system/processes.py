"""Run child processes that end with this program, and that a stop of it ends, too."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from vsrcli.system.signals import POLL_INTERVAL, raise_if_cancelled

OWN_PROCESS_GROUP: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if sys.platform == "win32"
    else {"process_group": 0}
)
"""Arguments of ``Popen`` for a child that Ctrl-C in a terminal does not reach."""


def run_process(
    command: Sequence[str], *, input: Any = None, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as ``subprocess.run`` does; kill it if this program has to stop.

    Args:
        command: executable and arguments.
        input: for its stdin, if that is a pipe.
        timeout: seconds after which it is killed; None: never.
        options: of ``Popen``.

    Raises:
        OSError: it could not be started.
        subprocess.TimeoutExpired: after ``timeout``.
        SignalInterruptError: a signal has arrived.
    """
    end = None if timeout is None else time.monotonic() + timeout
    with subprocess.Popen(command, **options) as child:
        try:
            while True:
                raise_if_cancelled()
                with contextlib.suppress(subprocess.TimeoutExpired):  # what was read is not lost
                    out, err = child.communicate(input, timeout=POLL_INTERVAL)
                    return subprocess.CompletedProcess(command, child.returncode, out, err)
                input = None
                if end is not None and time.monotonic() >= end:
                    raise subprocess.TimeoutExpired(command, timeout or 0)
        except BaseException:
            child.kill()
            raise
