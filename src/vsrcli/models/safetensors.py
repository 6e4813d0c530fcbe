"""``.safetensors`` files: a JSON header and raw numbers. https://huggingface.co/docs/safetensors"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vsrcli.errors import ModelError
from vsrcli.models.tensors import Storage, StoredTensor, contiguous, item_bytes

_MOST_HEADER_BYTES = 16 << 20
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def is_safetensors(file: BinaryIO, length: int) -> bool:
    """Return whether a file of some length begins as the format does, and rewind it."""
    head = file.read(9)
    file.seek(0)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= length - 8


def read_safetensors(path: Path) -> tuple[dict[str, StoredTensor], Mapping[str, str]]:
    """Return tensors by name, and the file's metadata.

    Raises:
        ModelError: the file is damaged or cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = path.stat().st_size
            size = int.from_bytes(file.read(8), "little")
            if size > min(length - 8, _MOST_HEADER_BYTES):
                raise ValueError("its header is longer than the file or unreasonably long")
            header = json.loads(file.read(size))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no object")
        tensors = {name: _tensor(name, entry, 8 + size, length) for name, entry in header.items()}
        texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ModelError(f"{str(path)!r} is damaged ({reason}): get it again") from error
    return tensors, texts


def _tensor(name: str, entry: Any, start: int, length: int) -> StoredTensor:
    dtype, shape = _DTYPES.get(entry["dtype"]), tuple(entry["shape"])
    if dtype is None:
        raise ValueError(f"{name[:60]} has numbers of type {entry['dtype']}, which is not supported")
    if not all(type(each) is int and each >= 0 for each in (*shape, *entry["data_offsets"])):
        raise ValueError(f"{name[:60]} has an impossible shape")
    first, last = entry["data_offsets"]
    count = math.prod(shape)
    if last - first != count * item_bytes(dtype) or start + last > length:
        raise ValueError(f"{name[:60]} contradicts itself, or the file ends early")
    return contiguous(Storage(dtype, count, start + first), shape)
