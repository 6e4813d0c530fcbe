"""Interrupted image sequences: nothing is half-written or lost, and foreign files are not touched."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import image_samples
import numpy as np
import pytest

import media_samples as media
from terminal import Outcome, complete, environment, eventually, spawn
from vsrcli import Options, Progress, prepare_job, run_job
from vsrcli.errors import DecodeError, EncodeError, InputError, OutputError, VsrError
from vsrcli.images import writer
from vsrcli.images.naming import NAME_WILDCARD
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.probe import probe
from vsrcli.media.source_reader import VideoReader
from vsrcli.media.stdin import StdinSource
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.pipeline.segmented_output import SegmentedOutput
from vsrcli.pipeline.sinks import ImageSink

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
OPTIONS = Options(scale=Fraction(2), model="bicubic", segment=4)
COUNT = 14


class RunStoppedError(Exception):
    """Raised to stop a run."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder that are not hidden."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


def hidden(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


def upscale(
    source: Path, target: Path, options: Options = OPTIONS, *, until: int | None = None
) -> tuple[int, list[str]]:
    """Return the number of frames of this run and its notices; stop after ``until`` frames in total."""
    frame_count, notices = 0, []

    def on_progress(now: Progress) -> None:
        nonlocal frame_count
        frame_count += now.done > now.resumed
        if until is not None and now.done >= until:
            raise RunStoppedError

    with contextlib.suppress(RunStoppedError):
        run_job(prepare_job(source, target, options), CallbackReporter(on_progress, notices.append))
    return frame_count, notices


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return image_samples.write_sequence(tmp_path / "in", COUNT)


@pytest.fixture
def complete_run(source: Path, tmp_path: Path) -> dict[str, bytes]:
    """The output of an uninterrupted run."""
    upscale(source, tmp_path / "complete" / "%03d.png")
    return contents(tmp_path / "complete")


@pytest.mark.parametrize("until", [1, 4, 5, 9, 13, COUNT])
def test_the_same_command_resumes(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path, until: int
) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=until)
    saved_count = (until - 1) // 4 * 4
    if saved_count:
        assert contents(tmp_path / "out") == {
            name: complete_run[name] for name in sorted(complete_run)[:saved_count]
        }
    else:
        assert not (tmp_path / "out").exists()
    frame_count, notices = upscale(source, target)
    assert frame_count == COUNT - saved_count
    assert any("resuming at frame" in text for text in notices) == bool(saved_count)
    assert contents(tmp_path / "out") == complete_run
    assert hidden(tmp_path / "out") == []


def test_a_finished_sequence_is_not_started_again(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="exists, and 13 more"):
        upscale(source, tmp_path / "complete" / "%03d.png")


def test_an_unfinished_input_sequence_is_a_notice(source: Path, tmp_path: Path) -> None:
    upscale(source, tmp_path / "out" / "%03d.png", until=9)
    plan = prepare_job(tmp_path / "out", tmp_path / "x.mp4", OPTIONS).plan
    assert any("has not finished" in text for text in plan.notices)


def test_remaining_images_are_a_notice(source: Path, tmp_path: Path) -> None:
    upscale(source, tmp_path / "out" / "%03d.png")
    options = replace(OPTIONS, frames=5, encode=EncodeOptions(overwrite=True))
    plan = prepare_job(source, tmp_path / "out" / "%03d.png", options).plan
    assert any(text.startswith("9 other images with such names stay in") for text in plan.notices)


