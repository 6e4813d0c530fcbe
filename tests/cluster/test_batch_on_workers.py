"""``vsr batch --workers``: pieces of all videos in one queue, and what a batch promises otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli import EncodeOptions, Options, prepare_job, run_job
from vsrcli.cluster.video import PlannedVideo
from vsrcli.pipeline.scan import FoundPiece, Scanner

Vsr = Callable[..., Outcome]
FAST = ("-m", "bicubic", "-s", "2", "-e", "preset=ultrafast")


def make_video(path: Path, pattern: str) -> Path:
    """Write a video of a second."""
    media.run_ffmpeg("-f", "lavfi", "-i", f"{pattern}=s=64x48:r=10:d=1", "-c:v", "libx264", path)
    return path


def outcomes(folder: Path) -> dict[str, str]:
    """Return the status of each video in the batch's document."""
    document = json.loads((folder / "out.json").read_text())
    return {each["name"]: each["status"] for each in document["videos"]}


def test_all_videos_of_a_batch_are_those_of_one_process(tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, pattern in (("a.mp4", "testsrc2"), ("b.mp4", "testsrc"), ("c.mp4", "rgbtestsrc")):
        make_video(source / name, pattern)
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=1", "-frames:v", "1", source / "picture.png")
    (source / "broken.mp4").write_bytes(b"no video at all")
    line = ("batch", str(source), str(source / "picture.png"), str(tmp_path / "out"), *FAST, "--workers", "2")
    result = vsr(*line, "--json", str(tmp_path / "out.json"))
    assert result.status == 3
    assert outcomes(tmp_path) == {
        "a.mp4": "done",
        "b.mp4": "done",
        "broken.mp4": "failed",
        "c.mp4": "done",
        "picture.png": "done",
    }
    options = Options(
        Fraction(2), "bicubic", encode=EncodeOptions(extra=(("preset", "ultrafast"),)), segment="shots"
    )
    run_job(prepare_job(source / "b.mp4", tmp_path / "b.mp4", options))
    assert (tmp_path / "out" / "b.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    vsr(*line, "--json", str(tmp_path / "out.json"))
    assert set(outcomes(tmp_path).values()) == {"skipped", "failed"}


def test_a_video_that_fails_stops_the_others_if_wanted(tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / "in"
    source.mkdir()
    make_video(source / "a.mp4", "testsrc2")
    content = (source / "a.mp4").read_bytes()
    (source / "a.mp4").write_bytes(content[: len(content) * 2 // 3])  # fails while it is computed, if at all
    make_video(source / "b.mp4", "testsrc2")
    line = ("batch", str(source), str(tmp_path / "out"), *FAST, "--workers", "1", "--fail-fast")
    result = vsr(*line, "--json", str(tmp_path / "out.json"))
    assert result.status == 3
    assert outcomes(tmp_path)["a.mp4"] == "failed"
    assert outcomes(tmp_path)["b.mp4"] in ("waiting", "stopped")


def test_an_unexpected_error_of_a_scan_ends_its_video_only(
    tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Scanner.scan

    def failing(self: Scanner) -> Generator[FoundPiece]:
        if self._job.source.path.name == "a.mp4":
            raise ZeroDivisionError("odd times")
        yield from scan(self)

    monkeypatch.setattr(Scanner, "scan", failing)
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / "in" / name, "testsrc2")
    line = ("batch", str(tmp_path / "in"), str(tmp_path / "out"), *FAST, "--workers", "1")
    result = vsr(*line, "--json", str(tmp_path / "out.json"))
    assert (result.status, "unexpected ZeroDivisionError odd times" in result.err) == (3, True)
    assert outcomes(tmp_path) == {"a.mp4": "failed", "b.mp4": "done"}


@pytest.mark.parametrize("method", ["open", "record", "commit", "finish"])
def test_a_folder_that_is_gone_ends_its_video_only(
    method: str, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(PlannedVideo, method)

    def without_folder(self: PlannedVideo, *arguments: Any) -> Any:
        if self.job.source.path.name == "a.mp4":
            shutil.rmtree(tmp_path / "out" / ".a.mp4.vsr")
        return original(self, *arguments)

    monkeypatch.setattr(PlannedVideo, method, without_folder)
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / "in" / name, "testsrc2")
    line = ("batch", str(tmp_path / "in"), str(tmp_path / "out"), *FAST, "--workers", "1")
    result = vsr(*line, "--json", str(tmp_path / "out.json"))
    assert (result.status, ".a.mp4.vsr" in result.err) == (3, True), result.err
    assert outcomes(tmp_path) == {"a.mp4": "failed", "b.mp4": "done"}


def test_what_does_not_go_together_is_one_line(tmp_path: Path, vsr: Vsr) -> None:
    video, out = str(make_video(tmp_path / "a.mp4", "testsrc2")), str(tmp_path / "out")
    vsr("batch", video, out, "-j", "2", "--workers", "2").fails(2, "-j 2 and --workers 2 exclude each other")
    vsr("upscale", video, f"{out}.mp4", "--strict").fails(2, "--strict compares workers")
    vsr("upscale", video, f"{out}.mp4", "--gpu", "0", "--gpu", "1").fails(2, "--gpu 0,1 needs --workers")
    for command, target in (("upscale", f"{out}.mp4"), ("batch", out)):
        line = (command, video, target, "--cluster", "127.0.0.1:1", "--gpu", "1")
        vsr(*line).fails(2, "--gpu 1: with --cluster, Ray chooses the GPUs; leave it out")
    vsr("upscale", video, f"{out}.mp4", "--cluster", "ray://a:1").fails(2, "give HOST:PORT")
    vsr("upscale", video, f"{out}.mp4", "--cluster", "127.0.0.1:1").fails(2, "no answer")


def test_workers_share_the_memory(tmp_path: Path, vsr: Vsr) -> None:
    path = tmp_path / "large.mp4"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=10:d=1", "-c:v", "libx264", path)
    line = ("upscale", str(path), str(tmp_path / "out.mp4"), "-s", "2", "--engine", "keras", "-n")
    needed = vsr(*line, "--progress", "json")
    memory = json.loads(needed.err.splitlines()[-1])["memory"]
    shared = vsr(*line, "--workers", "3", "--max-memory", f"{memory * 2 // 2**20}M")
    assert "smaller tiles than with one process" in shared.err
    vsr(*line, "--workers", "90", "--max-memory", f"{memory // 2**20}M").fails(2, "--workers 90: too many")
