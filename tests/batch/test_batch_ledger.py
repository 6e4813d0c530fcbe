"""The ledger: which outputs count as finished, and why others do not."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from vsrcli.batch.ledger import LEDGER_NAME, Identity, Ledger, options_fingerprint
from vsrcli.frames.geometry import SizeRequest
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.pipeline.options import Options

OPTIONS = {"--scale": "4", "weight file": "abc x4"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"video" * 1000)
    return path


@pytest.fixture
def target(tmp_path: Path, source: Path) -> Path:
    """A finished output with its record."""
    path = tmp_path / "out" / "s1" / "in.mp4"
    path.parent.mkdir(parents=True)
    ledger, identity = Ledger(tmp_path / "out"), Identity.of(source, complete=True)
    ledger.begin(path, replace(identity, sha256=""), OPTIONS)
    path.write_bytes(b"large" * 1000)
    ledger.finish(path, identity, OPTIONS, 7)
    return path


def reason(source: Path, target: Path, options: dict[str, str] = OPTIONS) -> str | None:
    """Return the reason of a new ledger, as in the next run."""
    return Ledger(target.parents[1]).reason_not_done(source, target, options)


def test_a_finished_output(source: Path, target: Path) -> None:
    assert reason(source, target) is None
    assert Ledger(target.parents[1]).frames(target) == 7
    assert Ledger(target.parents[1]).targets == [target]


def test_other_options_are_named(source: Path, target: Path) -> None:
    text = reason(source, target, {**OPTIONS, "--scale": "2"})
    assert text == "was created with another --scale"


def test_a_source_that_has_changed(source: Path, target: Path) -> None:
    time = source.stat().st_mtime_ns
    source.write_bytes(b"VIDEO" * 1000)
    os.utime(source, ns=(time, time))
    assert reason(source, target) == "was created from another source"


def test_a_source_that_was_only_copied_or_touched(source: Path, target: Path) -> None:
    os.utime(source, ns=(1, 1))
    assert reason(source, target) is None


def test_a_change_between_samples_is_noticed_by_the_time(tmp_path: Path) -> None:
    source, target = tmp_path / "big.mkv", tmp_path / "out.mkv"
    source.write_bytes(bytes(8 << 20))
    target.write_bytes(b"video")
    before = Identity.of(source, complete=True)
    with source.open("r+b") as file:
        file.seek(300_000)  # between two blocks of the sample
        file.write(b"!")
    os.utime(source, ns=(1, 1))
    assert Identity.of(source).sample == before.sample
    assert not before.matches(source)


def test_a_result_that_was_changed(source: Path, target: Path) -> None:
    target.write_bytes(b"large" * 900)
    assert reason(source, target) == "was changed since it was created"


def test_a_file_that_no_batch_has_created(source: Path, target: Path) -> None:
    other = target.with_name("other.mp4")
    other.write_bytes(b"holiday")
    assert reason(source, other) == "exists, but no batch has created it"


def test_a_moved_output_folder_is_still_finished(source: Path, target: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (tmp_path / "out").rename(moved)
    assert reason(source, moved / "s1" / "in.mp4") is None


def test_a_crash_between_output_and_record(source: Path, target: Path) -> None:
    ledger, other = Ledger(target.parents[1]), target.with_name("late.mp4")
    ledger.begin(other, Identity.of(source), OPTIONS)
    other.write_bytes(b"large")
    os.utime(other)
    assert reason(source, other) is None
    assert reason(source, other, {**OPTIONS, "--scale": "2"}) == "was created with another --scale"
    os.utime(other, ns=(1, 1))  # older than the start: not of this run
    assert reason(source, other) == "exists, but no batch has created it"


def test_an_abandoned_output_does_not_claim_a_later_file(source: Path, target: Path) -> None:
    ledger, other = Ledger(target.parents[1]), target.with_name("failed.mp4")
    ledger.begin(other, Identity.of(source), OPTIONS)
    ledger.abandon(other)
    other.write_bytes(b"by hand")
    assert reason(source, other) == "exists, but no batch has created it"


def test_an_incomplete_line_loses_no_other(source: Path, target: Path) -> None:
    file = target.parents[1] / LEDGER_NAME
    file.write_bytes(file.read_bytes() + b'{"version": 2, "target": "s1/in.')
    assert reason(source, target) is None
    other = target.with_name("other.mp4")
    other.write_bytes(b"large")
    Ledger(target.parents[1]).finish(other, Identity.of(source, complete=True), OPTIONS, 3)
    assert reason(source, other) is None
    assert reason(source, target) is None


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"version": 2}', b"\xff\xfe", b'{"version": 99, "target": "s1/in.mp4"}']
)
def test_unknown_lines_are_ignored(line: bytes, source: Path, target: Path) -> None:
    file = target.parents[1] / LEDGER_NAME
    file.write_bytes(line + b"\n" + file.read_bytes() + line)
    assert reason(source, target) is None


def test_options_that_change_the_output() -> None:
    plain = Options(model="bicubic")

    def differs(**changes: object) -> bool:
        return options_fingerprint(replace(plain, **changes)) != options_fingerprint(plain)  # type: ignore[arg-type]

    assert not any(differs(**{name: 7}) for name in ("max_memory", "tile", "segment"))
    assert not any((differs(device="cpu"), differs(engine="keras"), differs(resume=False)))
    assert not differs(keep_going=True)
    assert not differs(encode=EncodeOptions(overwrite=True))
    assert all((differs(scale=Fraction(2)), differs(model="lanczos"), differs(frames=3), differs(overlap=3)))
    assert all((differs(size=SizeRequest(height=1080)), differs(chain=True)))
    assert all((differs(deinterlace=False), differs(encode=EncodeOptions(crf=20.0))))
