"""Keras' backend and its GPUs, asked in a process of its own: a broken driver may take it down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from vsrcli.doctor.finding import NOTE, OK, PROBLEM, Finding

_ASK = """
import json
from vsrcli.inference.keras import gpus
found = gpus()
import keras
print(json.dumps({"backend": keras.backend.backend(), "gpus": found}))
"""
_START_TIMEOUT = 180
_ILLEGAL = -4  # SIGILL


def check_backend() -> Iterator[Finding]:
    """Whether Keras starts, and on what."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_START_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding(
            "Keras", PROBLEM, f"does not start within {_START_TIMEOUT} s", "see whether a driver hangs"
        )
        return
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        remedy = "pip install --force-reinstall tensorflow"
        if done.returncode == _ILLEGAL:
            last, remedy = ["made for another processor than this one"], "install a build for this processor"
        yield Finding("Keras", PROBLEM, f"does not start: {last[0]}", remedy)
        return
    answer = json.loads(done.stdout.splitlines()[-1])
    yield Finding("Keras", OK, f"starts on {answer['backend']}")
    yield check_gpu(answer["backend"], answer["gpus"])


def check_gpu(name: str, seen: list[str]) -> Finding:
    """The GPUs that a backend sees; if it sees none, why.

    Args:
        name: of the backend.
        seen: names of GPUs.
    """
    if seen:
        return Finding("GPU", OK, ", ".join(seen))
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return Finding(
            "GPU", NOTE, "CUDA_VISIBLE_DEVICES hides every GPU", "unset it, unless that is what you want"
        )
    program = shutil.which("nvidia-smi")
    nodes = sorted(Path("/dev").glob("nvidia[0-9]*")) if sys.platform.startswith("linux") else []
    if program is None and not nodes:
        return Finding("GPU", OK, "none found: films are computed on the CPU")
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            "GPU", PROBLEM, f"{', '.join(closed)} may not be opened by this user", "ask who runs it"
        )
    if program is None or _driver_fails(program):
        return Finding(
            "GPU", PROBLEM, "there is one, and its driver does not answer", "run nvidia-smi, and restart"
        )
    if name == "tensorflow":
        return Finding(
            "GPU",
            PROBLEM,
            "TensorFlow does not use it: its CUDA libraries are missing, or newer than the driver",
            "pip install 'vsrcli[cuda]', or a newer driver",
        )
    return Finding("GPU", PROBLEM, f"there is one, and {name} does not see it", f"install {name} with CUDA")


def _driver_fails(program: str) -> bool:
    try:
        return subprocess.run([program, "-L"], capture_output=True, timeout=30, check=False).returncode != 0
    except (OSError, subprocess.TimeoutExpired):
        return True
