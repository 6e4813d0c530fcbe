"""PyTorch's files, read without PyTorch and without running what they contain.

A ``.pth`` or ``.pt`` is a pickle of tensors with their raw numbers: in a zip, or, before PyTorch 1.6, one
after the other. An unpickler that knows nothing but ordered dictionaries, tensors and storages reads it;
anything else that such a file could call is refused by name. A ``.safetensors`` is a JSON header and raw
numbers.

Every size that a file states is compared with what it holds before memory is allocated.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.errors import ModelError
from vsrcli.models.imported import NetworkFile, TensorInfo
from vsrcli.models.recognition import recognize

if TYPE_CHECKING:
    import keras

Tensors = dict[str, np.ndarray]

_MAX_HEADER_BYTES = 64 << 20  # of a pickle or a JSON header
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_BFLOAT16 = "bfloat16"  # which NumPy lacks
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_SAFETENSORS = {
    "F32": "<f4",
    "F64": "<f8",
    "F16": "<f2",
    "BF16": _BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "net", "model", "generator")
_PREFIXES = ("module.", "netG.", "generator.", "model_ema.")


def read_torch(path: Path) -> NetworkFile:
    """Return what a ``.pth``, ``.pt`` or ``.safetensors`` file states.

    Raises:
        ModelError: it is damaged, contains code, or its architecture is unknown.
    """
    tensors, metadata = read_tensors(path)
    found = recognize(tensors, str(path))
    frame = ("height", "width", 3)
    return NetworkFile(
        format="safetensors" if path.suffix.lower() == ".safetensors" else "pth",
        architecture=found.description,
        inputs=(TensorInfo("frame", "float32", frame),),
        outputs=(TensorInfo("result", "float32", frame),),
        parameters=sum(array.size for array in found.tensors.values()),
        metadata=metadata,
    )


def build_torch(path: Path) -> keras.Model:
    """Build the network of a file, see :func:`vsrcli.models.network_files.build_network`.

    Raises:
        ModelError: see :func:`read_torch`.
    """
    found = recognize(read_tensors(path)[0], str(path))
    try:
        return found.build()
    except (KeyError, ValueError) as error:
        reason = "missing" if isinstance(error, KeyError) else "of another shape"
        raise ModelError(
            f"{str(path)!r} cannot be used: it looks like {found.description}, but a tensor is {reason} "
            f"({error})"
        ) from error


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return a file's tensors by name, in float32, and its metadata.

    Raises:
        ModelError: it is damaged or contains code.
    """
    try:
        size = path.stat().st_size
        if path.suffix.lower() == ".safetensors":
            return _read_safetensors(path, size)
        content = _read_zip(path, size) if zipfile.is_zipfile(path) else _read_legacy(path, size)
        tensors = _state_dict(content)
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except _DamagedError as error:
        raise ModelError(f"{str(path)!r} cannot be used: {error}") from error
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        IndexError,
        EOFError,
        TypeError,
        AttributeError,
        struct.error,
        RecursionError,
        MemoryError,
        NotImplementedError,
        OverflowError,
    ) as error:
        raise ModelError(
            f"{str(path)!r} is no file of PyTorch, or is damaged ({type(error).__name__}): fetch it again"
        ) from error
    if not tensors:
        raise ModelError(f"{str(path)!r} holds no tensors by name: it is no state_dict of a network")
    return tensors, {}


class _DamagedError(Exception):
    """Why a file cannot be used."""


@dataclass
class _Storage:
    """Raw numbers of a file.

    Attributes:
        dtype: NumPy's name, or ``bfloat16``.
        key: of the storage in the file.
        count: numbers, as stated.
        numbers: set once they are read.
    """

    dtype: str
    key: str
    count: int
    numbers: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bytes, as stated."""
        return self.count * (2 if self.dtype == _BFLOAT16 else np.dtype(self.dtype).itemsize)

    def fill(self, content: bytes) -> None:
        if len(content) != self.size:
            raise _DamagedError(f"storage {self.key} holds {len(content)} bytes instead of {self.size}")
        self.numbers = _to_float32(content, self.dtype)


@dataclass
class _Tensor:
    """A view of a storage: what PyTorch's rebuilding function gets."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_numpy(self) -> np.ndarray:
        numbers, count = self.storage.numbers, math.prod(self.shape)
        whole = (self.offset, *self.shape, *self.strides)
        if numbers is None or len(self.shape) != len(self.strides) or any(n < 0 for n in whole):
            raise _DamagedError("a tensor without a valid storage, shape or stride")
        if count == 0:
            return np.zeros(self.shape, np.float32)
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if last >= len(numbers) or count > len(numbers):
            raise _DamagedError("a tensor reaches beyond the end of its storage")
        strides = tuple(4 * stride for stride in self.strides)
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)
        return view.copy()


@dataclass
class _Unpickled:
    """What an unpickler met: storages by key."""

    storages: dict[str, _Storage] = field(default_factory=dict)


