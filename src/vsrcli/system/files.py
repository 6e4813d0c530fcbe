"""Atomic files, temporary ones, and the workdir: the hidden folder next to a target that holds its segments.

A file is written under a temporary name in the same folder and renamed when it is complete, so no incomplete
file ever has the final name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from vsrcli.errors import EncodeError, OutputError, TargetLockedError
from vsrcli.system.locks import FileLock, LockHeldError

_MAX_NAME_BYTES = 200  # of a target's name in that of its workdir; file systems allow 255
_LOCK_NAME = "lock"
_LOCK_ATTEMPTS = 100  # of locking a folder that other runs remove at that moment
_SAMPLE_BYTES, _SAMPLE_COUNT = 2**16, 16  # blocks of a file that are hashed
_temporary_paths: set[Path] = set()  # of this process, while they exist


def remove_temporary_files() -> None:
    """Remove all temporary files and folders that exist now, for a process that leaves without cleanup."""
    for path in list(_temporary_paths):
        remove_temporary(path)


def temporary_name(target: Path) -> Path:
    """Return a hidden name in the target's folder, unique to this run, short enough for every file system.

    It counts as a temporary file until :func:`remove_temporary`.
    """
    file = resolve_target(target)
    stem = os.fsencode(file.stem)[:120].decode("utf-8", "ignore")
    path = file.parent / f".{stem}.{secrets.token_hex(4)}.part{target.suffix}"
    _temporary_paths.add(path)
    return path


def create_temporary_folder(prefix: str = "vsr-", parent: Path | None = None) -> Path:
    """Create a temporary folder in ``parent``, or where temporary files belong; see :func:`remove_temporary`.

    Raises:
        OSError: it cannot be created.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    _temporary_paths.add(path)
    return path


def register_temporary(path: Path) -> None:
    """Let a file or folder count as a temporary one until :func:`remove_temporary`."""
    _temporary_paths.add(path)


def temporary_location() -> str:
    """Return the folder for temporary files, for messages: without any, the one that is set."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR") or "the folder for temporary files"


def temporary_folder_error(error: OSError) -> OutputError:
    """Return the error for a folder for temporary files that is full or missing."""
    return OutputError(
        f"no temporary file can be written in {temporary_location()} ({error.strerror}); free some space "
        "there, or set TMPDIR to another folder"
    )


def remove_temporary(path: Path) -> None:
    """Remove a temporary file or folder, unless it has been renamed meanwhile. Can be called repeatedly."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()
    _temporary_paths.discard(path)


@contextlib.contextmanager
def temporary_folder(prefix: str = "vsr-", parent: Path | None = None) -> Iterator[Path]:
    """Create a folder, see :func:`create_temporary_folder`, and remove it after the block."""
    path = create_temporary_folder(prefix, parent)
    try:
        yield path
    finally:
        remove_temporary(path)


@contextlib.contextmanager
def unpublished_folder(prefix: str, parent: Path) -> Iterator[Path]:
    """Create a folder within another one in ``parent``, to be renamed; remove both after the block.

    Others may read it as any folder that this process creates, unlike a temporary one.
    """
    with temporary_folder(prefix, parent) as private:
        folder = private / "new"
        folder.mkdir()
        yield folder


def atomic_write(
    path: Path, write: Callable[[IO[bytes]], object], *, overwrite: bool = True, fsync: bool = True
) -> None:
    """Write a file under a temporary name, then rename it; write directly to an existing pipe or device.

    Of a symbolic link, the destination is replaced.

    Args:
        path: of the file.
        write: writes the content to an open file.
        overwrite: whether an existing file may be replaced.
        fsync: wait until the file and its name are on disk, so that it survives a power failure.

    Raises:
        EncodeError: the file exists by now and ``overwrite`` is false.
        OSError: it cannot be written; an existing file is unchanged.
    """
    if path.exists() and not path.is_file():  # the superuser would replace /dev/null by a file
        with path.open("wb") as file:
            write(file)
        return
    part = temporary_name(path)
    try:
        with part.open("wb") as file:
            write(file)
        _rename(part, path, overwrite=overwrite, fsync=fsync)
    finally:
        remove_temporary(part)


