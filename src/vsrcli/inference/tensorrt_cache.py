"""The engines that TensorRT builds on ONNX Runtime, in the user's cache folder: building takes minutes.

ONNX Runtime writes and reads them. It does not write them in one step, so a full disk or the end of the
process may leave a part of one, on which it fails from then on.
"""

from __future__ import annotations

import contextlib
import errno
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
    """Return TensorRT's options to keep engines in a folder, which is created.

    Those to read what others have built where it cannot be written; none if there is nothing to read, either.
    """
    with contextlib.suppress(OSError):
        engines.mkdir(parents=True, exist_ok=True)
        os.utime(engines)  # for the order of removal
        remove_oldest([path for path in engines.parent.iterdir() if path.is_dir()])
    is_writable = _is_writable(engines)
    if not is_writable and not _holds_engine(engines):
        return {}
    options = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(engines)}
    if is_writable:
        options |= {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(engines.parent)}
    return options


def cache_notice(engines: Path) -> str:
    """Return a line if a network's engines can neither be kept in their folder nor read from it: every run
    builds them anew then; else an empty string."""
    try:
        engines.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error
    else:
        reason = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if _is_writable(engines) or _holds_engine(engines):
        return ""
    return unwritable_notice(_folder(), reason)


def _is_writable(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # it must not be looked for
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


def _holds_engine(folder: Path) -> bool:
    """Return whether there is an engine in a folder that may be read."""
    with contextlib.suppress(OSError):
        return any(os.access(file, os.R_OK) for file in folder.glob("*.engine"))
    return False


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