def test_a_foreign_image_is_not_touched(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=9)
    (tmp_path / "out" / "011.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"011\.png exists"):
        upscale(source, target)
    assert (tmp_path / "out" / "011.png").read_bytes() == b"mine"


def test_a_foreign_image_that_appears_meanwhile_is_not_touched(source: Path, tmp_path: Path) -> None:
    job = prepare_job(source, tmp_path / "out" / "%03d.png", OPTIONS)

    def on_progress(now: Progress) -> None:
        (tmp_path / "out" / "006.png").write_bytes(b"mine")

    with pytest.raises(EncodeError, match=r"006\.png has come into being meanwhile"):
        run_job(job, CallbackReporter(on_progress))
    assert contents(tmp_path / "out")["006.png"] == b"mine"
    assert sorted(contents(tmp_path / "out")) == ["001.png", "002.png", "003.png", "004.png", "006.png"]


def test_images_that_are_removed_meanwhile_are_no_run_to_resume(source: Path, tmp_path: Path) -> None:
    job = prepare_job(source, tmp_path / "out" / "%03d.png", OPTIONS)

    def on_progress(now: Progress) -> None:
        if now.done == COUNT:
            (tmp_path / "out" / "001.png").unlink()

    with pytest.raises(OutputError, match="have been changed or removed; use --no-resume") as error:
        run_job(job, CallbackReporter(on_progress))
    assert (error.value.saved_frames, error.value.resume_option) == (COUNT, None)


def test_missing_images_are_written_again(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=9)
    (tmp_path / "out" / "002.png").unlink()
    frame_count, notices = upscale(source, target)
    assert (frame_count, "missing or damaged" in notices[0]) == (COUNT, True)
    assert contents(tmp_path / "out") == complete_run


def test_a_damaged_journal_starts_afresh_over_its_images(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=9)
    (tmp_path / "out" / ".%03d.png.vsr" / "journal.json").write_bytes(b"{")
    frame_count, notices = upscale(source, target)
    assert (frame_count, "journal is damaged" in notices[0]) == (COUNT, True)
    assert contents(tmp_path / "out") == complete_run
    assert hidden(tmp_path / "out") == []


def test_other_options_start_afresh_and_remove_earlier_images(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=13)
    frame_count, notices = upscale(source, target, replace(OPTIONS, frames=5))
    assert frame_count == 5
    assert "starting afresh" in notices[0]
    assert sorted(contents(tmp_path / "out")) == ["001.png", "002.png", "003.png", "004.png", "005.png"]
    assert hidden(tmp_path / "out") == []


def write_named(folder: Path, prefix: str, count: int = COUNT) -> Path:
    """Write ``folder/PREFIX001.png`` and so on; return the folder."""
    image_samples.write_sequence(folder, count)
    for file in list(folder.glob("f*.png")):
        file.rename(folder / f"{prefix}{file.name[1:]}")
    return folder


def test_a_second_folder_into_the_same_one_leaves_the_first_resumable(tmp_path: Path) -> None:
    first, second = write_named(tmp_path / "a", "a"), write_named(tmp_path / "b", "b", 5)
    target = tmp_path / "out" / NAME_WILDCARD
    upscale(first, target, until=9)
    saved = contents(tmp_path / "out")
    upscale(second, target, until=5)
    assert contents(tmp_path / "out").items() > saved.items()
    upscale(second, target)
    assert len(contents(tmp_path / "out")) == 8 + 5
    frame_count, notices = upscale(first, target)
    assert (frame_count, "resuming at frame 8" in notices[0]) == (COUNT - 8, True)
    assert len(contents(tmp_path / "out")) == COUNT + 5
    assert hidden(tmp_path / "out") == []


@pytest.mark.parametrize("same_size", [False, True])
def test_results_in_the_folder_of_their_sources(source: Path, tmp_path: Path, same_size: bool) -> None:
    folder, target = source.parent, source.parent / "x-%03d.png"
    options = replace(OPTIONS, same_size=same_size)
    upscale(folder, target, options, until=9)
    frame_count, notices = upscale(folder, target, options)
    assert (frame_count, "resuming at frame 8" in notices[0]) == (COUNT - 8, True)
    assert sorted(contents(folder)) == sorted(
        f"{prefix}{number:03d}.png" for prefix in ("f", "x-") for number in range(1, COUNT + 1)
    )
    assert hidden(folder) == []
    with pytest.raises(OutputError if same_size else InputError, match=r"x-\d+\.png (is the input|has)"):
        upscale(folder, target, options)


def test_originals_that_are_named_as_results_are_not_replaced(tmp_path: Path) -> None:
    folder = write_named(tmp_path / "in", "a", 5)
    for number, file in enumerate(sorted(folder.iterdir())[:2], 1):
        file.rename(folder / f"{number}.png")
    before = contents(folder)
    with pytest.raises(OutputError, match=r"[12]\.png is the input itself"):
        upscale(folder, folder / "%d.png", replace(OPTIONS, encode=EncodeOptions(overwrite=True)))
    assert contents(folder) == before


def test_images_of_sources_that_are_gone_stay(tmp_path: Path) -> None:
    """The input folder holds other images by now, whose names are kept, too."""
    source, target = write_named(tmp_path / "in", "a"), tmp_path / "out" / NAME_WILDCARD
    upscale(source, target, until=9)
    saved = contents(tmp_path / "out")
    for file in source.iterdir():
        file.unlink()
    write_named(source, "b", 5)
    upscale(source, target)
    assert contents(tmp_path / "out").items() > saved.items()
    assert len(contents(tmp_path / "out")) == 8 + 5


def test_changed_sources_start_afresh(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "%03d.png"
    upscale(source, target, until=9)
    image_samples.write_image(tmp_path / "in" / "f003.png", image_samples.smooth_codes(seed=99))
    frame_count, notices = upscale(source, target)
    assert (frame_count, "starting afresh" in notices[0]) == (COUNT, True)


def test_between_the_list_and_the_last_name(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails while images are moved: the moved ones are recognized and replaced."""
    target, moved = tmp_path / "out" / "%03d.png", Path.replace

    def failing(self: Path, new: Path) -> Path:
        if new.name in ("003.png", "007.png"):
            raise RunStoppedError
        return moved(self, new)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        patch.setattr(
            SegmentedOutput, "_release_workdir", lambda self: self._workdir.close()
        )  # a crash cleans nothing up
        upscale(source, target)
    assert sorted(contents(tmp_path / "out")) == ["001.png", "002.png"]
    upscale(source, target)
    assert contents(tmp_path / "out") == complete_run
    assert hidden(tmp_path / "out") == []


def test_an_exception_between_the_names_leaves_none(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path.replace

    def failing(self: Path, new: Path) -> Path:
        if new.name == "003.png":
            raise RunStoppedError
        return moved(self, new)

    monkeypatch.setattr(Path, "replace", failing)
    upscale(source, tmp_path / "out" / "%03d.png")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_no_image(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "fsync_path", full)
    with pytest.raises(EncodeError, match="no room is left in") as error:
        upscale(source, tmp_path / "out" / "%03d.png")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_is_named_and_earlier_segments_are_saved(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    bad = tmp_path / "in" / "f011.png"
    good = bad.read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    with pytest.raises(DecodeError, match=r"f011\.png cannot be decoded") as error:
        upscale(source, tmp_path / "out" / "%03d.png")
    assert (error.value.saved_frames, error.value.resume_option) == (8, "--keep-going")
    assert contents(tmp_path / "out") == {name: complete_run[name] for name in sorted(complete_run)[:8]}


def test_keep_going_repeats_the_image_before(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    bad = tmp_path / "in" / "f011.png"
    bad.write_bytes(bad.read_bytes()[:300])
    options = replace(OPTIONS, keep_going=True)
    result = run_job(prepare_job(source, tmp_path / "out" / "%03d.png", options))
    images = contents(tmp_path / "out")
    assert result.frames == COUNT
    assert images["011.png"] == images["010.png"] == complete_run["010.png"]
    assert "f011.png" in result.warnings[0]


@pytest.mark.parametrize("kept_bytes", [0, 4, 20], ids=["empty", "magic", "header"])
@pytest.mark.parametrize("until", [None, 7, 9])
def test_keep_going_with_images_that_have_no_header(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path, kept_bytes: int, until: int | None
) -> None:
    """Also where the run is resumed at one of them."""
    for number in (8, 9):
        bad = tmp_path / "in" / f"f{number:03d}.png"
        bad.write_bytes(bad.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match=r"f008\.png (is empty \(0 bytes\)|is no still|cannot be read)"):
        prepare_job(source, tmp_path / "out" / "%03d.png", OPTIONS)
    options = replace(OPTIONS, keep_going=True)
    if until is not None:
        upscale(source, tmp_path / "out" / "%03d.png", options, until=until)
    frames, _ = upscale(source, tmp_path / "out" / "%03d.png", options)
    assert frames == COUNT - {None: 0, 7: 4, 9: 8}[until]
    replaced = dict.fromkeys(("008.png", "009.png"), complete_run["007.png"])
    assert contents(tmp_path / "out") == complete_run | replaced


def test_keep_going_needs_an_intact_first_image(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "f001.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"f001\.png is empty \(0 bytes\); copy"):
        prepare_job(source, tmp_path / "out" / "%03d.png", replace(OPTIONS, keep_going=True))


def test_without_segments_nothing_is_published_before_the_end(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path
) -> None:
    options = replace(OPTIONS, segment="none")
    upscale(source, tmp_path / "out" / "%03d.png", options, until=13)
    assert not (tmp_path / "out").exists()
    upscale(source, tmp_path / "out" / "%03d.png", options)
    assert contents(tmp_path / "out") == complete_run


def test_of_stdin_nothing_is_kept(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails after all images have been written; an earlier run's images stay until then."""
    video, target = sample(media.cfr), tmp_path / "out" / "%03d.png"
    upscale(video, target, until=5)
    job = prepare_job(video, target, OPTIONS)
    copy = tmp_path / "stdin"
    copy.write_bytes(video.read_bytes())
    from_stdin = StdinSource(**vars(probe(copy)))
    job = replace(job, reader=VideoReader(from_stdin), segmented=False)

    def stop(now: Progress) -> None:
        raise RunStoppedError

    with pytest.raises(RunStoppedError):
        run_job(job, CallbackReporter(stop))
    assert sorted(contents(tmp_path / "out")) == ["001.png", "002.png", "003.png", "004.png"]

    def fail(sink: ImageSink, segments: object) -> tuple[str, ...]:
        raise OutputError("the disk is broken")

    monkeypatch.setattr(ImageSink, "concatenate", fail)
    with pytest.raises(OutputError) as error:
        run_job(job)
    assert error.value.saved_frames == 0
    assert contents(tmp_path / "out") == {}
    assert hidden(tmp_path / "out") == []


def test_a_single_image_is_complete_or_missing(source: Path, tmp_path: Path) -> None:
    upscale(tmp_path / "in" / "f001.png", tmp_path / "out.png", until=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in"]


def test_two_runs_do_not_meet(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "%03d.png"
    first, second = prepare_job(source, target, OPTIONS), prepare_job(source, target, OPTIONS)
    refusals: list[VsrError] = []

    def on_progress(now: Progress) -> None:
        if not refusals:
            with pytest.raises(OutputError, match="is at work on it") as error:
                run_job(second)
            refusals.append(error.value)

    assert run_job(first, CallbackReporter(on_progress)).frames == COUNT
    assert len(contents(tmp_path / "out")) == COUNT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_are_stopped(
    source: Path, complete_run: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    """A real process, after its first segment: Ctrl-C prints how to resume, a kill prints nothing."""
    folder, target = tmp_path / "out", tmp_path / "out" / "%03d.png"
    line = ("upscale", source, target, "-s", "2", "-m", "bicubic", "--segment", "4", "--progress", "json")
    child = spawn(*line)
    eventually(lambda: (folder / "004.png").exists() or child.poll() is not None)
    child.send_signal(number)
    outcome = complete(child)
    if outcome.status != 0:  # it may have been faster
        assert outcome.status == (130 if number == signal.SIGINT else -9)
        images = contents(folder) if folder.exists() else {}
        assert images == {name: complete_run[name] for name in images}
        if number == signal.SIGINT:
            assert not list(tmp_path.rglob("*.part"))
            assert ("frames are saved" in outcome.err) == bool(images)
        again = complete(spawn(*line))
        assert again.status == 0, again.err
    assert contents(folder) == complete_run
    assert hidden(folder) == []


def test_no_space_on_a_real_disk(tmp_path: Path) -> None:
    """A limit on the size of files is what a quota looks like."""
    rng = np.random.default_rng(3)
    image_samples.write_image(tmp_path / "in.png", rng.integers(0, 65536, (64, 96, 3)).astype(np.uint16))
    limited = ["bash", "-c", 'ulimit -f 64; exec "$@"', "-", sys.executable, "-m", "vsrcli", "upscale"]
    for target in (tmp_path / "out.png", tmp_path / "out" / "%d.png"):
        line = [*limited, str(tmp_path / "in.png"), str(target), "-s", "4", "-m", "bicubic"]
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
        Outcome(done.returncode, done.stdout, done.stderr).fails(1, "no room is left in")
    assert [file.name for file in tmp_path.iterdir()] == ["in.png"]
