"""Files that appear under their final name at once and whole: written beside it, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from vsrcli.errors import EncodeError


def resolve_target(target: Path) -> Path:
    """Where a film named ``target`` is written: what a symbolic link points to, so that the link stays.

    Raises:
        OSError: the name is too long, or the link leads back to itself.
    """
    if not target.is_symlink():
        return target
    file = Path(os.path.realpath(target))
    if file.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(target))
    return file


def temporary_name(target: Path) -> Path:
    """A hidden name on the same file system, unique to this run, short enough for every file system."""
    file = resolve_target(target)
    stem = os.fsencode(file.stem)[:120].decode("utf-8", "ignore")
    return file.parent / f".{stem}.{secrets.token_hex(4)}.part{target.suffix}"


def publish_file(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a complete file its final name, durably.

    Raises:
        EncodeError: the target has come into being meanwhile, or it cannot be written.
    """
    file = resolve_target(target)
    try:
        fsync_path(part)
        if not overwrite and (target.exists() or target.is_symlink()):
            raise EncodeError(f"{target} has come into being meanwhile; use --overwrite to replace it")
        part.replace(file)
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            fsync_path(file.parent)
    except OSError as error:
        raise EncodeError(
            f"{target} cannot be written ({error.strerror}): make room or check the folder, and run it again"
        ) from error


def fsync_path(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
