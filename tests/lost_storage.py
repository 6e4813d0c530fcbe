"""A folder on a disk or network share that is gone, for this process: every access fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def lose(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let nothing in a folder be reached any more, until ``patch.undo()``; its files stay."""
    folder = folder.absolute()
    for name in ("stat", "open", "iterdir", "mkdir", "unlink", "rmdir", "replace"):
        patch.setattr(Path, name, _failing(getattr(Path, name), folder))


def _failing(function: Any, folder: Path) -> Any:
    def fail_below(path: Path, *arguments: Any, **options: Any) -> Any:
        if folder in (path.absolute(), *path.absolute().parents):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(path))
        return function(path, *arguments, **options)

    return fail_below
