"""What counts as a finished film, and what does not."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from vsrcli.batch.ledger import LEDGER_NAME, Identity, Ledger, options_fingerprint
from vsrcli.frames.geometry import SizeRequest
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.pipeline.job import Options

OPTIONS = {"--scale": "4", "weight file": "abc x4"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"film" * 1000)
    return path


@pytest.fixture
def target(tmp_path: Path, source: Path) -> Path:
    """A film that was finished, and written down."""
    path = tmp_path / "out" / "s1" / "in.mp4"
    path.parent.mkdir(parents=True)
    ledger, identity = Ledger(tmp_path / "out"), Identity.of(source, complete=True)
    ledger.begin(path, replace(identity, sha256=""), OPTIONS)
    path.write_bytes(b"large" * 1000)
    ledger.finish(path, identity, OPTIONS, 7)
    return path


def objection(source: Path, target: Path, options: dict[str, str] = OPTIONS) -> str | None:
    """As the next run of the program finds it."""
    return Ledger(target.parents[1]).reason_not_done(source, target, options)


def test_a_finished_film(source: Path, target: Path) -> None:
    assert objection(source, target) is None
    assert Ledger(target.parents[1]).frames(target) == 7
    assert Ledger(target.parents[1]).targets == [target]


def test_other_options_are_named(source: Path, target: Path) -> None:
    said = objection(source, target, {**OPTIONS, "--scale": "2"})
    assert said == "was made with another --scale"


def test_a_source_that_has_changed(source: Path, target: Path) -> None:
    time = source.stat().st_mtime_ns
    source.write_bytes(b"FILM" * 1000)
    os.utime(source, ns=(time, time))
    assert objection(source, target) == "was made of another source"


def test_a_source_that_was_only_copied_or_touched(source: Path, target: Path) -> None:
    os.utime(source, ns=(1, 1))
    assert objection(source, target) is None


def test_a_change_between_the_samples_is_seen_by_the_new_time(tmp_path: Path) -> None:
    source, target = tmp_path / "big.mkv", tmp_path / "out.mkv"
    source.write_bytes(bytes(8 << 20))
    target.write_bytes(b"film")
    before = Identity.of(source, complete=True)
    with source.open("r+b") as file:
        file.seek(300_000)  # between two blocks of the sample
        file.write(b"!")
    os.utime(source, ns=(1, 1))
    assert Identity.of(source).sample == before.sample
    assert not before.matches(source)


def test_a_result_that_is_no_longer_what_was_written(source: Path, target: Path) -> None:
    target.write_bytes(b"large" * 900)
    assert objection(source, target) == "was changed since it was made"


def test_a_file_that_no_batch_has_made(source: Path, target: Path) -> None:
    other = target.with_name("other.mp4")
    other.write_bytes(b"holiday")
    assert objection(source, other) == "exists, but no batch has made it"


def test_a_moved_library_is_finished_still(source: Path, target: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (tmp_path / "out").rename(moved)
    assert objection(source, moved / "s1" / "in.mp4") is None


def test_the_end_between_the_name_and_the_record(source: Path, target: Path) -> None:
    ledger, other = Ledger(target.parents[1]), target.with_name("late.mp4")
    ledger.begin(other, Identity.of(source), OPTIONS)
    other.write_bytes(b"large")
    os.utime(other)
    assert objection(source, other) is None
    assert objection(source, other, {**OPTIONS, "--scale": "2"}) == "was made with another --scale"
    os.utime(other, ns=(1, 1))  # older than the beginning: somebody else's
    assert objection(source, other) == "exists, but no batch has made it"


def test_a_film_that_was_given_up_makes_nothing_of_a_later_file(source: Path, target: Path) -> None:
    ledger, other = Ledger(target.parents[1]), target.with_name("failed.mp4")
    ledger.begin(other, Identity.of(source), OPTIONS)
    ledger.abandon(other)
    other.write_bytes(b"by hand")
    assert objection(source, other) == "exists, but no batch has made it"


def test_a_torn_line_costs_nothing_else(source: Path, target: Path) -> None:
    file = target.parents[1] / LEDGER_NAME
    file.write_bytes(file.read_bytes() + b'{"version": 1, "target": "s1/in.')
    assert objection(source, target) is None
    other = target.with_name("other.mp4")
    other.write_bytes(b"large")
    Ledger(target.parents[1]).finish(other, Identity.of(source, complete=True), OPTIONS, 3)
    assert objection(source, other) is None
    assert objection(source, target) is None


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"version": 1}', b"\xff\xfe", b'{"version": 99, "target": "s1/in.mp4"}']
)
def test_lines_of_others_are_passed_over(line: bytes, source: Path, target: Path) -> None:
    file = target.parents[1] / LEDGER_NAME
    file.write_bytes(line + b"\n" + file.read_bytes() + line)
    assert objection(source, target) is None


def test_what_a_film_depends_on() -> None:
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
