"""Where the comparison is written: never over something, never half."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vsrcli.errors import OutputError
from vsrcli.system.files import publish_file, resolve_target, temporary_name


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Whether the file may be written, before anything is decoded.

    Raises:
        OutputError: it exists, is one of the films, is a folder, or lies where nothing can be written.
    """
    try:
        folder = resolve_target(target).parent
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it")
        if target.exists() and any(target.samefile(source) for source in sources if source.exists()):
            raise OutputError(f"{target} is one of the films; choose another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"{target} exists; use --overwrite to replace it")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
    except OSError as error:
        raise OutputError(f"{target} cannot be used as a name ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to; choose another folder or change its access rights")


@contextlib.contextmanager
def atomic_output(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name to write to; after the block the file has its own, and if the block fails there is none.

    Raises:
        OutputError: it cannot be written, or the target has come into being meanwhile.
    """
    part = temporary_name(target)
    try:
        try:
            yield part
        except OSError as error:
            raise OutputError(
                f"{target} cannot be written ({error.strerror or error}); free some space or choose another"
            ) from error
        publish_file(part, target, overwrite=overwrite)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
