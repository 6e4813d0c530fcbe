"""Programs that the server runs for a moment: on a leash, with limits of time and memory."""

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

_STEP_BACK = 5  # niceness: somebody waits for the answer, but the pages of all others come first
_LOOK = 0.25  # seconds between two looks at whether the answer is still wanted
_KEPT_OUT = ("VSR_SERVE_TOKEN",)


class ChildTimeoutError(Exception):
    """The program took too long and was killed."""


class ChildCancelledError(Exception):
    """Nobody wants the answer any more; the program was killed."""


def environment() -> dict[str, str]:
    """For children: no secrets, and no settings of whoever started the server."""
    there = {name: value for name, value in os.environ.items() if name not in _KEPT_OUT}
    return {**there, "VSR_CONFIG": "", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> list[str]:
    """``python -m ...`` with this interpreter."""
    return [sys.executable, "-m", *arguments]


def run_json(
    command: Sequence[str],
    *,
    seconds: float,
    memory: int | None = None,
    cwd: str = "/",
    unwanted: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Run a program that prints JSON, one object a line; what else it prints is passed over.

    Args:
        command: the program.
        seconds: after which it is killed.
        memory: bytes of address space that it may take; None: no limit.
        cwd: where it runs.
        unwanted: asked now and then; the program is killed as soon as it says so.

    Returns:
        The objects; none if it died.

    Raises:
        Late: the time is over.
        Unwanted: nobody waits for it any more.
    """
    child = subprocess.Popen(
        with_parent_death_signal(with_memory_limit(command, memory), nice=_STEP_BACK),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=environment(),
        process_group=0,
    )
    deadline = time.monotonic() + seconds
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):  # what it has printed by then is kept
                out, _ = child.communicate(timeout=max(0, min(_LOOK, deadline - time.monotonic())))
                return [found for line in out.splitlines() if isinstance(found := _parsed(line), dict)]
            if unwanted():
                raise ChildCancelledError
            if time.monotonic() >= deadline:
                raise ChildTimeoutError
    finally:
        if child.returncode is None:
            kill_tree(child.pid)
            child.communicate()


def with_memory_limit(command: Sequence[str], memory: int | None) -> list[str]:
    """The command line with less memory, where the system can do that."""
    if memory is None or sys.platform != "linux":
        return list(command)
    code = (
        "import os, resource, sys;"
        "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2);"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", code, str(memory), *command]


def kill_tree(pid: int) -> None:
    """Kill a process with all that it has started."""
    import signal

    import psutil

    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                each.kill()
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _parsed(line: bytes | str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def inspect_file(found: Sequence[Mapping[str, Any]], key: str) -> Any:
    """The value of the first object that has ``key``, or None."""
    return next((each[key] for each in found if key in each), None)
