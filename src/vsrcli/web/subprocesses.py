"""Short-lived child processes with limits of time and memory, which end with the server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vsrcli.web.launcher import with_parent_death_signal

_NICENESS = 5  # pages of other users come first
_POLL_INTERVAL = 0.25  # seconds between two checks for cancellation
_SECRET_VARIABLES = ("VSR_SERVE_TOKEN",)


class ChildTimeoutError(Exception):
    """The program took too long and was killed."""


class ChildCancelledError(Exception):
    """The program was killed since its result is not needed any more."""


def run_json(
    command: Sequence[str],
    *,
    timeout: float,
    memory: int | None = None,
    cwd: str = "/",
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Run a program that prints JSON, one object a line; ignore everything else that it prints.

    Args:
        command: the program.
        timeout: seconds after which it is killed.
        memory: limit of its address space in bytes; None: no limit.
        cwd: its working directory.
        is_cancelled: polled; the program is killed as soon as it returns True.

    Returns:
        The objects; an empty list if the program died.

    Raises:
        ChildTimeoutError: after ``timeout``.
        ChildCancelledError: ``is_cancelled`` returned True.
    """
    child = subprocess.Popen(
        with_parent_death_signal(with_memory_limit(command, memory), nice=_NICENESS),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=child_environment(),
        process_group=0,
    )
    deadline = time.monotonic() + timeout
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):  # communicate() keeps what it has read
                out, _ = child.communicate(timeout=max(0, min(_POLL_INTERVAL, deadline - time.monotonic())))
                return [parsed for line in out.splitlines() if isinstance(parsed := _parse(line), dict)]
            if is_cancelled():
                raise ChildCancelledError
            if time.monotonic() >= deadline:
                raise ChildTimeoutError
    finally:
        if child.returncode is None:
            kill_process_tree(child.pid)
            child.communicate()


def first_value(objects: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Return the value of the first object that has ``key``, or None."""
    return next((each[key] for each in objects if key in each), None)


def python_command(*arguments: str) -> list[str]:
    """Return ``python -m ...`` with this interpreter."""
    return [sys.executable, "-m", *arguments]


def child_environment() -> dict[str, str]:
    """Return the environment of children: no secrets, and no settings files of the server's user."""
    inherited = {name: value for name, value in os.environ.items() if name not in _SECRET_VARIABLES}
    return {**inherited, "VSR_CONFIG": "", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def with_memory_limit(command: Sequence[str], memory: int | None) -> list[str]:
    """Return the command line that runs ``command`` with limited address space, on Linux."""
    if memory is None or sys.platform != "linux":
        return list(command)
    code = (
        "import os, resource, sys;"
        "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2);"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", code, str(memory), *command]


def kill_process_tree(pid: int) -> None:
    """Kill a process and everything that it has started."""
    import signal

    import psutil

    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                each.kill()
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _parse(line: bytes | str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
