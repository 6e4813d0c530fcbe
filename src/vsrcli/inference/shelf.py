"""Arrays put aside on the disk, for what is looked at once in a while and too large to keep in memory."""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from vsrcli.errors import OutputError

Item = np.ndarray | int


class ArraySpool:
    """Named arrays and numbers by position. Arrays lie in one file that has no name, so nothing can be left.

    Args:
        folder: where the file lies; None: where the system keeps temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._rows: list[dict[str, tuple[int, np.dtype, tuple[int, ...]] | int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, items: Mapping[str, Item]) -> None:
        """Put aside the next ones.

        Raises:
            OutputError: the disk is full.
        """
        row: dict[str, tuple[int, np.dtype, tuple[int, ...]] | int] = {}
        for name, item in items.items():
            row[name] = self._write(item) if isinstance(item, np.ndarray) else item
        self._rows.append(row)

    def __getitem__(self, number: int) -> dict[str, Item]:
        return {
            name: item if isinstance(item, int) else self._read(*item)
            for name, item in self._rows[number].items()
        }

    def _write(self, array: np.ndarray) -> tuple[int, np.dtype, tuple[int, ...]]:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - see next line
                weakref.finalize(self, self._file.close)
            place = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            raise OutputError(
                f"{str(folder)!r} cannot take what the network remembers ({error.strerror}): free some "
                "space, or allow more memory"
            ) from error
        return place, array.dtype, array.shape

    def _read(self, place: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        assert self._file is not None
        array: np.ndarray[Any, Any] = np.empty(shape, dtype)
        self._file.seek(place)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted and self._file.readinto(array.data.cast("B")) != wanted:  # type: ignore[attr-defined]
            raise OutputError(
                "what the network remembers was cut short on the disk; check it, and run the command again"
            )
        return array
