"""Child processes of the web server and of the worker, which end with them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from vsrcli.system.processes import start_process

_NICENESS = 5  # pages of other users come first
_SECRET_VARIABLES = ("VSR_SERVE_TOKEN", "VSR_SERVE_QUEUE")  # an address of Redis may hold a password
_DROPPED_VARIABLES = (*_SECRET_VARIABLES, "VSR_PROFILE")  # a profile is part of the settings files
_POLL_INTERVAL = 0.25  # seconds between two checks for cancellation


class ChildTimeoutError(Exception):
    """The program took too long and was killed."""


class ChildCancelledError(Exception):
    """The program was killed since its result is not needed any more."""


def start_child(
    command: Sequence[str],
    *,
    nice: int,
    memory: int | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Collection[int] = (),
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, to be killed when the calling thread ends.

    It gets no secrets and no settings files of the server's user.

    Args:
        command: the program, by its path, and its arguments.
        nice: niceness, 0 to 19.
        memory: limit of its address space in bytes, on Linux; None: no limit.
        environment: further variables.
        stdout, stderr, pass_fds, cwd: as for :class:`subprocess.Popen`.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _DROPPED_VARIABLES}
    own = {"VSR_CONFIG": "", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    limits = [str(number) for number in (os.getpid(), nice, memory or 0)]
    return start_process(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py")), *limits, *command],
        stdin=subprocess.DEVNULL,
        env={**inherited, **own, **(environment or {})},
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        cwd=cwd,
    )


def run_json(
    command: Sequence[str],
    *,
    timeout: float,
    memory: int | None = None,
    cwd: Path = Path("/"),
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Run a program that prints JSON, one object a line; ignore everything else that it prints.

    Args:
        command, memory, cwd: see :func:`start_child`.
        timeout: seconds after which it is killed.
        is_cancelled: polled; the program is killed as soon as it returns True.

    Returns:
        The objects; an empty list if the program died.

    Raises:
        ChildTimeoutError: after ``timeout``.
        ChildCancelledError: ``is_cancelled`` returned True.
    """
    child = start_child(
        command, nice=_NICENESS, memory=memory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=cwd
    )
    deadline = time.monotonic() + timeout
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):  # communicate() keeps what it has read
                out, _ = child.communicate(timeout=max(0, min(_POLL_INTERVAL, deadline - time.monotonic())))
                return [message for line in out.splitlines() if (message := parse_message(line))]
            if is_cancelled():
                raise ChildCancelledError
            if time.monotonic() >= deadline:
                raise ChildTimeoutError
    finally:
        if child.returncode is None:
            kill_process_tree(child.pid)
            child.communicate()


def parse_message(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line; an empty one for anything else."""
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def first_value(objects: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Return the value of the first object that has ``key``, or None."""
    return next((each[key] for each in objects if key in each), None)


def kill_process_tree(pid: int) -> None:
    """Kill a process and everything that it has started."""
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                each.kill()
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
