"""An interrupted and resumed run writes the same output as an uninterrupted one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from interruptible_runs import FAST, frame_hashes, journal_content, upscale_until

import media_samples as media
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job
from vsrcli.errors import EncodeError, InputError, OutputError
from vsrcli.media.encoder import VideoEncoder
from vsrcli.pipeline.options import TunedSetting
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.system.files import WorkDir, workdir_for

Sample = Callable[..., Path]
BICUBIC = Options(Fraction(2), "bicubic", encode=FAST, segment=5)

VIDEOS = [
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


@pytest.mark.parametrize(("function", "options"), VIDEOS)
def test_output_is_the_same(
    function: Callable[..., Path], options: dict, sample: Sample, tmp_path: Path
) -> None:
    source, reference, target = sample(function, **options), tmp_path / "reference.mp4", tmp_path / "out.mp4"
    assert upscale_until(source, reference, BICUBIC).result is not None
    last = len(frame_hashes(reference)) - 1
    for until in sorted({2, 6, last}):
        assert upscale_until(source, target, BICUBIC, stop_after=until).result is None
        assert not target.exists()
    assert upscale_until(source, target, BICUBIC).result is not None
    assert frame_hashes(target) == frame_hashes(reference)
    assert target.stat().st_size == reference.stat().st_size
    assert not workdir_for(target).exists()
    assert not workdir_for(reference).exists()


@pytest.mark.parametrize(
    ("kind", "tile"),
    [
        *((kind, tile) for kind in ("cached", "recurrent") for tile in ("none", 48)),
        ("convlstm", 48),
        ("runet", 48),
    ],
)
def test_network_state_crosses_segment_boundaries(
    kind: str, tile: str | int, sample: Sample, tmp_path: Path
) -> None:
    """Written in one go, in segments, and in segments of several runs: the same frames (lossless codec)."""
    source, weights = sample(media.cfr), tiny_weights(tmp_path, kind)
    lossless = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    options = replace(BICUBIC, model=str(weights), tile=tile, overlap=8, device="cpu", encode=lossless)
    hashes = []
    for name, segment, stops in (("reference", "none", ()), ("segments", 3, ()), ("runs", 3, (5, 10))):
        target = tmp_path / f"{name}.mkv"
        for until in stops:
            log = upscale_until(source, target, replace(options, segment=segment), stop_after=until)
            assert log.result is None
        log = upscale_until(source, target, replace(options, segment=segment))
        # Where frames that repeat the one before are left out, results are later.
        earliest = 6 if kind == "recurrent" else 9
        expected = [f"resuming at frame {number} of 12" for number in range(earliest, 10)]
        assert log.notices[0] in expected if stops else log.notices == []
        hashes.append(frame_hashes(target))
    assert hashes[0] == hashes[1] == hashes[2]


def test_at_most_one_segment_is_recomputed(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    reached = 0
    for until in (2, 4, 8, 11, 13, 19, 23):
        log = upscale_until(source, target, BICUBIC, stop_after=until)
        assert reached - log.frame_numbers[0] < 5
        assert log.frame_numbers == list(range(log.frame_numbers[0], until + 1))
        reached = until
        if until > 5:
            assert (
                sum(each["frame_count"] for each in journal_content(target)["segments"])
                == (until - 1) // 5 * 5
            )
    log = upscale_until(source, target, BICUBIC)
    assert log.notices == ["resuming at frame 20 of 24"]
    assert log.frame_numbers == [21, 22, 23, 24]
    assert log.result is not None
    assert (log.result.frames, log.result.resumed) == (24, 20)


def test_a_run_goes_on_after_the_machine_was_tuned(sample: Sample, tmp_path: Path) -> None:
    source, target, weights = sample(media.cfr), tmp_path / "out.mp4", tiny_weights(tmp_path, "cached")
    options = replace(BICUBIC, model=str(weights), device="cpu")
    assert upscale_until(source, target, options, stop_after=6).result is None
    name = weights.name.removesuffix(".weights.h5")
    setting = TunedSetting(name, 64, 48, "cpu", "keras", "fp32", 48, "config.toml")
    tuned = replace(options, tuned=(setting,))
    assert prepare_job(source, target, tuned).options.tile == 48
    assert upscale_until(source, target, tuned, stop_after=11).notices[0] == "resuming at frame 5 of 12"
    assert upscale_until(source, target, options).notices[0].startswith("resuming at frame")


def test_no_workdir_without_a_finished_segment(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    assert upscale_until(sample(media.cfr), target, BICUBIC, stop_after=4).result is None
    assert list(tmp_path.iterdir()) == []


def test_interrupted_before_finalize(sample: Sample, tmp_path: Path) -> None:
    """All segments are complete and only concatenation is left: no network is loaded."""
    source, target = sample(media.cfr, frames=10), tmp_path / "out.mp4"
    target.write_text("in the way")
    options = replace(BICUBIC, encode=replace(FAST, overwrite=True))

    def occupy(progress: object) -> None:
        if target.is_file():
            target.unlink()
            target.mkdir()

    with pytest.raises(OutputError, match="cannot be written"):
        upscale_until(source, target, options, after_frame=occupy)
    assert journal_content(target)["complete"]
    target.rmdir()
    log = upscale_until(source, target, options)
    assert log.notices == ["resuming at frame 10 of 10"]
    assert log.frame_numbers == []
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
def test_other_options_start_afresh(change: Options, named: str, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    log = upscale_until(source, target, change)
    assert len(log.notices) == 1
    assert log.notices[0].startswith("starting afresh instead of going on from 10 finished frames: ")
    assert named in log.notices[0]
    assert log.frame_numbers[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        replace(BICUBIC, device="cpu"),
        replace(BICUBIC, encode=replace(FAST, overwrite=True)),
        replace(BICUBIC, encode=EncodeOptions(preset="ultrafast", extra=(("movflags", "+faststart"),))),
    ],
)
def test_options_without_effect_on_frames_resume(change: Options, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    assert upscale_until(source, target, change).notices == ["resuming at frame 10 of 24"]


def test_keep_going_resumes_and_its_end_does_not(sample: Sample, tmp_path: Path) -> None:
    """No frame of damaged data is saved without --keep-going; with it, some may be."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    tolerant = replace(BICUBIC, keep_going=True)
    upscale_until(source, target, BICUBIC, stop_after=7)
    log = upscale_until(source, target, tolerant, stop_after=12)
    assert log.notices == ["resuming at frame 5 of 24"]
    log = upscale_until(source, target, BICUBIC, stop_after=7)
    assert "finished frames: --keep-going has changed" in log.notices[0]
    log = upscale_until(source, target, tolerant)
    assert log.notices == ["resuming at frame 5 of 24"]
    assert len(frame_hashes(target)) == 24


