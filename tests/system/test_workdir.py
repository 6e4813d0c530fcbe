"""The workdir: its name, its files and its removal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vsrcli.errors import OutputError
from vsrcli.system.files import WorkDir, workdir_for


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
