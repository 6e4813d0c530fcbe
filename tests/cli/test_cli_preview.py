"""``vsr preview``: frames as in the complete output, and an estimate for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.cli.preview import Estimate, PreviewVideo, estimate_full_run

Vsr = Callable[..., Outcome]
BICUBIC = ("--model", "bicubic", "--scale", "2", "--codec", "ffv1")


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_frames_are_those_of_the_complete_output(vsr: Vsr, tmp_path: Path) -> None:
    video = media.cfr(tmp_path, frames=48, suffix=".mkv")
    assert vsr("upscale", video, tmp_path / "complete.mkv", *BICUBIC).status == 0
    run = vsr("preview", video, *BICUBIC, "--at", "1", "--seconds", "0.5", "--progress", "json")
    assert run.status == 0, run.err
    output = video.with_name(f"{video.stem}-preview.mkv")
    complete, preview = frames_of(tmp_path / "complete.mkv"), frames_of(output)
    assert len(preview) == 12
    np.testing.assert_array_equal(preview, complete[24:36])
    with av.open(str(output)) as container:
        assert len(container.streams.audio) == 1
    messages = [json.loads(line) for line in run.err.splitlines()]
    assert messages[-1]["message_type"] == "estimate"
    assert messages[-1]["frames"] == 48
    assert messages[-1]["size"] == pytest.approx(4 * output.stat().st_size, rel=0.05)
    assert messages[-1]["seconds"] > 0


def test_the_estimate_is_one_line(vsr: Vsr, tmp_path: Path) -> None:
    video = media.cfr(tmp_path, frames=48, suffix=".mkv")
    run = vsr("preview", video, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25")
    assert "the whole video: 48 frames, about 0:0" in run.err
    again = vsr("preview", video, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25")
    assert again.status == 1
    assert "--overwrite" in again.err
    assert vsr("preview", video, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25", "-y", "-q").err == ""


def test_the_start_counts_once() -> None:
    result: Any = SimpleNamespace(
        seconds=12.0, frames=11, target=SimpleNamespace(stat=lambda: SimpleNamespace(st_size=1100))
    )
    last: Any = SimpleNamespace(seconds=10.0)
    estimate = estimate_full_run(PreviewVideo(1000, Fraction(40)), result, last)
    assert estimate == Estimate(1000, 2.0 + 1000 * 1.0, 100_000)
    assert "there is no estimate" in str(estimate_full_run(PreviewVideo(None, None), result, last))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", "1"), "--start"),
        (("--end", "3"), "--end"),
        (("--frames", "3"), "--frames"),
        (("--segment", "3"), "--segment"),
        (("--no-resume",), "--no-resume"),
        (("--seconds", "0"), "longer than nothing"),
    ],
)
def test_wrong_usage(vsr: Vsr, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    run = vsr("preview", media.cfr(tmp_path), tmp_path / "o.mkv", *BICUBIC, *options)
    assert run.status == 2
    assert words in run.err


def test_the_preview_of_a_format_that_cannot_be_written_is_matroska(vsr: Vsr, tmp_path: Path) -> None:
    video = media.cfr(tmp_path, suffix=".flv", audio=False)
    run = vsr("preview", video, *BICUBIC)
    assert run.status == 0, run.err
    assert len(frames_of(video.with_name(f"{video.stem}-preview.mkv"))) == 12


def test_a_preview_is_a_file(vsr: Vsr, tmp_path: Path) -> None:
    vsr("preview", media.cfr(tmp_path), "-", *BICUBIC).fails(2, "-: a preview is a file")


def test_a_start_after_the_end_is_an_error_with_the_length(vsr: Vsr, tmp_path: Path) -> None:
    run = vsr("preview", media.cfr(tmp_path), tmp_path / "o.mkv", *BICUBIC, "--at", "1:00")
    assert run.status == 1
    assert "s long" in run.err
    assert not (tmp_path / "o.mkv").exists()
