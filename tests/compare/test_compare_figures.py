"""Figures against a reference: those of the metrics, frame by frame, and VMAF where it can be had."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsrcli.compare.alignment import iter_aligned
from vsrcli.compare.html import bin_series, nice_ticks, plot
from vsrcli.compare.inputs import Comparison, plan_comparison
from vsrcli.compare.scoring import METRICS, Scorer, ScoreSeries, available
from vsrcli.errors import InputError
from vsrcli.evaluate.metrics import psnr_y, ssim_y
from vsrcli.system.text import format_timestamp

Trio = tuple[Path, Path, Path]
PSNR, SSIM, VMAF = METRICS


def measured(line: Comparison, ffmpeg: Any, **options: Any) -> ScoreSeries:
    with Scorer(line, ffmpeg=ffmpeg, **options) as scorer:
        for moment in iter_aligned(line, ffmpeg=ffmpeg):
            scorer.add(moment)
        return scorer.finish()


def test_they_are_the_metrics_of_every_frame(trio: Trio, ffmpeg: Any) -> None:
    line = plan_comparison([*trio], trio[2])
    figures = measured(line, ffmpeg, vmaf=False)
    assert len(figures.times) == 12
    for number, moment in enumerate(iter_aligned(line, ffmpeg=ffmpeg)):
        assert figures.times[number] == moment.time
        for film in (0, 1):
            picture, truth = moment.pictures[film], moment.pictures[3]
            assert figures.values["psnr_y"][film][number] == psnr_y(picture, truth)
            assert figures.values["ssim_y"][film][number] == ssim_y(picture, truth)
    assert set(figures.values["psnr_y"][2]) == {100.0}  # the truth itself, capped
    assert figures.mean(PSNR, 0) == pytest.approx(np.mean(figures.values["psnr_y"][0]))
    assert figures.values["psnr_y"][0][figures.worst(PSNR, 0)] == min(figures.values["psnr_y"][0])


def test_vmaf_tells_the_truth_from_a_copy_of_a_copy(tmp_path: Path, ffmpeg: Any) -> None:
    if not available(ffmpeg):
        pytest.skip("this ffmpeg has no libvmaf")
    import media_samples as media

    true, blurred = tmp_path / "true.mkv", tmp_path / "blurred.mkv"
    media.run_ffmpeg(*media.moving_pattern(6, size="192x144"), "-c:v", "ffv1", true)
    media.run_ffmpeg("-i", true, "-vf", "gblur=sigma=3", "-c:v", "ffv1", blurred)
    figures = measured(plan_comparison([blurred, true], true), ffmpeg)
    assert figures.left_out is None
    assert [len(values) for values in figures.values["vmaf"]] == [6, 6]
    assert figures.mean(VMAF, 1) > 90
    assert figures.mean(VMAF, 0) < figures.mean(VMAF, 1) - 20


def test_without_libvmaf_it_is_left_out_and_that_is_said(
    trio: Trio, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsrcli.compare.scoring.available", lambda ffmpeg: False)
    told: list[str] = []
    figures = measured(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=told.append)
    assert "vmaf" not in figures.values
    assert "built without libvmaf" in (figures.left_out or "")
    assert len(told) == 1
    assert "VMAF is left out" in told[0]


def test_a_vmaf_that_dies_costs_nothing_else(
    trio: Trio, ffmpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("vsrcli.compare.scoring.available", lambda ffmpeg: True)
    monkeypatch.setattr("vsrcli.compare.scoring.MODEL", "no-such-model")
    told: list[str] = []
    figures = measured(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=told.append)
    assert len(figures.values["psnr_y"][1]) == 12
    assert "libvmaf stopped" in (figures.left_out or "")
    assert len(told) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_vmaf_that_was_interrupted(
    trio: Trio, ffmpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    line = plan_comparison(trio[:2], trio[2])

    def interrupted() -> None:
        with Scorer(line, ffmpeg=ffmpeg) as scorer:
            for moment in iter_aligned(line, ffmpeg=ffmpeg):
                scorer.add(moment)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_pictures_that_are_too_small_are_refused(trio: Trio, ffmpeg: Any) -> None:
    line = replace(plan_comparison(trio[:2], trio[2]), width=24, height=18)
    with pytest.raises(InputError, match="too few to score"):
        Scorer(line, ffmpeg=ffmpeg)


def test_json_holds_every_figure(trio: Trio, ffmpeg: Any) -> None:
    line = plan_comparison(trio[:2], trio[2])
    figures = measured(line, ffmpeg, vmaf=False)
    told = json.loads(json.dumps(figures.as_dict(line), allow_nan=False))
    assert told["frames"] == len(told["times"]) == 12
    assert told["vmaf_left_out"]
    small = told["films"][0]
    assert small["label"] == "small.mkv"
    assert small["scaling"] == "bicubic x2"
    assert small["psnr_y"]["frames"] == list(figures.values["psnr_y"][0])
    assert small["psnr_y"]["worst"] == min(small["psnr_y"]["frames"])
    assert "vmaf" not in small


def test_long_films_are_plotted_in_groups(trio: Trio, ffmpeg: Any) -> None:
    short = measured(plan_comparison(trio[:2], trio[2]), ffmpeg, vmaf=False)
    count = 2600
    values = tuple(tuple(30 + np.sin(np.arange(count) / 50 + film)) for film in range(2))
    times = tuple(short.times[1] * number for number in range(count))
    long = ScoreSeries(times, {"psnr_y": values}, "none")
    groups = bin_series(long)
    assert groups.size == 3
    assert len(groups.x) == len(groups.first) == 867
    assert groups.low["psnr_y"][0][10] == pytest.approx(min(values[0][30:33]), abs=1e-4)
    assert groups.mean["psnr_y"][0][10] == pytest.approx(np.mean(values[0][30:33]), abs=1e-4)
    drawn = plot(PSNR, long, groups, ["a", "<b>"], [times[5]])
    assert drawn.count('class="series') == drawn.count('class="band') == 2
    assert drawn.count('class="mark"') == 1
    assert "<b>:" not in drawn  # names are escaped
    assert "style=" not in drawn


@pytest.mark.parametrize(
    ("low", "high"), [(27.7, 38.1), (0.88, 0.97), (100, 100), (46.8, 91.3), (-0.2, 1), (30, 30.0004)]
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low <= high <= ticks[-1]
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_times_for_people() -> None:
    assert format_timestamp(0.1334) == "0:00.133"
    assert format_timestamp(59.9996) == "1:00.000"
    assert format_timestamp(75.26, digits=1) == "1:15.3"
    assert format_timestamp(3723.4, digits=0) == "1:02:03"
