"""File locks: exclusive, and released with their process."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from vsrcli.system import locks
from vsrcli.system.locks import FileLock, LockHeldError


def test_lock_is_exclusive(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(LockHeldError, match=f"process {os.getpid()} on "):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def hold_until_killed(path: Path, held: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    FileLock(path).acquire()
    held.set()
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("flock", [True, False])
def test_lock_ends_with_its_process(flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not flock:
        monkeypatch.setattr(locks, "fcntl", None)
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    other = spawn.Process(target=hold_until_killed, args=(tmp_path / "lock", held))
    other.start()
    other.join()
    assert held.is_set()
    FileLock(tmp_path / "lock").acquire()


def test_lock_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(LockHeldError, match="process"):
        second.acquire()
    owner = json.loads((tmp_path / "lock").read_text())
    (tmp_path / "lock").write_text(json.dumps({**owner, "started": owner["started"] - 100}))
    second.acquire()  # same process id, another process
    (tmp_path / "lock").write_text(json.dumps({**owner, "host": "elsewhere"}))
    with pytest.raises(LockHeldError, match="on elsewhere"):
        FileLock(tmp_path / "lock").acquire()
    first.release()
    (tmp_path / "lock").write_text("damaged")
    FileLock(tmp_path / "lock").acquire()


def test_lock_file_removed_while_acquiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previous owner removes the file just after the next one has opened it."""
    path, flock, removed = tmp_path / "lock", locks._flock, []

    def remove_first(handle: int) -> bool:
        if not removed:
            removed.append(path.unlink())
        return flock(handle)

    monkeypatch.setattr(locks, "_flock", remove_first)
    FileLock(path).acquire()
    assert path.exists()
