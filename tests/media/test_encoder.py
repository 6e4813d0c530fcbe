"""The encoder: output files that are complete or absent, refused frames, file names."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from video_inspection import upscale_nearest

import media_samples as media
from vsrcli.errors import EncodeError
from vsrcli.media.containers import choose_container
from vsrcli.media.decoder import Decoder
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.ffmpeg_writer import Destination
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe
from vsrcli.media.source_reader import Span
from vsrcli.media.types import Frame, Source

Sample = Callable[..., Path]


@pytest.fixture
def job(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> tuple[Source, OutputPlan, list[Frame]]:
    """A source, a plan for twice its size, and its frames in that size."""
    source = probe(sample(media.cfr))
    options = EncodeOptions(preset="ultrafast")
    plan = plan_output(
        source,
        tmp_path / "out.mp4",
        choose_container(tmp_path / "out.mp4", None, ffmpeg),
        width=128,
        height=96,
        options=options,
        ffmpeg=ffmpeg,
    )
    with Decoder(source, ffmpeg=ffmpeg) as decoder:
        return source, plan, [upscale_nearest(frame, 2) for frame in decoder]


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_target_appears_when_complete(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    with VideoEncoder(plan, source, ffmpeg=ffmpeg) as encoder:
        for frame in frames:
            encoder.write(frame)
            assert not plan.target.exists()
        assert all(name.startswith(".out.") and name.endswith(".part.mp4") for name in file_names(tmp_path))
    assert file_names(tmp_path) == ["out.mp4"]
    assert (encoder.frame_count, probe(plan.target).video.frame_count) == (12, 12)


def test_exception_removes_the_part_file(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    encoder, pid = VideoEncoder(plan, source, ffmpeg=ffmpeg), 0

    def interrupted_write() -> None:
        nonlocal pid
        with encoder:
            pid = encoder.writer.process.pid
            encoder.write(frames[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert file_names(tmp_path) == []
    assert pid
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("when", ["writing", "leaving"])
def test_killed_ffmpeg_raises(
    number: signal.Signals, when: str, job: tuple, tmp_path: Path, ffmpeg: Ffmpeg
) -> None:
    source, plan, frames = job
    encoder = VideoEncoder(plan, source, ffmpeg=ffmpeg)

    def killed_write() -> None:
        with encoder:
            for frame in frames:
                encoder.write(frame)
            os.kill(encoder.writer.process.pid, number)
            if when == "writing":
                last = frames[-1]
                for later in range(1, 100_000):
                    encoder.write(replace(last, pts=last.pts + 1001 * later))

    with pytest.raises(EncodeError, match=r"ffmpeg stopped|the file holds") as caught:
        killed_write()
    assert str(plan.target) in str(caught.value)
    assert file_names(tmp_path) == []


def test_no_frames(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, _ = job
    with pytest.raises(EncodeError, match="no frame"), VideoEncoder(plan, source, ffmpeg=ffmpeg):
        pass
    assert file_names(tmp_path) == []


def test_invalid_frames(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    with VideoEncoder(plan, source, ffmpeg=ffmpeg) as encoder:
        encoder.write(frames[0])
        with pytest.raises(ValueError, match="shape"):
            encoder.write(replace(frames[1], pixels=frames[1].pixels[:-1]))
        with pytest.raises(ValueError, match="type"):
            encoder.write(replace(frames[1], pixels=frames[1].pixels.astype(np.uint16)))
        with pytest.raises(ValueError, match="not later"):
            encoder.write(frames[0])
        strided = np.flip(np.flip(frames[1].pixels, 0).copy(), 0)
        encoder.write(replace(frames[1], pixels=strided))
    assert probe(plan.target).video.frame_count == 2


def test_target_created_meanwhile_is_not_overwritten(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job

    def late_write() -> None:
        with VideoEncoder(plan, source, ffmpeg=ffmpeg) as encoder:
            encoder.write(frames[0])
            plan.target.write_text("precious")

    with pytest.raises(EncodeError, match="--overwrite"):
        late_write()
    assert plan.target.read_text() == "precious"
    assert file_names(tmp_path) == ["out.mp4"]


def test_overwrite(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    plan.target.write_text("old")
    with VideoEncoder(replace(plan, overwrite=True), source, ffmpeg=ffmpeg) as encoder:
        encoder.write(frames[0])
    assert probe(plan.target).video.frame_count == 1


def test_overwrite_through_a_link(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    real = folder / "real.mp4"
    real.write_text("old")
    plan.target.symlink_to(real)
    with VideoEncoder(replace(plan, overwrite=True), source, ffmpeg=ffmpeg) as encoder:
        encoder.write(frames[0])
        assert encoder.destination.part_file.parent == folder  # on the file system of the target
    assert plan.target.is_symlink()
    assert (file_names(tmp_path), file_names(folder)) == (["elsewhere", "out.mp4"], ["real.mp4"])
    assert probe(real).video.frame_count == 1


def test_simultaneous_encoders(job: tuple, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source, plan, frames = job
    overwriting = replace(plan, overwrite=True)
    first, second = (VideoEncoder(overwriting, source, ffmpeg=ffmpeg) for _ in range(2))
    with first, second:
        first.write(frames[0])
        second.write(frames[0])
        assert len(file_names(tmp_path)) <= 2
    assert file_names(tmp_path) == ["out.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk(job: tuple, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    source, plan, frames = job
    encoder = VideoEncoder(plan, source, ffmpeg=ffmpeg)
    encoder.destination.part_file.symlink_to("/dev/full")

    def write() -> None:
        with encoder:
            for frame in frames:
                encoder.write(frame)

    with pytest.raises(EncodeError, match="ffmpeg stopped") as caught:
        write()
    assert "No space left" in caught.value.details
    assert not plan.target.exists()


@pytest.mark.parametrize(
    "name", ["-y.mp4", "a%03d.mp4", "file:x.mp4", "a 'b' \"c\" ü|&;$HOME.mkv", "é" * 120 + ".mp4"]
)
def test_unusual_names(name: str, sample: Sample, tmp_path: Path, upscale: Callable[..., OutputPlan]) -> None:
    source = tmp_path / f"in {name[:60]}.mp4"
    source.write_bytes(sample(media.cfr).read_bytes())
    folder = tmp_path / "out"
    folder.mkdir()
    upscale(source, folder / name)
    assert file_names(folder) == [name]
    assert len(probe(folder / name).other_streams) == 1


def test_relative_names_without_search_path(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upscale: Callable[..., OutputPlan]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    Path("-in.mp4").write_bytes(sample(media.cfr).read_bytes())
    upscale(Path("-in.mp4"), Path("-out.mp4"))
    assert probe(tmp_path / "-out.mp4").video.frame_count == 12


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.avi"])
def test_tiny_videos(
    count: int,
    name: str,
    sample: Sample,
    tmp_path: Path,
    upscale: Callable[..., OutputPlan],
    frames: Callable[..., list[Frame]],
) -> None:
    target = tmp_path / name
    upscale(sample(media.cfr, frames=count), target)
    assert len(frames(target)) == count


def test_rewriting_the_file_in_place_is_progress(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """``+faststart`` moves gigabytes within the file, whose size stays; ffmpeg must not be killed for it."""
    source, target = probe(sample(media.cfr)), tmp_path / "a.mp4"
    container = choose_container(target, None, ffmpeg)
    plan = plan_output(source, target, container, width=64, height=48, span=Span(None, None), ffmpeg=ffmpeg)
    destination = Destination(plan, source)
    before_the_start = destination.progress_marker()
    destination.part_file.write_bytes(bytes(100))
    os.utime(destination.part_file, (1000, 1000))
    written = destination.progress_marker()
    assert before_the_start != written == destination.progress_marker()
    with destination.part_file.open("r+b") as file:
        file.write(b"moov")
    assert destination.progress_marker() != written


def test_without_other_streams(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Times count from the span's start."""
    source = replace(probe(sample(media.rich)), other_streams=())
    span = Span(Fraction(1, 4), Fraction(1, 2))
    plan = plan_output(
        source,
        tmp_path / "s.mkv",
        choose_container(tmp_path / "s.mkv", None, ffmpeg),
        width=64,
        height=48,
        span=span,
        ffmpeg=ffmpeg,
    )
    with Decoder(source, start=span.start, end=span.end, ffmpeg=ffmpeg) as decoder:
        frames = list(decoder)
        with VideoEncoder(plan, source, ffmpeg=ffmpeg) as encoder:
            for frame in frames:
                encoder.write(frame)
    assert probe(plan.target).other_streams == ()
    assert len(frames) == 6
