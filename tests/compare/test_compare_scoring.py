"""Scores against a reference: PSNR-Y and SSIM-Y of every frame, and VMAF where libvmaf is available."""

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
from vsrcli.compare.scoring import METRICS, Scorer, ScoreSeries, vmaf_available
from vsrcli.errors import InputError
from vsrcli.evaluate.metrics import psnr_y, ssim_y
from vsrcli.system.text import format_timestamp

Trio = tuple[Path, Path, Path]
PSNR, SSIM, VMAF = METRICS


def score_all(comparison: Comparison, ffmpeg: Any, **options: Any) -> ScoreSeries:
    with Scorer(comparison, ffmpeg=ffmpeg, **options) as scorer:
        for aligned in iter_aligned(comparison, ffmpeg=ffmpeg):
            scorer.add(aligned)
        return scorer.finish()


def test_scores_are_the_metrics_of_every_frame(trio: Trio, ffmpeg: Any) -> None:
    comparison = plan_comparison([*trio], trio[2])
    scores = score_all(comparison, ffmpeg, vmaf=False)
    assert len(scores.times) == 12
    for index, aligned in enumerate(iter_aligned(comparison, ffmpeg=ffmpeg)):
        assert scores.times[index] == aligned.time
        for video in (0, 1):
            image, truth = aligned.images[video], aligned.images[3]
            assert scores.values["psnr_y"][video][index] == psnr_y(image, truth)
            assert scores.values["ssim_y"][video][index] == ssim_y(image, truth)
    assert set(scores.values["psnr_y"][2]) == {100.0}  # the truth itself, capped
    assert scores.mean(PSNR, 0) == pytest.approx(np.mean(scores.values["psnr_y"][0]))
    assert scores.values["psnr_y"][0][scores.worst_frame(PSNR, 0)] == min(scores.values["psnr_y"][0])


def test_vmaf_is_lower_for_a_blurred_copy(tmp_path: Path, ffmpeg: Any) -> None:
    if not vmaf_available(ffmpeg):
        pytest.skip("this ffmpeg has no libvmaf")
    import media_samples as media

    true, blurred = tmp_path / "true.mkv", tmp_path / "blurred.mkv"
    media.run_ffmpeg(*media.moving_pattern(6, size="192x144"), "-c:v", "ffv1", true)
    media.run_ffmpeg("-i", true, "-vf", "gblur=sigma=3", "-c:v", "ffv1", blurred)
    scores = score_all(plan_comparison([blurred, true], true), ffmpeg)
    assert scores.vmaf_omitted is None
    assert [len(values) for values in scores.values["vmaf"]] == [6, 6]
    assert scores.mean(VMAF, 1) > 90
    assert scores.mean(VMAF, 0) < scores.mean(VMAF, 1) - 20


def test_without_libvmaf_vmaf_is_omitted_with_a_notice(
    trio: Trio, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsrcli.compare.scoring.vmaf_available", lambda ffmpeg: False)
    notices: list[str] = []
    scores = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=notices.append)
    assert "vmaf" not in scores.values
    assert "built without libvmaf" in (scores.vmaf_omitted or "")
    assert len(notices) == 1
    assert "VMAF is left out" in notices[0]


def test_a_failing_vmaf_does_not_affect_other_metrics(
    trio: Trio, ffmpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("vsrcli.compare.scoring.vmaf_available", lambda ffmpeg: True)
    monkeypatch.setattr("vsrcli.compare.scoring.VMAF_MODEL", "no-such-model")
    notices: list[str] = []
    scores = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=notices.append)
    assert len(scores.values["psnr_y"][1]) == 12
    assert "libvmaf stopped" in (scores.vmaf_omitted or "")
    assert len(notices) == 1
    assert not list(tmp_path.iterdir())


def test_an_interrupted_vmaf_leaves_no_files(
    trio: Trio, ffmpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    comparison = plan_comparison(trio[:2], trio[2])

    def interrupted() -> None:
        with Scorer(comparison, ffmpeg=ffmpeg) as scorer:
            for aligned in iter_aligned(comparison, ffmpeg=ffmpeg):
                scorer.add(aligned)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_frames_that_are_too_small_are_refused(trio: Trio, ffmpeg: Any) -> None:
    comparison = replace(plan_comparison(trio[:2], trio[2]), width=24, height=18)
    with pytest.raises(InputError, match="too few to score"):
        Scorer(comparison, ffmpeg=ffmpeg)


def test_json_has_every_score(trio: Trio, ffmpeg: Any) -> None:
    comparison = plan_comparison(trio[:2], trio[2])
    scores = score_all(comparison, ffmpeg, vmaf=False)
    document = json.loads(json.dumps(scores.as_dict(comparison), allow_nan=False))
    assert document["frames"] == len(document["times"]) == 12
    assert document["vmaf_omitted"]
    small = document["videos"][0]
    assert small["label"] == "small.mkv"
    assert small["scaling"] == "bicubic x2"
    assert small["psnr_y"]["frames"] == list(scores.values["psnr_y"][0])
    assert small["psnr_y"]["worst"] == min(small["psnr_y"]["frames"])
    assert "vmaf" not in small


def test_long_videos_are_plotted_in_bins(trio: Trio, ffmpeg: Any) -> None:
    short = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, vmaf=False)
    count = 2600
    values = tuple(tuple(30 + np.sin(np.arange(count) / 50 + video)) for video in range(2))
    times = tuple(short.times[1] * index for index in range(count))
    long = ScoreSeries(times, {"psnr_y": values}, "none")
    bins = bin_series(long)
    assert bins.bin_size == 3
    assert len(bins.x) == len(bins.first_frames) == 867
    assert bins.minimum["psnr_y"][0][10] == pytest.approx(min(values[0][30:33]), abs=1e-4)
    assert bins.mean["psnr_y"][0][10] == pytest.approx(np.mean(values[0][30:33]), abs=1e-4)
    figure = plot(PSNR, long, bins, ["a", "<b>"], [times[5]])
    assert figure.count('class="series') == figure.count('class="band') == 2
    assert figure.count('class="mark"') == 1
    assert "<b>:" not in figure  # names are escaped
    assert "style=" not in figure


@pytest.mark.parametrize(
    ("low", "high"), [(27.7, 38.1), (0.88, 0.97), (100, 100), (46.8, 91.3), (-0.2, 1), (30, 30.0004)]
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low <= high <= ticks[-1]
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_timestamps_are_formatted() -> None:
    assert format_timestamp(0.1334) == "0:00.133"
    assert format_timestamp(59.9996) == "1:00.000"
    assert format_timestamp(75.26, digits=1) == "1:15.3"
    assert format_timestamp(3723.4, digits=0) == "1:02:03"
