"""What the path remembers, as a file of arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from vsrcli.frames.state import State
from vsrcli.system.files import WorkFolder


def save(folder: WorkFolder, name: str, state: State) -> None:
    """Put a state into a work folder.

    Raises:
        OutputError: the disk is full or broken.
    """
    folder.write(name, lambda file: np.savez(file, **state))  # type: ignore[arg-type]


def load(file: Path) -> State | None:
    """A state that was saved; None if the file is missing or damaged."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return dict(arrays)  # every array comes with its checksum
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