def test_another_input_starts_afresh(sample: Sample, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())
    upscale_until(source, target, BICUBIC, stop_after=12)
    source.write_bytes(sample(media.vfr, frames=24).read_bytes())
    log = upscale_until(source, target, BICUBIC)
    assert "the input's size" in log.notices[0]
    assert log.frame_numbers[0] == 1


def test_old_segments_stay_until_new_ones_are_committed(sample: Sample, tmp_path: Path) -> None:
    """A mistyped option must not cost six days of work: Ctrl-C, and the right command resumes."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    upscale_until(source, target, replace(BICUBIC, scale=Fraction(3)), stop_after=3)
    assert upscale_until(source, target, BICUBIC).notices == ["resuming at frame 10 of 24"]


def test_the_old_state_stays_until_a_new_segment_is_committed(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong command saves the state after its first segment, which then cannot be closed."""
    source, reference, target = sample(media.cfr, frames=24), tmp_path / "reference.mp4", tmp_path / "out.mp4"
    upscale_until(source, reference, BICUBIC)
    upscale_until(source, target, BICUBIC, stop_after=7)

    finish = VideoEncoder.finish

    def fail(writer: VideoEncoder) -> None:
        finish(writer)
        raise EncodeError("no room is left")

    def fill_disk(progress: object) -> None:
        monkeypatch.setattr(VideoEncoder, "finish", fail)

    with pytest.raises(EncodeError, match="no room is left"):
        upscale_until(source, target, replace(BICUBIC, start=Fraction(1, 4)), after_frame=fill_disk)
    monkeypatch.undo()
    assert upscale_until(source, target, BICUBIC).notices == ["resuming at frame 5 of 24"]
    assert frame_hashes(target) == frame_hashes(reference)


@pytest.mark.parametrize("damage", ["segment", "state", "journal", "version"])
def test_damaged_workdir_starts_afresh(damage: str, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    journal = journal_content(target)
    names = {
        "segment": journal["segments"][0]["name"],
        "state": journal["state_file"],
    }
    file = workdir_for(target) / names.get(damage, "journal.json")
    content = (
        json.dumps({**journal, "version": 1}).encode() if damage == "version" else file.read_bytes()[:-20]
    )
    file.write_bytes(content)
    log = upscale_until(source, target, BICUBIC)
    assert log.frame_numbers[0] == 1
    (notice,) = log.notices
    assert notice.startswith("starting afresh instead of going on from ")
    assert {"journal": "is damaged", "version": "of another version of vsr"}.get(damage, "damaged") in notice
    assert len(frame_hashes(target)) == 24


@pytest.mark.parametrize("segment", [5, "none"])
def test_two_runs_with_one_target(segment: int | str, sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    options = replace(BICUBIC, segment=segment)

    def second(progress: object) -> None:
        with pytest.raises(OutputError, match=r"out\.mp4: process \d+ on .* is at work on it"):
            upscale_until(source, target, options)

    log = upscale_until(source, target, options, after_frame=second)
    assert log.result is not None
    assert len(frame_hashes(target)) == 24


@pytest.mark.parametrize("segment", [5, "none"])
def test_what_another_run_has_finished_meanwhile_is_not_computed(
    segment: int | str, sample: Sample, tmp_path: Path
) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    options, frames = replace(BICUBIC, segment=segment), []
    job = prepare_job(source, target, options)
    upscale_until(source, target, options)
    finished = target.read_bytes()
    with pytest.raises(OutputError, match=r"out\.mp4 exists; use --overwrite"):
        run_job(job, CallbackReporter(frames.append))
    assert frames == []
    assert target.read_bytes() == finished
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_run_in_one_go_leaves_nothing_for_ever(sample: Sample, tmp_path: Path) -> None:
    source, folder = sample(media.cfr, frames=24), tmp_path / "videos"
    folder.mkdir()
    target, left = folder / "out.avi", tmp_path / "left"

    def copy(progress: Progress) -> None:
        if progress.done == 12:
            shutil.copytree(folder, left)

    upscale_until(source, target, BICUBIC, after_frame=copy)
    assert list(folder.iterdir()) == [target]
    assert [path.name for path in left.iterdir()] == [".out.avi.vsr"]
    (left / ".out.avi.vsr" / "output.avi").write_bytes(b"half of it")  # ffmpeg may not have begun it by then
    upscale_until(source, left / target.name, BICUBIC)
    assert [path.name for path in left.iterdir()] == ["out.avi"]
    assert frame_hashes(left / target.name) == frame_hashes(target)


def test_a_run_in_one_go_keeps_the_segments_of_another(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    upscale_until(source, target, replace(BICUBIC, segment="none"), stop_after=3)
    assert upscale_until(source, target, BICUBIC).notices == ["resuming at frame 10 of 24"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_run_in_one_go_removes_the_segments_of_another_at_its_end(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    upscale_until(source, target, replace(BICUBIC, segment="none"))
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("segment", [5, "none"])
def test_source_that_changes_during_a_run(segment: str | int, sample: Sample, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())

    def touch(progress: object) -> None:
        source.touch()

    with pytest.raises(InputError, match="the input's modification time has changed while it was") as error:
        upscale_until(source, target, replace(BICUBIC, segment=segment), after_frame=touch)
    assert not target.exists()
    assert error.value.resume_option is None or not error.value.saved_frames


@pytest.mark.parametrize("segment", [5, "shots", "none"])
@pytest.mark.parametrize("part", [{"frames": 20}, {"end": Fraction(3, 4)}])
def test_a_part_of_a_file_that_is_still_recorded(
    part: dict[str, Any], segment: int | str, sample: Sample, tmp_path: Path
) -> None:
    """The file grows while the part is upscaled, and until the run is resumed."""
    complete = sample(media.mpegts, frames=120)
    source, reference, target = tmp_path / "in.ts", tmp_path / "reference.mp4", tmp_path / "out.mp4"
    content = complete.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    options = replace(BICUBIC, segment=segment, **part)
    upscale_until(complete, reference, options)

    def record(progress: Progress) -> None:
        size = source.stat().st_size
        with source.open("ab") as file:
            file.write(content[size : size + 188])

    upscale_until(source, target, options, stop_after=12, after_frame=record)
    log = upscale_until(source, target, options, after_frame=record)
    assert log.result is not None
    assert [notice[:24] for notice in log.notices] == (["resuming at frame 10 of "] if segment == 5 else [])
    assert frame_hashes(target) == frame_hashes(reference)


def test_a_part_of_another_file_starts_afresh(sample: Sample, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=48).read_bytes())
    options = replace(BICUBIC, frames=20)
    upscale_until(source, target, options, stop_after=12)
    source.write_bytes(sample(media.vfr, frames=24).read_bytes())
    assert "the input's size" in upscale_until(source, target, options).notices[0]


@pytest.mark.parametrize("part", [{"frames": 20}, {"end": Fraction(3, 4)}])
def test_a_part_of_a_larger_file_of_another_content_starts_afresh(
    part: dict[str, Any], sample: Sample, tmp_path: Path
) -> None:
    """As of a master that was rendered again."""
    source, target, options = tmp_path / "in.mp4", tmp_path / "out.mp4", replace(BICUBIC, **part)
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())
    upscale_until(source, target, options, stop_after=12)
    source.write_bytes(sample(media.cfr, frames=48).read_bytes())
    notices = upscale_until(source, target, options).notices
    assert "starting afresh instead of going on from 10 finished frames: the input's size" in notices[0]


def test_span_and_frame_limit(sample: Sample, tmp_path: Path) -> None:
    source = sample(media.cfr, frames=48)
    for name, options in (
        ("span", replace(BICUBIC, start=Fraction(1, 2), end=Fraction(3, 2))),
        ("frames", replace(BICUBIC, start=Fraction(1, 2), frames=22)),
    ):
        reference, target = tmp_path / f"{name}-reference.mp4", tmp_path / f"{name}.mp4"
        upscale_until(source, reference, options)
        upscale_until(source, target, options, stop_after=13)
        log = upscale_until(source, target, options)
        assert log.notices[0].startswith("resuming at frame 10 of ")
        assert frame_hashes(target) == frame_hashes(reference)


def test_workdir_is_next_to_a_links_destination(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out.mp4"
    link.symlink_to(tmp_path / "disk" / "video.mp4")
    options = replace(BICUBIC, encode=replace(FAST, overwrite=True))
    upscale_until(sample(media.cfr, frames=24), link, options, stop_after=12)
    assert WorkDir(link).path == tmp_path / "disk" / ".video.mp4.vsr"
    assert WorkDir(link).path.is_dir()
    upscale_until(sample(media.cfr, frames=24), link, options)
    assert link.is_symlink()
    assert len(frame_hashes(tmp_path / "disk" / "video.mp4")) == 24


def test_flipped_bit_in_a_segment_is_detected(sample: Sample, tmp_path: Path) -> None:
    """Size, headers and timestamps are right; only the checksum is not."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    file = workdir_for(target) / journal_content(target)["segments"][0]["name"]
    content = bytearray(file.read_bytes())
    at = content.index(b"mdat") + 2000
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(EncodeError, match=r"its segment .* has been changed or damaged") as error:
        upscale_until(source, target, BICUBIC)
    assert not target.exists()
    assert (error.value.saved_frames, error.value.resume_option) == (24, None)
