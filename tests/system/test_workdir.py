"""The workdir: its name, its files and its removal."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vsrcli.errors import EncodeError, OutputError
from vsrcli.system import files
from vsrcli.system.files import WorkDir, temporary_folder, temporary_name, workdir_for
from vsrcli.system.locks import FileLock


def test_files_are_replaced_atomically(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path / "out.mp4")
    workdir.open()
    workdir.write("a", lambda file: file.write(b"old"))

    def fail(file) -> None:
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); free some"):
        workdir.write("a", fail)
    assert (workdir.path / "a").read_bytes() == b"old"
    workdir.write("b", lambda file: file.write(b"new"))
    workdir.remove_except(["b"])
    assert sorted(path.name for path in workdir.path.iterdir()) == ["b", "lock"]
    workdir.remove()
    workdir.close()
    assert list(tmp_path.iterdir()) == []


def test_files_that_others_write_meanwhile_stay(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path / "out.mp4")
    workdir.open()
    (workdir.path / "old").touch()

    def names() -> Iterator[str]:
        yield "kept"
        (workdir.path / "piece-1").touch()  # by a worker, just now

    workdir.remove_except(names(), "piece-*")
    assert sorted(path.name for path in workdir.path.iterdir()) == ["lock", "piece-1"]
    workdir.close()


def test_workdir_names() -> None:
    assert workdir_for(Path("videos/out.mp4")) == Path("videos/.out.mp4.vsr")
    names = [workdir_for(Path(mark * 250 + ".mp4")).name for mark in "xy"]
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert names[0] != names[1]
    assert len(os.fsencode(workdir_for(Path("ü" * 125 + ".mp4")).name)) <= 255


def test_workdir_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / ".out.mp4.vsr").write_text("not a folder")
    with pytest.raises(OutputError, match=r"\.out\.mp4\.vsr cannot be written"):
        WorkDir(tmp_path / "out.mp4").open()


def test_workdir_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder was deleted; another one may have its name by now."""
    folder = tmp_path / "videos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    folder.mkdir()
    with pytest.raises(OutputError, match=r"out\.mp4: its folder does not exist any more; create it"):
        WorkDir(Path("out.mp4")).open()


def test_workdir_that_others_remove_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir, acquire, failures = WorkDir(tmp_path / "out.mp4"), FileLock.acquire, [3]

    def failing(lock: FileLock) -> None:
        if failures[0]:
            failures[0] -= 1
            workdir.path.rmdir()
        acquire(lock)

    monkeypatch.setattr(FileLock, "acquire", failing)
    workdir.open()
    workdir.close()
    workdir.remove()
    failures[0] = 10_000
    with pytest.raises(OutputError, match=r"\.out\.mp4\.vsr cannot be written \(No such file"):
        workdir.open()


def test_temporary_files_are_removed_when_the_program_leaves_at_once(tmp_path: Path) -> None:
    part = temporary_name(tmp_path / "out.mp4")
    part.write_text("half")
    with temporary_folder(parent=tmp_path) as folder:
        (folder / "chapters.txt").touch()
        files.atomic_write(tmp_path / "done.json", lambda file: file.write(b"{}"))
        files.remove_temporary_files()
        assert [path.name for path in tmp_path.iterdir()] == ["done.json"]


def test_atomic_write_follows_links_and_writes_to_devices(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    files.atomic_write(link, lambda file: file.write(b"new"))
    files.atomic_write(Path(os.devnull), lambda file: file.write(b"text"))
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    with pytest.raises(EncodeError, match="has come into being meanwhile"):
        files.atomic_write(link, lambda file: file.write(b"newer"), overwrite=False)
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_what_is_synced_is_open_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to sync a file that is open for reading only; a folder cannot be open for writing."""
    access = []
    monkeypatch.setattr(os, "fsync", lambda handle: access.append(fcntl.fcntl(handle, fcntl.F_GETFL) & 3))
    files.atomic_write(tmp_path / "out.mp4", lambda file: file.write(b"content"))
    assert access == [os.O_RDWR, os.O_RDONLY]


def test_an_open_lock_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows removes no file that is open."""
    workdir, unlink = WorkDir(tmp_path / "out.mp4"), os.unlink
    workdir.open()
    workdir.write("a", lambda file: file.write(b"content"))

    def unlink_closed(path, *arguments, **options) -> None:
        if Path(path).name == "lock" and workdir._lock._handle is not None:
            raise PermissionError(13, "The process cannot access the file")
        unlink(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", unlink_closed)
    workdir.remove()
    workdir.close()
    assert list(tmp_path.iterdir()) == []