class _Unpickler(pickle.Unpickler):
    """Reads ordered dictionaries, tensors and storages, and refuses everything else by name."""

    def __init__(self, stream: io.BufferedIOBase, met: _Unpickled) -> None:
        super().__init__(stream, encoding="utf-8")
        self._met = met

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(name)
        if (module, name) == ("torch", "Size"):
            return tuple
        raise _DamagedError(
            f"it would call {module}.{name}, and only tensors are read; ask for a .safetensors or a plain "
            "state_dict"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise _DamagedError("an unknown kind of reference")
        kind, key, count = pid[1], str(pid[2]), pid[4]
        if not isinstance(kind, _StorageType) or not isinstance(count, int) or count < 0:
            raise _DamagedError("an unknown kind of storage")
        if len(pid) > 5 and pid[5] is not None:
            raise _DamagedError("views of storages, as PyTorch wrote them before 0.4")
        storage = self._met.storages.setdefault(key, _Storage(_STORAGES[kind.name], key, count))
        if (storage.dtype, storage.count) != (_STORAGES[kind.name], count):
            raise _DamagedError(f"storage {key} is stated twice, differently")
        return storage


@dataclass(frozen=True)
class _StorageType:
    """Stands for a class of storages; cannot be called."""

    name: str


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *others: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise _DamagedError("a tensor without a storage")
    return _Tensor(
        storage, int(offset), tuple(int(side) for side in shape), tuple(int(each) for each in strides)
    )


def _rebuild_parameter(data: Any, *others: Any) -> Any:
    return data


def _read_zip(path: Path, size: int) -> Any:
    """Return the unpickled content of a zip."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _DamagedError("it is a zip, but none of PyTorch's")
        if sum(info.file_size for info in entries.values()) > 20 * size:
            raise _DamagedError("it is a zip that would unpack to more than 20 times its size")
        if entries[pickles[0]].file_size > _MAX_HEADER_BYTES:
            raise _DamagedError(f"its pickle has more than {_MAX_HEADER_BYTES >> 20} MiB")
        met, folder = _Unpickled(), pickles[0].removesuffix("data.pkl")
        order = folder + "byteorder"
        if order in entries and archive.read(order).strip() != b"little":
            raise _DamagedError("its numbers are big-endian")
        content = _Unpickler(io.BytesIO(archive.read(pickles[0])), met).load()
        for storage in met.storages.values():
            name = f"{folder}data/{storage.key}"
            if name not in entries or entries[name].file_size != storage.size:
                stated = entries[name].file_size if name in entries else 0
                raise _DamagedError(f"storage {storage.key} holds {stated} bytes instead of {storage.size}")
            storage.fill(archive.read(name))
        return content


def _read_legacy(path: Path, size: int) -> Any:
    """Return the unpickled content of a file from before PyTorch 1.6."""
    with path.open("rb") as file:
        met = _Unpickled()
        if _Unpickler(file, met).load() != _LEGACY_MAGIC or _Unpickler(file, met).load() != _LEGACY_PROTOCOL:
            raise _DamagedError("it is no file of PyTorch")
        _Unpickler(file, met).load()  # sizes of numbers on the machine that wrote it
        content = _Unpickler(file, met).load()
        for key in _Unpickler(file, met).load():
            storage = met.storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != storage.count or storage.size > size:
                raise _DamagedError(f"storage {storage.key} has {count} numbers instead of {storage.count}")
            storage.fill(file.read(storage.size))
        return content


def _read_safetensors(path: Path, size: int) -> tuple[Tensors, dict[str, str]]:
    """Return tensors and metadata of a ``.safetensors`` file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MAX_HEADER_BYTES):
                raise _DamagedError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
            stated = header.pop("__metadata__", {})
            start, tensors = 8 + length, {}
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                storage = _Storage(_SAFETENSORS[entry["dtype"]], name, math.prod(entry["shape"]))
                if not 0 <= begin <= end <= size - start:
                    raise _DamagedError(f"tensor {name} lies outside the file")
                file.seek(start + begin)
                storage.fill(file.read(end - begin))
                assert storage.numbers is not None
                tensors[name] = storage.numbers.reshape(entry["shape"])
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamagedError(f"its header is damaged ({type(error).__name__}); fetch it again") from error
    metadata = {str(key).lower(): str(value) for key, value in stated.items()}
    known = {
        "licence": ("license", "licence", "modelspec.license"),
        "author": ("author", "modelspec.author"),
        "source": ("source", "url"),
        "summary": ("description", "modelspec.description", "title"),
    }
    found = {
        name: metadata[key] for name, keys in known.items() for key in reversed(keys) if metadata.get(key)
    }
    return _state_dict(tensors), found


def _to_float32(content: bytes, dtype: str) -> np.ndarray:
    if dtype == _BFLOAT16:
        bits = np.frombuffer(content, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32)
    return np.frombuffer(content, dtype).astype(np.float32)


def _state_dict(content: Any) -> Tensors:
    """Return the tensors by name, out of what training programs wrap around them."""
    for _ in range(4):
        if not isinstance(content, Mapping):
            return {}
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        content = inner[0] if inner else content
    arrays = {
        str(name): each.to_numpy() if isinstance(each, _Tensor) else each for name, each in content.items()
    }
    tensors = {name: each for name, each in arrays.items() if isinstance(each, np.ndarray)}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors
