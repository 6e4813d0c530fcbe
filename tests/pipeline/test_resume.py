"""Interrupted and gone on with: the film is the one that it would have been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from interruptible_runs import FAST, frame_hashes, journal, upscaled

import media_samples as media
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options
from vsrcli.errors import EncodeError, OutputError
from vsrcli.system.files import WorkDir, workdir_for

Sample = Callable[..., Path]
BICUBIC = Options(Fraction(2), "bicubic", encode=FAST, segment=5)

FILMS = [
    (media.cfr, {"frames": 24}),
    (media.cfr, {"frames": 24, "suffix": ".mkv"}),
    (media.vfr, {"frames": 24}),
    (media.video_starts_late, {}),
    (media.mpegts, {"frames": 24}),
    (media.mpegts, {"frames": 24, "offset": 7200}),
    (media.interlaced, {}),
    (media.ten_bit, {}),
    (media.rotated, {"degrees": 90}),
    (media.rich, {"suffix": ".mkv"}),
]


@pytest.mark.parametrize(("function", "options"), FILMS)
def test_the_film_is_the_same(
    function: Callable[..., Path], options: dict, sample: Sample, tmp_path: Path
) -> None:
    source, whole, target = sample(function, **options), tmp_path / "whole.mp4", tmp_path / "out.mp4"
    assert upscaled(source, whole, BICUBIC).result is not None
    last = len(frame_hashes(whole)) - 1
    for until in sorted({2, 6, last}):
        assert upscaled(source, target, BICUBIC, until=until).result is None
        assert not target.exists()
    assert upscaled(source, target, BICUBIC).result is not None
    assert frame_hashes(target) == frame_hashes(whole)
    assert target.stat().st_size == whole.stat().st_size
    assert not workdir_for(target).exists()
    assert not workdir_for(whole).exists()


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
@pytest.mark.parametrize("tile", ["none", 32])
def test_what_a_network_remembers_crosses_borders(
    kind: str, tile: str | int, sample: Sample, tmp_path: Path
) -> None:
    """Written in one go, in segments, and in segments of several runs: the same frames, losslessly."""
    source, weights = sample(media.cfr, frames=24), tiny_weights(tmp_path, kind)
    lossless = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    options = replace(BICUBIC, model=str(weights), tile=tile, overlap=8, device="cpu", encode=lossless)
    found = []
    for name, segment, stops in (("whole", "none", ()), ("segments", 5, ()), ("runs", 5, (8, 17))):
        target = tmp_path / f"{name}.mkv"
        for until in stops:
            assert upscaled(source, target, replace(options, segment=segment), until=until).result is None
        told = upscaled(source, target, replace(options, segment=segment))
        assert told.notices == (["resuming at frame 15 of 24"] if stops else [])
        found.append(frame_hashes(target))
    assert found[0] == found[1] == found[2]


def test_at_most_one_segment_is_computed_again(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    reached = 0
    for until in (2, 4, 8, 11, 13, 19, 23):
        told = upscaled(source, target, BICUBIC, until=until)
        assert reached - told.frames[0] < 5
        assert told.frames == list(range(told.frames[0], until + 1))
        reached = until
        if until > 5:
            assert sum(each["frame_count"] for each in journal(target)["segments"]) == (until - 1) // 5 * 5
    told = upscaled(source, target, BICUBIC)
    assert told.notices == ["resuming at frame 20 of 24"]
    assert told.frames == [21, 22, 23, 24]
    assert told.result is not None
    assert (told.result.frames, told.result.resumed) == (24, 20)


def test_nothing_is_kept_of_a_run_that_finished_nothing(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    assert upscaled(sample(media.cfr), target, BICUBIC, until=4).result is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_stopped_before_its_name_was_given(sample: Sample, tmp_path: Path) -> None:
    """All frames are there, only the joining is missing: no network is started for that."""
    source, target = sample(media.cfr, frames=10), tmp_path / "out.mp4"
    target.write_text("in the way")
    options = replace(BICUBIC, encode=replace(FAST, overwrite=True))

    def occupy(progress: object) -> None:
        if target.is_file():
            target.unlink()
            target.mkdir()

    with pytest.raises(OutputError, match="cannot be written"):
        upscaled(source, target, options, at=occupy)
    assert journal(target)["complete"]
    target.rmdir()
    told = upscaled(source, target, options)
    assert told.notices == ["resuming at frame 10 of 10"]
    assert told.frames == []
    assert len(frame_hashes(target)) == 10


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (replace(BICUBIC, model="lanczos"), "the weights"),
        (replace(BICUBIC, scale=Fraction(3)), "--scale"),
        (replace(BICUBIC, segment=6), "the segment length"),
        (replace(BICUBIC, end=Fraction(1, 2)), "--end"),
        (replace(BICUBIC, tile=32), "--tile"),
        (replace(BICUBIC, encode=EncodeOptions(crf=30, preset="ultrafast")), "the encoder's crf"),
        (replace(BICUBIC, encode=EncodeOptions(codec="libx265", preset="ultrafast")), "the codec"),
        (replace(BICUBIC, resume=False), "as requested"),
    ],
)
def test_other_options_begin_anew(change: Options, named: str, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscaled(source, target, BICUBIC, until=12)
    told = upscaled(source, target, change)
    assert len(told.notices) == 1
    assert told.notices[0].startswith("starting afresh instead of going on from 10 finished frames: ")
    assert named in told.notices[0]
    assert told.frames[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        replace(BICUBIC, device="cpu"),
        replace(BICUBIC, encode=replace(FAST, overwrite=True)),
        replace(BICUBIC, encode=EncodeOptions(preset="ultrafast", extra=(("movflags", "+faststart"),))),
    ],
)
def test_what_changes_no_picture_changes_nothing(change: Options, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscaled(source, target, BICUBIC, until=12)
    assert upscaled(source, target, change).notices == ["resuming at frame 10 of 24"]


def test_another_input_begins_anew(sample: Sample, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())
    upscaled(source, target, BICUBIC, until=12)
    source.write_bytes(sample(media.vfr, frames=24).read_bytes())
    told = upscaled(source, target, BICUBIC)
    assert "the input's size" in told.notices[0]
    assert told.frames[0] == 1


def test_old_segments_stay_until_there_are_new_ones(sample: Sample, tmp_path: Path) -> None:
    """A mistyped option must not cost six days: Ctrl-C, and the right command goes on."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscaled(source, target, BICUBIC, until=12)
    upscaled(source, target, replace(BICUBIC, scale=Fraction(3)), until=3)
    assert upscaled(source, target, BICUBIC).notices == ["resuming at frame 10 of 24"]


@pytest.mark.parametrize("damage", ["segment", "state", "journal"])
def test_what_was_damaged_meanwhile_begins_anew(damage: str, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscaled(source, target, BICUBIC, until=12)
    found = journal(target)
    names = {"segment": found["segments"][0]["name"], "state": found["state_file"], "journal": "journal.json"}
    file = workdir_for(target) / names[damage]
    file.write_bytes(file.read_bytes()[:-20])
    told = upscaled(source, target, BICUBIC)
    assert told.frames[0] == 1
    assert damage == "journal" or told.notices[0].startswith("starting afresh")
    assert len(frame_hashes(target)) == 24


def test_two_runs_on_one_target(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"

    def second(progress: object) -> None:
        with pytest.raises(OutputError, match=r"out\.mp4: process \d+ on .* is at work on it"):
            upscaled(source, target, BICUBIC)

    told = upscaled(source, target, BICUBIC, at=second)
    assert told.result is not None
    assert len(frame_hashes(target)) == 24


def test_a_source_that_changes_under_way(sample: Sample, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())

    def touch(progress: object) -> None:
        source.touch()

    with pytest.raises(Exception, match="the input's modification time has changed while it was upscaled"):
        upscaled(source, target, BICUBIC, at=touch)
    assert not target.exists()


def test_a_span_and_a_number_of_frames(sample: Sample, tmp_path: Path) -> None:
    source = sample(media.cfr, frames=48)
    for name, options in (
        ("span", replace(BICUBIC, start=Fraction(1, 2), end=Fraction(3, 2))),
        ("frames", replace(BICUBIC, start=Fraction(1, 2), frames=22)),
    ):
        whole, target = tmp_path / f"{name}-whole.mp4", tmp_path / f"{name}.mp4"
        upscaled(source, whole, options)
        upscaled(source, target, options, until=13)
        told = upscaled(source, target, options)
        assert told.notices[0].startswith("resuming at frame 10 of ")
        assert frame_hashes(target) == frame_hashes(whole)


def test_the_folder_is_beside_what_a_link_points_to(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out.mp4"
    link.symlink_to(tmp_path / "disk" / "film.mp4")
    options = replace(BICUBIC, encode=replace(FAST, overwrite=True))
    upscaled(sample(media.cfr, frames=24), link, options, until=12)
    assert WorkDir(link).path == tmp_path / "disk" / ".film.mp4.vsr"
    assert WorkDir(link).path.is_dir()
    upscaled(sample(media.cfr, frames=24), link, options)
    assert link.is_symlink()
    assert len(frame_hashes(tmp_path / "disk" / "film.mp4")) == 24


def test_a_segment_whose_bits_turned_does_not_end_up_in_the_film(sample: Sample, tmp_path: Path) -> None:
    """Its length is right, its headers and times are; only its checksum is not."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscaled(source, target, BICUBIC, until=12)
    file = workdir_for(target) / journal(target)["segments"][0]["name"]
    content = bytearray(file.read_bytes())
    at = content.index(b"mdat") + 2000
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(EncodeError, match=r"its segment .* has been changed or damaged"):
        upscaled(source, target, BICUBIC)
    assert not target.exists()
