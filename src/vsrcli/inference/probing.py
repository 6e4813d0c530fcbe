"""What a network of somebody else's is and needs, found by running it on small frames in a child process.

    python -m vsrcli.inference.probing < request.json

A network that crashes, hangs or takes all memory ends the child only, whose experiments are in
:mod:`vsrcli.inference.network_probe`. The request (see :mod:`vsrcli.system.child`) is an object with ``path``
and ``sha256``; the answer is a description, which is kept in the cache by the sum of the network's files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsrcli._version import __version__
from vsrcli.errors import ModelError, VsrError
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.network_runner import UnusableError, format_interface
from vsrcli.models.imported import ONNX_SUFFIX, ModelDescription, NetworkFile, files_sha256
from vsrcli.models.network_files import read_network_file
from vsrcli.system.child import (
    ChildEndedError,
    ChildError,
    ChildTimeoutError,
    answer_request,
    call_in_child,
    report_step,
)

PROBING_VERSION = 7
TIME_LIMIT = 600.0  # seconds, of each step of a child
_FILE = "description.json"


def describe_model(path: Path, *, on_notice: Callable[[str], None] = lambda text: None) -> ModelDescription:
    """Describe a network, from the cache if it was described before.

    Args:
        path: of the file; an ncnn network's ``.param``.
        on_notice: receives notices about the cache.

    Raises:
        ModelError: the file is damaged, or its network cannot be used; with its inputs and outputs.
        OutOfMemoryError: there is not enough memory to try.
    """
    file = read_network_file(path)
    sha256 = files_sha256(path, file.other_files)
    if manifest := file.metadata.get("manifest"):
        from vsrcli.inference.onnx_manifest import describe_export

        return describe_export(path, manifest)

    def probe(folder: Path) -> None:
        description = _probe_in_child(path, sha256, file)
        (folder / _FILE).write_text(json.dumps(description), encoding="utf-8")

    files = _cache(on_notice).get(_key(path, sha256), probe)
    return ModelDescription.from_json(json.loads(files[_FILE]))


def known_description(path: Path) -> ModelDescription | None:
    """Return what :func:`describe_model` would return at once; None if it would run the network or fails.

    Args:
        path: of the file; an ncnn network's ``.param``.
    """
    try:
        others: tuple[str, ...] = ()
        if path.suffix.lower() == ONNX_SUFFIX:
            file = read_network_file(path)
            if file.metadata.get("manifest"):
                return describe_model(path)
            others = file.other_files
        files = _cache().find(_key(path, files_sha256(path, others)))
    except VsrError:
        return None
    return ModelDescription.from_json(json.loads(files[_FILE])) if files else None


def _cache(on_notice: Callable[[str], None] = lambda text: None) -> GraphCache:
    return GraphCache(cache_folder() / "models", on_notice)


def _key(path: Path, sha256: str) -> dict[str, object]:
    return {"vsr": __version__, "probing": PROBING_VERSION, "sha256": sha256, "suffix": path.suffix.lower()}


def _probe_in_child(path: Path, sha256: str, file: NetworkFile) -> dict[str, Any]:
    """Return a description as plain values."""
    request, refusal = {"path": str(path), "sha256": sha256}, f"{str(path)!r} cannot be used"
    try:
        return call_in_child(__name__, request, purpose=f"try {path.name}", timeout=TIME_LIMIT)
    except ChildTimeoutError as error:
        step = f", while {error.step}" if error.step else ""
        reason, details = f"a step did not end within {TIME_LIMIT:.0f} s on small frames{step}", error.details
    except ChildEndedError as error:
        reason = f"the process that tried it ended with {error.status}; {format_interface(file)}"
        details = error.details
    except ChildError as error:
        reason, details = str(error), error.details
    raise ModelError(f"{refusal}: {reason}", details=details)


def main() -> None:
    """Handle the request on stdin."""

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        return probe(Path(request["path"]), request["sha256"], report_step).to_json()

    answer_request(handle)


def probe(path: Path, sha256: str, on_step: Callable[[str], None] = lambda text: None) -> ModelDescription:
    """Describe a network by running it in this process.

    Args:
        path: of the file.
        sha256: of the network's files.
        on_step: called with the name of each step before it starts, in the present participle.

    Raises:
        ModelError: it cannot be used.
    """
    from vsrcli.inference.network_probe import NetworkProbe

    file = read_network_file(path)
    try:
        return NetworkProbe(path, sha256, file, on_step).describe()
    except UnusableError as error:
        raise ModelError(f"{str(path)!r} cannot be used: {error}; {format_interface(file)}") from error


if __name__ == "__main__":
    main()
