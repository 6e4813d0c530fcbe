"""Programs that the server runs for a moment: on a leash, with limits of time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vsrcli.web.leash import leashed

_KEPT_OUT = ("VSR_SERVE_TOKEN",)


class Late(Exception):  # noqa: N818 - it is not an error of anything
    """The program took too long and was killed."""


def environment() -> dict[str, str]:
    """For children: no secrets, and no settings of whoever started the server."""
    there = {name: value for name, value in os.environ.items() if name not in _KEPT_OUT}
    return {**there, "VSR_CONFIG": "", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> list[str]:
    """``python -m ...`` with this interpreter."""
    return [sys.executable, "-m", *arguments]


def ask(
    command: Sequence[str], *, seconds: float, memory: int | None = None, cwd: str = "/"
) -> list[dict[str, Any]]:
    """Run a program that prints JSON, one object a line; what else it prints is passed over.

    Args:
        command: the program.
        seconds: after which it is killed.
        memory: bytes of address space that it may take; None: no limit.
        cwd: where it runs.

    Returns:
        The objects; none if it died.

    Raises:
        Late: the time is over.
    """
    child = subprocess.Popen(
        leashed(limited(command, memory)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=environment(),
        process_group=0,
    )
    try:
        out, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        end(child.pid)
        child.communicate()
        raise Late from None
    return [found for line in out.splitlines() if isinstance(found := _parsed(line), dict)]


def limited(command: Sequence[str], memory: int | None) -> list[str]:
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


def end(pid: int) -> None:
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


def facts_of(found: Sequence[Mapping[str, Any]], key: str) -> Any:
    """The value of the first object that has ``key``, or None."""
    return next((each[key] for each in found if key in each), None)
