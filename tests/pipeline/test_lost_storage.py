"""The disk or network share of the output or the source is gone in the middle of a run."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from interruptible_runs import FAST, upscale_until

import media_samples as media
from lost_storage import lose
from terminal import Outcome
from vsrcli import Options, Progress
from vsrcli.errors import InputError, OutputError
from vsrcli.pipeline.run_meter import RunMeter

Sample = Callable[..., Path]
BICUBIC = Options(Fraction(2), "bicubic", encode=FAST, segment=5)
GONE = "Transport endpoint is not connected"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def lose_after(frames: int, folder: Path, patch: pytest.MonkeyPatch) -> Callable[[Progress], None]:
    def after_frame(progress: Progress) -> None:
        if progress.done == frames:
            lose(folder, patch)

    return after_frame


@pytest.mark.parametrize("name", ["out.mp4", "%05d.png"])
def test_the_outputs_storage_is_gone(
    name: str, sample: Sample, share: Path, patch: pytest.MonkeyPatch
) -> None:
    """The error says why, and the finished segments are there when the storage is."""
    source, target = sample(media.cfr, frames=24), share / name
    with pytest.raises(OutputError, match=GONE) as error:
        upscale_until(source, target, BICUBIC, after_frame=lose_after(12, share, patch))
    patch.undo()
    saved = error.value.saved_frames
    assert saved in (5, 10)
    log = upscale_until(source, target, BICUBIC)
    assert log.notices == [f"resuming at frame {saved} of 24"]
    assert log.result is not None


@pytest.mark.parametrize("segment", ["none", "shots"])
def test_the_outputs_storage_is_gone_before_anything_is_saved(
    segment: str, sample: Sample, share: Path, patch: pytest.MonkeyPatch
) -> None:
    source, target, options = sample(media.cfr), share / "out.mp4", replace(BICUBIC, segment=segment)
    with pytest.raises(OutputError, match=GONE):
        upscale_until(source, target, options, after_frame=lose_after(12, share, patch))
    patch.undo()
    assert upscale_until(source, target, options).result is not None
    assert list(share.iterdir()) == [target]


def test_the_sources_storage_is_gone(
    sample: Sample, share: Path, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    """ffmpeg has read all of this short file by then."""
    source, target = share / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(sample(media.cfr, frames=24).read_bytes())
    with pytest.raises(InputError, match=rf"in\.mp4 cannot be read \({GONE}\)") as error:
        upscale_until(source, target, BICUBIC, after_frame=lose_after(3, share, patch))
    patch.undo()
    assert error.value.saved_frames >= 5
    assert upscale_until(source, target, BICUBIC).notices[0].startswith("resuming at frame")


def test_the_command_says_what_is_gone_and_how_to_resume(
    sample: Sample,
    share: Path,
    patch: pytest.MonkeyPatch,
    vsr: Callable[..., Outcome],
) -> None:
    report = RunMeter.report

    def report_and_lose(meter: RunMeter, *arguments: object) -> None:
        report(meter, *arguments)  # type: ignore[arg-type]
        if meter._output.frame_count == 12:
            lose(share, patch)

    patch.setattr(RunMeter, "report", report_and_lose)
    line = ("upscale", sample(media.cfr, frames=24), share / "out.mp4", "-m", "bicubic", "--segment", "5")
    failed = vsr(*line)
    failed.fails(1, GONE)
    assert "of 24 frames are saved" in failed.err
    assert "to resume: vsr upscale" in failed.err
    vsr(*line).fails(1, f"out.mp4 cannot be reached ({GONE}); check its disk or network share")


def test_a_journal_that_cannot_be_read_for_a_while_costs_nothing(
    sample: Sample, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    upscale_until(source, target, BICUBIC, stop_after=12)
    read_bytes = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "journal.json":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read_bytes(path)

    patch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OutputError, match=r"journal\.json.*cannot be read \(Input/output.*--no-resume"):
        upscale_until(source, target, BICUBIC)
    patch.undo()
    assert upscale_until(source, target, BICUBIC).notices == ["resuming at frame 10 of 24"]
