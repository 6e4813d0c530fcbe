"""What every benchmark states and needs: the machine, and networks of real size with random weights."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from vsrcli.engine.backend import quiet_import
from vsrcli.models.registry import SUFFIX, Weights, architecture, read_weights, sha256


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
    with quiet_import():
        import keras

    keras.utils.set_random_seed(0)
    path = folder / f"{model}-x{scale}{SUFFIX}"
    architecture(model).build(scale).save_weights(path)
    card = {
        "architecture": model,
        "scale": scale,
        "degradation": "none",
        "phase": "centre",
        "sha256": sha256(path),
    }
    path.with_name(path.name.removesuffix(SUFFIX) + ".json").write_text(json.dumps(card), encoding="utf-8")
    return read_weights(path)
