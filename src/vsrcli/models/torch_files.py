"""Networks in PyTorch's files and in ``.safetensors``, read without PyTorch; no code of theirs runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.errors import ModelError
from vsrcli.models.imported import NetworkFile, TensorInfo
from vsrcli.models.recognition import Recognition, UnsuitableError, guess, recognise
from vsrcli.models.safetensors import is_safetensors, read_safetensors
from vsrcli.models.tensors import StoredTensor, require_room
from vsrcli.models.torch_archive import MOST_NESTED, read_pickled

if TYPE_CHECKING:
    import keras

_CONTAINERS = (  # keys under which training programs store weights, best first
    "params_ema",
    "params-ema",
    "params",
    "model_state_dict",
    "state_dict",
    "model",
    "net",
    "generator",
    "netG",
    "net_g_ema",
    "net_g",
)
_SHOWN = 3  # tensors of an unknown network
_METADATA = {  # by the last part of a key in a safetensors header, such as modelspec.license
    "licence": ("licence", "license"),
    "author": ("author", "authors"),
    "source": ("source", "url", "homepage", "repository"),
    "summary": ("summary", "description", "title", "name"),
}


def read_torch(path: Path) -> NetworkFile:
    """Read what a file tells of its network, see :func:`~vsrcli.models.network_files.read_network_file`.

    Its content decides whether it is read as PyTorch's or as safetensors.

    Raises:
        ModelError: it is damaged, contains code, or holds no network of a supported architecture.
    """
    kind, found, metadata = _read(path)
    shape = (1, None, None, 3)
    return NetworkFile(
        kind,
        found.text,
        (TensorInfo("frame", "float32", shape),),
        (TensorInfo("upscaled", "float32", shape),),
        found.parameters,
        metadata,
        found.operators,
    )


def build_torch(path: Path) -> keras.Model:
    """Build a file's network, see :func:`~vsrcli.models.network_files.build_network`.

    Raises:
        ModelError: see :func:`read_torch`.
    """
    _, found, _ = _read(path)
    try:
        with path.open("rb") as file:

            def read(name: str) -> np.ndarray:
                return found.tensors[name].read(file)

            builder: Callable[..., Any] = import_module(f"vsrcli.models.{found.module}").build
            return builder(read, **found.options)
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # of `read`: Keras got shapes that were checked
        raise ModelError(f"{str(path)!r} is damaged ({error}): get it again") from error


def _read(path: Path) -> tuple[str, Recognition, Mapping[str, str]]:
    """Return format, network and metadata."""
    metadata: Mapping[str, str] = {}
    try:
        with path.open("rb") as file:
            kind = "safetensors" if is_safetensors(file, path.stat().st_size) else "pth"
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if kind == "safetensors":
        content, texts = read_safetensors(path)
        metadata = _known_metadata(texts)
    else:
        content = read_pickled(path)
    tensors = _find_tensors(content)
    if not tensors:
        names = list(content)[:_SHOWN] if isinstance(content, dict) else [type(content).__name__]
        what = ", ".join(repr(each)[:40] for each in names)
        raise ModelError(f"{str(path)!r} holds no weights of a network{f', only {what}' if what else ''}")
    found = _recognise(path, tensors)
    require_room(path, found.tensors.values())
    return kind, found, metadata


def _find_tensors(content: Any) -> dict[str, StoredTensor]:
    """Return the tensors of the dictionary that holds the weights."""
    for _ in range(MOST_NESTED):
        if not isinstance(content, dict):
            return {}
        inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), dict)]
        if len(content) == 1 and not inner:
            inner = [value for value in content.values() if isinstance(value, dict)]
        if not inner:
            break
        content = inner[0]
    return {key: each for key, each in content.items() if type(key) is str and isinstance(each, StoredTensor)}


def _without_prefix(tensors: dict[str, StoredTensor]) -> Iterator[dict[str, StoredTensor]]:
    """Yield the tensors, and again without each part that all of their names begin with."""
    while tensors:
        yield tensors
        first = {key.partition(".")[0] for key in tensors}
        if len(first) > 1:
            return
        tensors = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if "." in key}


def _recognise(path: Path, tensors: dict[str, StoredTensor]) -> Recognition:
    refused = ""
    for candidate in _without_prefix(tensors):
        try:
            if found := recognise(candidate):
                return found
        except UnsuitableError as error:
            refused = refused or str(error)
    if refused:
        raise ModelError(f"{str(path)!r} {refused}")
    shown = ", ".join(repr(key[:80]) for key in list(tensors)[:_SHOWN])
    resembles = next(filter(None, (guess(list(each)) for each in _without_prefix(tensors))), "")
    raise ModelError(
        f"{str(path)!r} is no network that runs here from such a file (Compact, SPAN, ESRGAN): "
        f"{len(tensors)} tensors, {shown}{', ...' if len(tensors) > _SHOWN else ''}"
        f"{f'; it looks like {resembles}' if resembles else ''}; export it to ONNX, which does"
    )


def _known_metadata(texts: Mapping[str, str]) -> dict[str, str]:
    """Return licence, author, source and summary as far as a header states them."""
    by_last = {key.rpartition(".")[2].lower(): " ".join(value.split())[:500] for key, value in texts.items()}
    found = {name: [by_last[key] for key in keys if by_last.get(key)] for name, keys in _METADATA.items()}
    return {name: values[0] for name, values in found.items() if values}
