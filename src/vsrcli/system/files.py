"""Files that appear under their final name at once and whole: written beside it, then renamed.

The folder beside a target where its segments wait until there are all of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import EncodeError, OutputError
from vsrcli.system.locks import FileLock, LockHeldError


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


_MAX_NAME_BYTES = 200  # bytes of a target's name that are taken over; file systems allow 255 in all
_LOCK_NAME = "lock"


def workdir_for(target: Path) -> Path:
    """``.out.mp4.vsr`` beside ``out.mp4``."""
    file = resolve_target(target)
    name = file.name
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        import hashlib

        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{os.fsencode(name)[: _MAX_NAME_BYTES - 17].decode('utf-8', 'ignore')}.{digest}"
    return file.with_name(f".{name}.vsr")


class WorkDir:
    """A folder that one run owns. Every file in it is whole or not there.

    Args:
        target: the film that is made.

    Attributes:
        path: of the folder.
    """

    def __init__(self, target: Path) -> None:
        self.path = workdir_for(target)
        self._target = target
        self._lock = FileLock(self.path / _LOCK_NAME)

    def open(self) -> None:
        """Make it, unless it is there, and lock it.

        Raises:
            OutputError: another run has it, or it cannot be written.
        """
        while True:
            try:
                self.path.mkdir(exist_ok=True)
                self._lock.acquire()
                return
            except LockHeldError as held:
                raise OutputError(
                    f"{self._target}: {held} is at work on it; wait until it has finished, or stop it first"
                ) from None
            except FileNotFoundError:
                continue  # its owner has just removed it
            except OSError as error:
                raise OutputError(
                    f"{self.path} cannot be written ({error.strerror}); remove it or choose another target"
                ) from error

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Put a file there, or replace it, in one step that survives a power cut.

        Raises:
            OutputError: the disk is full or broken; what was there before is there still.
        """
        part = self.path / f"{name}.part"
        try:
            with part.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
            with contextlib.suppress(OSError):  # some file systems cannot sync a folder
                fsync_path(self.path)
        except OSError as error:
            raise OutputError(
                f"{self.path / name} cannot be written ({error.strerror}); free some space and run the same "
                "command again"
            ) from error

    def remove_except(self, names: Iterable[str]) -> None:
        """Remove every other file."""
        keep = {*names, _LOCK_NAME}
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                if path.name not in keep:
                    path.unlink(missing_ok=True)

    def remove(self) -> None:
        """The folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Unlock it. Safe to call any number of times."""
        self._lock.release()
