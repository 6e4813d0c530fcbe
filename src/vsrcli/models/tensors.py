"""Tensors that lie in a file, read one at a time. Importable without Keras.

Files come from strangers, so sizes are checked against the file before anything is allocated or read: nothing
is read outside of a storage, and tensors never need more memory than the file's size lets expect.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vsrcli.errors import ModelError

BFLOAT16 = "bfloat16"  # the upper half of a float32; NumPy lacks it
_ITEM_TYPES = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    BFLOAT16: "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
}
FLOATS = frozenset({"float64", "float32", "float16", BFLOAT16})
MOST_AXES = 8


def item_bytes(dtype: str) -> int:
    """Return the size of one number."""
    return np.dtype(_ITEM_TYPES[dtype]).itemsize


@dataclass(frozen=True)
class Storage:
    """Numbers in a row in a file, which one or more tensors show.

    Attributes:
        dtype: of the numbers, by NumPy's name, or ``bfloat16``.
        count: of the numbers.
        position: first byte in the file.
        crc: checksum (CRC-32) of its bytes, if the file has one.
    """

    dtype: str
    count: int
    position: int
    crc: int | None = None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        storage: that holds its numbers.
        shape: sides.
        strides: steps along the axes, in numbers.
        offset: of its first number in the storage.

    Raises:
        ValueError: it would reach beyond its storage, or show more numbers than that has.
    """

    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        whole = all(
            isinstance(value, int) and value >= 0 for value in (*self.shape, *self.strides, self.offset)
        )
        if not whole or len(self.shape) != len(self.strides) or len(self.shape) > MOST_AXES:
            raise ValueError("a tensor has an impossible shape")
        if self.size and (self.end > self.storage.count or self.size > self.storage.count):
            raise ValueError(f"a tensor of shape {list(self.shape)} reaches beyond its storage")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of the elements."""
        return self.size * item_bytes(self.storage.dtype)

    @property
    def end(self) -> int:
        """Number behind its last one, in the storage."""
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + sum((side - 1) * step for side, step in steps) + 1

    def read(self, file: BinaryIO) -> np.ndarray:
        """Return the tensor as a float32 array of its own.

        Raises:
            ValueError: the file ends early, its checksum is wrong, or a number is not finite.
        """
        if not self.size:
            return np.zeros(self.shape, np.float32)
        item, storage = item_bytes(self.storage.dtype), self.storage
        file.seek(storage.position + self.offset * item)
        data = file.read((self.end - self.offset) * item)
        if len(data) != (self.end - self.offset) * item:
            raise ValueError("the file ends early")
        is_whole = not self.offset and self.end == storage.count
        if is_whole and storage.crc is not None and zlib.crc32(data) != storage.crc:
            raise ValueError("a checksum is wrong")
        numbers = np.frombuffer(data, _ITEM_TYPES[storage.dtype])
        # within what was read, as __post_init__ has checked; the step along a side of 1 can be any number
        steps = [step * item if side > 1 else 0 for side, step in zip(self.shape, self.strides, strict=True)]
        shown = np.lib.stride_tricks.as_strided(numbers, self.shape, steps)
        if storage.dtype == BFLOAT16:
            values = (shown.astype(np.uint32) << 16).view(np.float32)
        else:
            with np.errstate(over="ignore"):  # of float64; said below
                values = shown.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a weight is no finite number")
        return np.ascontiguousarray(values)


def contiguous(storage: Storage, shape: tuple[int, ...]) -> StoredTensor:
    """Return the tensor of a shape whose numbers lie in order, from the storage's first on."""
    strides, step = [], 1
    for side in reversed(shape):
        strides.append(step)
        step *= side
    return StoredTensor(storage, shape, tuple(reversed(strides)))


def require_room(path: Path, tensors: Iterable[StoredTensor]) -> None:
    """Raise ModelError if tensors claim more bytes than the file has."""
    if sum(tensor.bytes for tensor in tensors) > path.stat().st_size:
        raise ModelError(f"{str(path)!r} is damaged: its tensors claim more bytes than the file has")
