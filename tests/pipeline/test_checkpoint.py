"""The folder, its lock and its journal."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsrcli.errors import OutputError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.media.segments import SegmentFile
from vsrcli.pipeline.checkpoint import JOURNAL_NAME, Journal, changed_keys, read_journal, sampled_sha256
from vsrcli.pipeline.segmented_output import frames_per_segment
from vsrcli.system import locks
from vsrcli.system.files import WorkDir, workdir_for
from vsrcli.system.locks import FileLock, LockHeldError

JOURNAL = Journal(
    tiles=plan_tiles(100, 160, 48, 4),
    fingerprint={"the input": "1", "--scale": "4"},
    segment_frames=99,
    engine="bicubic interpolation on CPU, fp32",
    segments=(SegmentFile("000000-a.mov", 99, 0, 98098, 5, 2, 77),),
    state_file="state-1.npz",
    shot_count=2,
    warnings=("a word",),
)


def write(folder: Path, journal: Journal) -> None:
    (folder / JOURNAL_NAME).write_bytes(journal.dumps())


def test_a_journal_comes_back(tmp_path: Path) -> None:
    for journal in (JOURNAL, replace(JOURNAL, state_file=None, complete=True)):
        write(tmp_path, journal)
        assert read_journal(tmp_path) == journal


def test_no_journal(tmp_path: Path) -> None:
    assert read_journal(tmp_path) is None
    assert read_journal(tmp_path / "missing") is None


@pytest.mark.parametrize("length", [0, 1, 40, 200])
def test_a_journal_that_was_cut(length: int, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(JOURNAL.dumps()[:length])
    assert read_journal(tmp_path) is None


@pytest.mark.parametrize("change", [{"version": 99}, {"segments": 5}, {"unknown": 1}, {"tiles": {}}])
def test_a_journal_of_another_kind(change: dict, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_text(json.dumps({**json.loads(JOURNAL.dumps()), **change}))
    assert read_journal(tmp_path) is None


def test_whole_means_that_all_files_are_there(tmp_path: Path) -> None:
    write(tmp_path, JOURNAL)
    assert not JOURNAL.is_intact(tmp_path)
    (tmp_path / "000000-a.mov").write_bytes(b"12345")
    assert not JOURNAL.is_intact(tmp_path)
    (tmp_path / "state-1.npz").write_bytes(b"")
    assert JOURNAL.is_intact(tmp_path)
    (tmp_path / "000000-a.mov").write_bytes(b"1234")
    assert not JOURNAL.is_intact(tmp_path)


def test_files_are_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = WorkDir(tmp_path / "out.mp4")
    folder.open()
    folder.write("a", lambda file: file.write(b"old"))

    def fail(file) -> None:
        file.write(b"half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); free some"):
        folder.write("a", fail)
    assert (folder.path / "a").read_bytes() == b"old"
    folder.write("b", lambda file: file.write(b"new"))
    folder.remove_except(["b"])
    assert sorted(path.name for path in folder.path.iterdir()) == ["b", "lock"]
    folder.remove()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_names_of_folders() -> None:
    assert workdir_for(Path("films/out.mp4")) == Path("films/.out.mp4.vsr")
    longest = [workdir_for(Path(mark * 250 + ".mp4")).name for mark in "xy"]
    assert all(len(os.fsencode(name)) <= 255 for name in longest)
    assert longest[0] != longest[1]
    assert len(os.fsencode(workdir_for(Path("ü" * 125 + ".mp4")).name)) <= 255


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / ".out.mp4.vsr").write_text("in the way")
    with pytest.raises(OutputError, match=r"\.out\.mp4\.vsr cannot be written"):
        WorkDir(tmp_path / "out.mp4").open()


def test_one_at_a_time(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(LockHeldError, match=f"process {os.getpid()} on "):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def hold(path: Path, held: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    FileLock(path).acquire()
    held.set()
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("kernel", [True, False])
def test_a_lock_ends_with_its_process(kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:
        monkeypatch.setattr(locks, "fcntl", None)
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    other = spawn.Process(target=hold, args=(tmp_path / "lock", held))
    other.start()
    other.join()
    assert held.is_set()
    FileLock(tmp_path / "lock").acquire()


def test_without_the_kernels_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(LockHeldError, match="process"):
        second.acquire()
    owner = json.loads((tmp_path / "lock").read_text())
    (tmp_path / "lock").write_text(json.dumps({**owner, "started": owner["started"] - 100}))
    second.acquire()  # the number is the same, the process is not
    (tmp_path / "lock").write_text(json.dumps({**owner, "host": "elsewhere"}))
    with pytest.raises(LockHeldError, match="on elsewhere"):
        FileLock(tmp_path / "lock").acquire()
    first.release()
    (tmp_path / "lock").write_text("rubbish")
    FileLock(tmp_path / "lock").acquire()


def test_a_lock_file_that_is_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last owner removes the folder at the moment at which the next one has opened the file."""
    path, flock, removed = tmp_path / "lock", locks._flock, []

    def slow(handle: int) -> bool:
        if not removed:
            removed.append(path.unlink())
        return flock(handle)

    monkeypatch.setattr(locks, "_flock", slow)
    FileLock(path).acquire()
    assert path.exists()


def test_a_film_is_known_by_samples(tmp_path: Path) -> None:
    path, content = tmp_path / "film", bytearray(os.urandom(3_000_000))
    path.write_bytes(content)
    first = sampled_sha256(path)
    assert sampled_sha256(path) == first
    for at in (0, -1, 65_535):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert sampled_sha256(path) != first
    path.write_bytes(b"short")
    assert sampled_sha256(path)


def test_changes_are_named() -> None:
    assert changed_keys({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]
    assert changed_keys({"a": "1"}, {}) == ["a"]


class _Machine:
    """What a job says of the work ahead."""

    def __init__(
        self, macs: int, width: int, height: int, rate: str | None, segment: str | int = "auto"
    ) -> None:
        self.options = SimpleNamespace(segment=segment)
        self.model = SimpleNamespace(
            scale=4, architecture=SimpleNamespace(multiply_adds=lambda scale: macs), second_pass=None
        )
        rate_ = None if rate is None else Fraction(rate)
        self.source = SimpleNamespace(video=SimpleNamespace(width=width, height=height, frame_rate=rate_))


@pytest.mark.parametrize(
    ("job", "on_gpu", "frames"),
    [
        (_Machine(370_000, 240, 136, "24"), False, 99),  # a minute's work
        (_Machine(370_000, 240, 136, "24"), True, 240),  # ten seconds of film
        (_Machine(4_860_000, 1920, 1080, "24"), False, 24),  # no less, or key frames would cost too much
        (_Machine(0, 1920, 1080, "24000/1001"), False, 239),
        (_Machine(0, 640, 360, None), False, 250),
        (_Machine(370_000, 240, 136, "24", segment=7), True, 7),
    ],
)
def test_how_long_a_segment_is(job: Any, on_gpu: bool, frames: int) -> None:
    assert frames_per_segment(job, on_gpu=on_gpu) == frames
