"""The engines that TensorRT builds on ONNX Runtime, in the user's cache folder: building takes minutes.

ONNX Runtime writes and reads them. It does not write them in one step, so a full disk or the end of the
process may leave a part of one, on which it fails from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from vsrcli.inference.graph_cache import cache_folder, remove_oldest, unwritable_notice
from vsrcli.models.weights import file_sha256

_TIMING_SUFFIX = ".timing"  # of files that all networks share
# What ONNX Runtime and TensorRT write about a file of theirs; not the names of the options.
_DAMAGED = re.compile(r"deserializ|(engine|timing) ?cache|\.(engine|timing)\b", re.IGNORECASE)


def engine_folder(model: bytes | str, sides: Mapping[str, int], sha256: str = "") -> Path:
    """Return the folder of the engines of a network and the lengths of its sides.

    ONNX Runtime finds an engine by the names in the graph alone, which networks of the same structure share.

    Args:
        model: content or path of an ONNX file.
        sides: lengths of sides that the file names.
        sha256: of all files of the network, if it is known.
    """
    if isinstance(model, bytes):
        sha256 = hashlib.sha256(model).hexdigest()
    else:
        sha256 = sha256 or file_sha256(Path(model))
    key = " ".join([sha256, *(f"{side}={length}" for side, length in sorted(sides.items()))])
    return _folder() / hashlib.sha256(key.encode()).hexdigest()[:32]


def cache_options(engines: Path) -> dict[str, str]:
    """Return TensorRT's options to keep engines in a folder, which is created; none if that cannot be."""
    with contextlib.suppress(OSError):
        engines.mkdir(parents=True, exist_ok=True)
        os.utime(engines)  # for the order of removal
        remove_oldest([path for path in engines.parent.iterdir() if path.is_dir()])
    if not (engines.is_dir() and os.access(engines, os.W_OK | os.X_OK)):
        return {}
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(engines.parent),
    }


def cache_notice() -> str:
    """Return a line if engines cannot be kept, so that every run builds them anew; else an empty string."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return unwritable_notice(folder, error)
    if os.access(folder, os.W_OK | os.X_OK):
        return ""
    return unwritable_notice(folder, PermissionError(0, "Permission denied"))


def remove_damaged(engines: Path, text: str) -> bool:
    """Remove a network's engines, and the timings of all networks, if an error names one of them.

    Args:
        engines: the network's folder.
        text: what ONNX Runtime wrote when it failed.

    Returns:
        Whether they were removed.
    """
    if not _DAMAGED.search(text):
        return False
    shutil.rmtree(engines, ignore_errors=True)
    with contextlib.suppress(OSError):
        for path in engines.parent.glob(f"*{_TIMING_SUFFIX}"):
            path.unlink(missing_ok=True)
    return True


def _folder() -> Path:
    return cache_folder() / "tensorrt"
