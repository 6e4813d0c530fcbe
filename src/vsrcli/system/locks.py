"""One run at a time: a lock that ends with its process, however that ends.

The kernel's own lock (``flock``) decides where there is one: it is gone at the moment the process is. Where
there is none (Windows, some network drives), the file's words do: which process, on which machine, since
when. A process that is not there any more, or whose number another one has got since, holds nothing.
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
_START_TIME_TOLERANCE = 2.0  # seconds; the clock that a start is counted from may be corrected meanwhile


class LockHeldError(Exception):
    """Another process has the lock; the text says which."""


class FileLock:
    """A lock on one file.

    Args:
        path: the file. It stays when the lock is released: whoever waits for it may hold it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            Held: somebody has it.
            OSError: the file cannot be written.
        """
        while self._handle is None:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                locked = _flock(handle)
                if not self._is_current(handle):
                    os.close(handle)
                    continue  # its holder has removed the file just now
                owner = _read_owner(handle)
                if not locked and _is_alive(owner):
                    raise LockHeldError(_describe(owner))
                _write_owner(handle, _own_record())
            except BlockingIOError:
                owner = _read_owner(handle)
                os.close(handle)
                raise LockHeldError(_describe(owner)) from None
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle

    def release(self) -> None:
        """Give it back. Safe to call any number of times."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def _is_current(self, handle: int) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except OSError:
            return False


def _flock(handle: int) -> bool:
    """Whether the kernel has given us its lock; False if it knows none here.

    Raises:
        BlockingIOError: another process has it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _UNSUPPORTED_ERRNOS:
            return False
        raise
    return True


def _own_record() -> dict[str, object]:
    started = psutil.Process().create_time()
    return {"pid": os.getpid(), "started": started, "host": socket.gethostname()}


def _is_alive(owner: dict[str, object]) -> bool:
    """Whether the process that a lock file names is there; on another machine nobody can tell."""
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
    """What the file says; empty if it is unreadable or says nothing."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        owner = json.loads(os.read(handle, 4096))
        return {name: owner[name] for name in ("pid", "started", "host")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_owner(handle: int, owner: dict[str, object]) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(owner).encode())
