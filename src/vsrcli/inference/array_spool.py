"""Arrays that are kept on the disk instead of in memory."""

from __future__ import annotations

import contextlib
import math
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from vsrcli.errors import OutputError
from vsrcli.system.files import temporary_location

Item = np.ndarray | int
_Stored = tuple[int, np.dtype, tuple[int, ...]]  # offset in the file, number type, shape


class ArraySpool:
    """A list of mappings of arrays and integers; arrays are stored in an unnamed temporary file.

    The file has no name, so it cannot outlive the process.

    Args:
        folder: of the file; None: the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._entries: list[dict[str, _Stored | int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, items: Mapping[str, Item]) -> None:
        """Append a mapping.

        Raises:
            OutputError: the disk is full.
        """
        entry: dict[str, _Stored | int] = {}
        for name, item in items.items():
            entry[name] = self._write(item) if isinstance(item, np.ndarray) else item
        self._entries.append(entry)

    def __getitem__(self, number: int) -> dict[str, Item]:
        return {
            name: item if isinstance(item, int) else self._read(*item)
            for name, item in self._entries[number].items()
        }

    def _write(self, array: np.ndarray) -> _Stored:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by the finalizer
                weakref.finalize(self, _close, self._file)
            offset = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            folder = self._folder or temporary_location()
            raise OutputError(
                f"the network's state cannot be written to {str(folder)!r} ({error.strerror}): free some "
                "space, or allow more memory"
            ) from error
        return offset, array.dtype, array.shape

    def _read(self, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        assert self._file is not None
        self._file.seek(offset)
        array = np.fromfile(self._file, dtype, math.prod(shape))
        if array.size != math.prod(shape):
            raise OutputError(
                "the network's state was truncated on the disk; check it, and run the command again"
            )
        return array.reshape(shape)


def _close(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # the disk is full: what could not be written is lost, and not needed
        file.close()
