"""Shared parts of the benchmarks: the machine, networks with random weights, generated videos, tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from vsrcli.inference.keras import silence_native_stderr
from vsrcli.models.architectures import architecture
from vsrcli.models.weights import SUFFIX, Weights, file_sha256, read_weights


def machine() -> str:
    """Return processor, cores and versions in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(
        f"{package} {version(package)}" for package in ("tensorflow", "keras", "numpy", "av")
    )
    counted = f"{cores} core{'s' * (cores != 1)}"
    return f"{name}, {counted}{load}; {platform.system()}, Python {platform.python_version()}, {packages}"


def weights_for(model: str, scale: int, folder: Path) -> Weights:
    """Return a weight file by its path; for a name, write one of that architecture with random weights.

    Speed and memory do not depend on the values of weights.
    """
    if model.endswith(SUFFIX):
        return read_weights(Path(model))
    with silence_native_stderr():
        import keras

    keras.utils.set_random_seed(0)
    path = folder / f"{model}-x{scale}{SUFFIX}"
    architecture(model).build(scale).save_weights(path)
    card = {
        "architecture": model,
        "scale": scale,
        "degradation": "none",
        "phase": "centre",
        "sha256": file_sha256(path),
    }
    path.with_name(path.name.removesuffix(SUFFIX) + ".json").write_text(json.dumps(card), encoding="utf-8")
    return read_weights(path)


def generate_video(size: str, frames: int, folder: Path, *, rate: int = 30) -> Path:
    """Return a video of a moving test pattern, nearly lossless; generated once per folder."""
    from vsrcli.bench.peak_memory import generate_test_clip

    path = folder / f"generated-{size}-{frames}.mp4"
    width, height = (int(side) for side in size.split("x"))
    return path if path.is_file() else generate_test_clip(path, width, height, frames, rate=rate)


class Table:
    """A table, aligned for a terminal or in Markdown.

    Args:
        heads: headings of the columns.
        markdown: print Markdown.
    """

    def __init__(self, heads: Sequence[str], *, markdown: bool = False) -> None:
        self._rows = [list(heads)]
        self._markdown = markdown

    def row(self, *cells: object) -> None:
        """Add a row."""
        self._rows.append([str(cell) for cell in cells])

    def print(self) -> None:
        """Print the table."""
        widths = [max(len(row[column]) for row in self._rows) for column in range(len(self._rows[0]))]
        for number, row in enumerate(self._rows):
            if self._markdown:
                print(f"| {' | '.join(row)} |")
                if number == 0:
                    print(f"|{'|'.join(['---'] + ['---:'] * (len(row) - 1))}|")
            else:
                first, *others = zip(row, widths, strict=True)
                print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))


def run(line: Sequence[str], **changes: str) -> None:
    """Run a command; exit with its messages if it fails."""
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **changes}, check=False)
    if done.returncode:
        raise SystemExit(f"{line[0]} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
