"""The journal, fingerprints, and the length of segments."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsrcli.frames.tiling import plan_tiles
from vsrcli.media.segments import SegmentFile
from vsrcli.pipeline.checkpoint import JOURNAL_NAME, Journal, changed_keys, read_journal
from vsrcli.pipeline.segmented_output import frames_per_segment
from vsrcli.system.files import sampled_sha256

JOURNAL = Journal(
    tiles=(plan_tiles(100, 160, 48, 4), plan_tiles(200, 320, None, 4)),
    fingerprint={"the input": "1", "--scale": "4"},
    segment_frames=99,
    engine="bicubic interpolation on CPU, fp32",
    segments=(SegmentFile("000000-a.mov", 99, 0, 98098, 5, 2, 77),),
    state_file="state-1.npz",
    shot_count=2,
    warnings=("a warning",),
)


def write(folder: Path, journal: Journal) -> None:
    (folder / JOURNAL_NAME).write_bytes(journal.dumps())


def test_journal_round_trip(tmp_path: Path) -> None:
    for journal in (JOURNAL, replace(JOURNAL, state_file=None, complete=True)):
        write(tmp_path, journal)
        assert read_journal(tmp_path) == journal


def test_missing_journal(tmp_path: Path) -> None:
    assert read_journal(tmp_path) is None
    assert read_journal(tmp_path / "missing") is None


@pytest.mark.parametrize("length", [0, 1, 40, 200])
def test_truncated_journal(length: int, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(JOURNAL.dumps()[:length])
    assert read_journal(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [{"version": 3}, {"version": 99}, {"segments": 5}, {"unknown": 1}, {"tiles": []}, {"tiles": [{}]}],
)
def test_journal_of_another_format(change: dict, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_text(json.dumps({**json.loads(JOURNAL.dumps()), **change}))
    assert read_journal(tmp_path) is None


def test_intact_means_that_all_files_exist(tmp_path: Path) -> None:
    write(tmp_path, JOURNAL)
    assert not JOURNAL.is_intact(tmp_path)
    (tmp_path / "000000-a.mov").write_bytes(b"12345")
    assert not JOURNAL.is_intact(tmp_path)
    (tmp_path / "state-1.npz").write_bytes(b"")
    assert JOURNAL.is_intact(tmp_path)
    (tmp_path / "000000-a.mov").write_bytes(b"1234")
    assert not JOURNAL.is_intact(tmp_path)


def test_sampled_sha256(tmp_path: Path) -> None:
    path, content = tmp_path / "video", bytearray(os.urandom(3_000_000))
    path.write_bytes(content)
    first = sampled_sha256(path)
    assert sampled_sha256(path) == first
    for at in (0, -1, 65_535):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert sampled_sha256(path) != first
    path.write_bytes(content + os.urandom(1_000_000))
    assert sampled_sha256(path) != first
    assert sampled_sha256(path, len(content)) == first
    path.write_bytes(content[:5])
    few = sampled_sha256(path)
    path.write_bytes(content)
    assert sampled_sha256(path, 5) == few
    path.write_bytes(b"short")
    assert sampled_sha256(path)


def test_changed_keys() -> None:
    assert changed_keys({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]
    assert changed_keys({"a": "1"}, {}) == ["a"]


class _Job:
    """The attributes of a job that the length of segments depends on."""

    def __init__(
        self, macs: int, width: int, height: int, rate: str | None, segment: str | int = "auto"
    ) -> None:
        self.options = SimpleNamespace(segment=segment)
        model = SimpleNamespace(scale=4, architecture=SimpleNamespace(multiply_adds=lambda scale: macs))
        self.models, self.segmented = [model], True
        frame_rate = None if rate is None else Fraction(rate)
        self.source = SimpleNamespace(
            video=SimpleNamespace(width=width, height=height, frame_rate=frame_rate)
        )


@pytest.mark.parametrize(
    ("job", "on_gpu", "frames"),
    [
        (_Job(370_000, 240, 136, "24"), False, 99),  # a minute's work
        (_Job(370_000, 240, 136, "24"), True, 240),  # ten seconds of video
        (_Job(4_860_000, 1920, 1080, "24"), False, 24),  # the minimum, since each segment costs a key frame
        (_Job(0, 1920, 1080, "24000/1001"), False, 239),
        (_Job(0, 640, 360, None), False, 250),
        (_Job(370_000, 240, 136, "24", segment=7), True, 7),
    ],
)
def test_frames_per_segment(job: Any, on_gpu: bool, frames: int) -> None:
    assert frames_per_segment(job, on_gpu=on_gpu) == frames
