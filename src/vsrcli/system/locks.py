"""A file lock that ends with its process, however the process ends.

Where the kernel supports ``flock``, that decides: it is released with the process. Elsewhere (Windows, some
network drives) the record in the file decides: process id, host and start time. A process that does not exist
any more, or whose id belongs to a later process, holds no lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from pathlib import Path

import psutil

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_UNSUPPORTED_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_START_TIME_TOLERANCE = 2.0  # seconds; the system clock may be corrected meanwhile


class LockHeldError(Exception):
    """Another process has the lock; the message names it."""


class FileLock:
    """An exclusive lock on one file.

    Args:
        path: of the file, which is created. It stays on release: another process may have it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> None:
        """Acquire the lock, without waiting.

        Raises:
            LockHeldError: another process has it.
            OSError: the file cannot be written.
        """
        while self._handle is None:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                locked = _flock(handle)
                if not self._is_current(handle):
                    os.close(handle)
                    continue  # the previous owner has just removed the file
                if not locked and _is_alive(_read_owner(handle)):
                    raise BlockingIOError
                _write_owner(handle)
            except BaseException as error:
                owner = _read_owner(handle)
                os.close(handle)
                if isinstance(error, BlockingIOError):
                    raise LockHeldError(_describe(owner)) from None
                raise
            self._handle = handle

    def release(self) -> None:
        """Release the lock. Can be called repeatedly."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with contextlib.suppress(OSError):  # the disk is gone: so is the lock
                os.ftruncate(handle, 0)
            with contextlib.suppress(OSError):
                os.close(handle)

    @property
    def is_in_place(self) -> bool:
        """Whether the lock is acquired, and its file has not been removed since."""
        return self._handle is not None and self._is_current(self._handle)

    def _is_current(self, handle: int) -> bool:
        """Whether the path still names the open file."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except OSError:
            return False


def _flock(handle: int) -> bool:
    """Acquire the kernel's lock; return False if it does not support one here.

    Raises:
        BlockingIOError: another process has it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED_ERRNOS:
            return False
        raise
    return True


def _is_alive(owner: dict[str, object]) -> bool:
    """Whether the process of a record exists; on another host this is assumed."""
    if not owner:
        return False
    if owner["host"] != socket.gethostname():
        return True
    try:
        started = psutil.Process(int(str(owner["pid"]))).create_time()
    except (psutil.Error, ValueError):
        return False
    return abs(started - float(str(owner["started"]))) < _START_TIME_TOLERANCE


def _describe(owner: dict[str, object]) -> str:
    return f"process {owner['pid']} on {owner['host']}" if owner else "another process"


def _read_owner(handle: int) -> dict[str, object]:
    """Return the record in the file; empty if there is none or it is damaged."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        owner = json.loads(os.read(handle, 4096))
        return {name: owner[name] for name in ("pid", "started", "host")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_owner(handle: int) -> None:
    started, host = psutil.Process().create_time(), socket.gethostname()
    owner = {"pid": os.getpid(), "started": started, "host": host}
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(owner).encode())
