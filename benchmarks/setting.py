"""What every benchmark states and needs: the machine, and networks of real size with random weights."""

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
    """Processor, cores and versions, in one line."""
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
    return f"{name}, {cores} cores{load}; {platform.system()}, Python {platform.python_version()}, {packages}"


def weights_for(model: str, scale: int, folder: Path) -> Weights:
    """A weight file by its path; for a name, a network of that architecture with random weights.

    Speed and memory do not depend on what a network has learnt, so untrained ones can be measured.
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


def film(size: str, frames: int, folder: Path, *, rate: int = 30) -> Path:
    """A generated film of a moving test picture, lossless or nearly so; made once in a folder."""
    from vsrcli.bench.peak_memory import generate

    path = folder / f"generated-{size}-{frames}.mp4"
    width, height = (int(side) for side in size.split("x"))
    return path if path.is_file() else generate(path, width, height, frames, rate=rate)


class Table:
    """Rows under a heading, aligned for a terminal or as Markdown.

    Args:
        heads: of the columns.
        markdown: which of the two.
    """

    def __init__(self, heads: Sequence[str], *, markdown: bool = False) -> None:
        self._rows = [list(heads)]
        self._markdown = markdown

    def row(self, *cells: object) -> None:
        """Add a row."""
        self._rows.append([str(cell) for cell in cells])

    def print(self) -> None:
        """Write it to standard output."""
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
    """Run a command to its end; leave this program with its words if it fails."""
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **changes}, check=False)
    if done.returncode:
        raise SystemExit(f"{line[0]} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