def publish_file(part: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a complete file to its final name, durably.

    Raises:
        EncodeError: the target exists by now and ``overwrite`` is false, or it cannot be written.
    """
    try:
        _rename(part, target, overwrite=overwrite, fsync=True)
    except OSError as error:
        raise EncodeError(
            f"{target} cannot be written ({error.strerror}): make room or check the folder, and run it again"
        ) from error


def _rename(part: Path, target: Path, *, overwrite: bool, fsync: bool) -> None:
    file = resolve_target(target)
    if fsync:
        fsync_path(part)
    if not overwrite and os.path.lexists(target):
        raise EncodeError(f"{target} has come into being meanwhile; use --overwrite to replace it")
    part.replace(file)
    if fsync:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            fsync_path(file.parent)


def resolve_target(target: Path) -> Path:
    """Return the path to write to: that of a symbolic link's destination, so that the link stays.

    Raises:
        OSError: the name is too long, or the link leads back to itself.
    """
    if not target.is_symlink():
        return target
    file = Path(os.path.realpath(target))
    if file.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(target))
    return file


def fsync_path(path: Path) -> None:
    """Wait until a file that this process may write, or a folder's list of files, is on disk."""
    # Windows syncs only what is open for writing
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR | getattr(os, "O_BINARY", 0)
    handle = os.open(path, access)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def workdir_for(target: Path) -> Path:
    """Return the path of a target's workdir: ``.out.mp4.vsr`` next to ``out.mp4``."""
    file = resolve_target(target)
    return file.with_name(f".{shorten_name(file.name, _MAX_NAME_BYTES)}.vsr")


def shorten_name(name: str, max_bytes: int) -> str:
    """Return a file's name, or its beginning and a digest of it if it has more bytes."""
    content = os.fsencode(name)
    if len(content) <= max_bytes:
        return name
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{content[: max_bytes - 17].decode('utf-8', 'ignore')}.{digest}"


class WorkDir:
    """A folder that is locked by one run, and whose files are written atomically.

    Args:
        target: path of the output.

    Attributes:
        path: of the folder.
    """

    def __init__(self, target: Path) -> None:
        self.path = workdir_for(target)
        self._target = target
        self._lock = FileLock(self.path / _LOCK_NAME)

    def open(self) -> None:
        """Create the folder if necessary, and lock it.

        Raises:
            TargetLockedError: another run has locked it.
            OutputError: it cannot be written, or the target's folder is gone.
        """
        for attempts_left in reversed(range(_LOCK_ATTEMPTS)):
            try:
                self._create()
                self._lock.acquire()
                return
            except LockHeldError as error:
                raise TargetLockedError(
                    f"{self._target}: {error} is at work on it; wait until it has finished, or stop it first"
                ) from None
            except OSError as error:
                if isinstance(error, FileNotFoundError) and attempts_left:
                    continue  # the previous owner has just removed it
                raise OutputError(
                    f"{self.path} cannot be written ({error.strerror}); remove it or choose another target"
                ) from error

    def _create(self) -> None:
        try:
            self.path.mkdir(exist_ok=True)
        except FileNotFoundError as error:
            raise OutputError(
                f"{self._target}: its folder does not exist any more; create it and enter it again, or "
                "choose another target"
            ) from error

    def write(self, name: str, fill: Callable[[IO[bytes]], object]) -> None:
        """Write or replace the file ``name`` atomically and durably; ``fill`` writes the content.

        Raises:
            OutputError: the disk is full or broken; an existing file is unchanged.
        """
        try:
            atomic_write(self.path / name, fill)
        except OSError as error:
            raise OutputError(
                f"{self.path / name} cannot be written ({error.strerror}); free some space and run the same "
                "command again"
            ) from error

    def remove_except(self, names: Iterable[str], pattern: str = "") -> None:
        """Remove all files but these, those whose names match a pattern, the lock, and temporary ones of this
        process.

        What other processes may write at this moment wants a pattern: a list of names that is made before
        misses files that appear meanwhile.
        """
        keep = {*names, _LOCK_NAME}
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                if path.name in keep or path in _temporary_paths or fnmatchcase(path.name, pattern):
                    continue
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with its content. Nothing may be written into it afterwards."""
        remove_temporary(self.path)
        if self._lock.is_in_place:  # on Windows, a file that is open cannot be removed
            self._lock.release()
            with contextlib.suppress(OSError):  # another run has it open by now
                (self.path / _LOCK_NAME).unlink()
                self.path.rmdir()

    def close(self) -> None:
        """Unlock the folder. Can be called repeatedly."""
        self._lock.release()


def sampled_sha256(path: Path, size: int | None = None) -> str:
    """Return the sha256 of 16 blocks spread over a file, the first and the last included.

    Reading all of a long video would take longer than the certainty is worth.

    Args:
        path: of the file.
        size: bytes from the start that count as the file; None: all.
    """
    digest, size = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        for number in range(_SAMPLE_COUNT):
            file.seek(max(size - _SAMPLE_BYTES, 0) * number // (_SAMPLE_COUNT - 1))
            digest.update(file.read(min(_SAMPLE_BYTES, size)))
    return digest.hexdigest()
