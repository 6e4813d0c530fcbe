"""``vsr preview``: a moment just as the film would have it, and what the film would take."""

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


def pictures(film: Path) -> list[np.ndarray]:
    with av.open(str(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_moment_is_what_the_film_would_show(vsr: Vsr, tmp_path: Path) -> None:
    film = media.cfr(tmp_path, frames=48, suffix=".mkv")
    assert vsr("upscale", film, tmp_path / "whole.mkv", *BICUBIC).status == 0
    run = vsr("preview", film, *BICUBIC, "--at", "1", "--seconds", "0.5", "--progress", "json")
    assert run.status == 0, run.err
    made = film.with_name(f"{film.stem}-preview.mkv")
    whole, moment = pictures(tmp_path / "whole.mkv"), pictures(made)
    assert len(moment) == 12
    np.testing.assert_array_equal(moment, whole[24:36])
    with av.open(str(made)) as container:
        assert len(container.streams.audio) == 1
    said = [json.loads(line) for line in run.err.splitlines()]
    assert said[-1]["message_type"] == "estimate"
    assert said[-1]["frames"] == 48
    assert said[-1]["size"] == pytest.approx(4 * made.stat().st_size, rel=0.05)
    assert said[-1]["seconds"] > 0


def test_people_are_told_in_one_line(vsr: Vsr, tmp_path: Path) -> None:
    film = media.cfr(tmp_path, frames=48, suffix=".mkv")
    run = vsr("preview", film, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25")
    assert "the whole film: 48 frames, about 0:0" in run.err
    again = vsr("preview", film, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25")
    assert again.status == 1
    assert "--overwrite" in again.err
    assert vsr("preview", film, tmp_path / "o.mkv", *BICUBIC, "--seconds", "0.25", "-y", "-q").err == ""


def test_the_start_counts_once_and_the_frames_as_often_as_there_are() -> None:
    made: Any = SimpleNamespace(
        seconds=12.0, frames=11, target=SimpleNamespace(stat=lambda: SimpleNamespace(st_size=1100))
    )
    last: Any = SimpleNamespace(seconds=10.0)
    whole = estimate_full_run(PreviewVideo(1000, Fraction(40)), SimpleNamespace(), made, last)  # type: ignore[arg-type]
    assert whole == Estimate(1000, 2.0 + 1000 * 1.0, 100_000)
    assert "nobody can say" in str(estimate_full_run(PreviewVideo(None, None), SimpleNamespace(), made, last))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", "1"), "a preview has --at"),
        (("--frames", "3"), "a preview has --at"),
        (("--seconds", "0"), "longer than nothing"),
    ],
)
def test_wrong_usage(vsr: Vsr, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    run = vsr("preview", media.cfr(tmp_path), tmp_path / "o.mkv", *BICUBIC, *options)
    assert run.status == 2
    assert words in run.err


def test_beyond_the_end_is_an_error_that_says_how_long_the_film_is(vsr: Vsr, tmp_path: Path) -> None:
    run = vsr("preview", media.cfr(tmp_path), tmp_path / "o.mkv", *BICUBIC, "--at", "1:00")
    assert run.status == 1
    assert "s long" in run.err
    assert not (tmp_path / "o.mkv").exists()
