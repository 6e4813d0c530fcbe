"""Run the command line under test in a process of its own, and describe its outcome."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

import vsrcli


@dataclass(frozen=True)
class Outcome:
    """Exit status and output of a command line."""

    status: int
    out: str
    err: str

    def fails(self, status: int, *words: str) -> None:
        """Assert that it ended with ``status`` and one error line, which contains ``words``."""
        assert self.status == status, self.err
        assert self.out == ""
        errors = [line for line in self.err.splitlines() if line.startswith("vsr: error: ")]
        assert len(errors) == 1, self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in errors[0]


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment for a child that imports the package under test."""
    home = str(Path(vsrcli.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": home, "PYTHONWARNINGS": "error::RuntimeWarning", **changes}


def spawn(*arguments: str | Path, cwd: Path | None = None, **changes: str) -> subprocess.Popen[str]:
    """Start ``vsr`` with all its streams piped."""
    command = [sys.executable, "-m", "vsrcli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        encoding="utf-8",
    )


def complete(child: subprocess.Popen[str], *, stderr: str = "", timeout: float = 60) -> Outcome:
    """Wait for a child; ``stderr`` has been read of it before."""
    try:
        out, err = child.communicate(timeout=timeout)
    finally:
        child.kill()
    return Outcome(child.returncode, out, stderr + err)


def read_until(child: subprocess.Popen[str], word: str) -> str:
    """Return lines of the child's stderr up to one that contains ``word``."""
    assert child.stderr is not None
    lines = ""
    while word not in lines:
        line = child.stderr.readline()
        assert line, f"ended without {word!r}: {lines}"
        lines += line
    return lines


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], object], *, within: float = 20) -> None:
    """Poll until ``condition()`` is true; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
