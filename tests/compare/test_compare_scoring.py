"""Scores against a reference: PSNR-Y and SSIM-Y of every frame, and XPSNR and VMAF where ffmpeg has them."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsrcli.compare.alignment import iter_aligned
from vsrcli.compare.html import bin_series, nice_ticks, plot
from vsrcli.compare.inputs import Comparison, plan_comparison
from vsrcli.compare.scoring import METRICS, Metric, Scorer, ScoreSeries
from vsrcli.errors import InputError
from vsrcli.evaluate.ffmpeg_metrics import VMAF_MODELS, has_filter, omitted_metrics
from vsrcli.evaluate.metrics import psnr_y, ssim_y
from vsrcli.system.text import format_timestamp

Trio = tuple[Path, Path, Path]
PSNR, SSIM, XPSNR, VMAF_V1, VMAF_NEG, VMAF = METRICS


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


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Trio:
    """A clip large enough for every metric: blurred, sharpened, and as it is."""
    import media_samples as media

    folder = tmp_path_factory.mktemp("copies")
    paths = folder / "blurred.mkv", folder / "sharpened.mkv", folder / "true.mkv"
    pattern = media.moving_pattern(6, size="320x240")
    media.run_ffmpeg(*pattern, "-vf", "gblur=sigma=1", "-c:v", "ffv1", paths[2])
    media.run_ffmpeg("-i", paths[2], "-vf", "gblur=sigma=3", "-c:v", "ffv1", paths[0])
    media.run_ffmpeg("-i", paths[2], "-vf", "unsharp=5:5:1.5", "-c:v", "ffv1", paths[1])
    return paths


def test_vmaf_and_xpsnr_follow_quality(copies: Trio, ffmpeg: Any) -> None:
    if omitted_metrics(ffmpeg, 320, 240):
        pytest.skip("this ffmpeg lacks metrics")
    scores = score_all(plan_comparison([*copies], copies[2]), ffmpeg)
    assert not scores.omitted
    assert scores.metrics == METRICS
    for metric in METRICS:
        assert [len(values) for values in scores.values[metric.key]] == [6, 6, 6]
        blurred, _, true = (scores.mean(metric, video) for video in range(3))
        assert blurred < true - (0.05 if metric is SSIM else 5)
    assert set(scores.values["xpsnr_y"][2]) == {100.0}  # the truth itself, capped
    assert scores.mean(VMAF, 1) > scores.mean(VMAF_NEG, 1) + 1  # NEG does not reward sharpening
    for model in VMAF_MODELS.values():
        assert model in scores.protocol


def test_vmaf_of_version_0_6_1_is_what_libvmaf_alone_says(copies: Trio, ffmpeg: Any, tmp_path: Path) -> None:
    if not has_filter(ffmpeg, "libvmaf"):
        pytest.skip("this ffmpeg has no libvmaf")
    import media_samples as media

    log = tmp_path / "vmaf.json"
    to_video = (
        "format=rgb24,scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd,format=yuv420p"
    )
    graph = f"[0]{to_video}[v0];[1]{to_video}[v1]"
    graph += f";[v0][v1]libvmaf=log_fmt=json:log_path={log.as_posix()}"
    media.run_ffmpeg("-i", copies[1], "-i", copies[2], "-filter_complex", graph, "-f", "null", "-")
    expected = [frame["metrics"]["vmaf"] for frame in json.loads(log.read_text("utf-8"))["frames"]]
    scores = score_all(plan_comparison(copies[:2], copies[2]), ffmpeg)
    np.testing.assert_allclose(scores.values["vmaf"][1], expected, atol=1)  # another conversion to R'G'B'


def test_small_frames_have_no_vmaf_v1(trio: Trio, ffmpeg: Any) -> None:
    notices: list[str] = []
    scores = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=notices.append)
    assert "too small" in scores.omitted["vmaf_v1"]
    assert "vmaf_v1" not in scores.values
    if has_filter(ffmpeg, "libvmaf") and has_filter(ffmpeg, "xpsnr"):
        assert len(scores.values["vmaf"][0]) == len(scores.values["xpsnr_y"][0]) == 12
        assert [text.partition(":")[0] for text in notices] == ["VMAF v1 is left out"]


def test_what_an_ffmpeg_lacks_is_omitted_with_a_notice(
    trio: Trio, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsrcli.evaluate.ffmpeg_metrics.has_filter", lambda ffmpeg, name: False)
    notices: list[str] = []
    scores = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=notices.append)
    assert scores.metrics == (PSNR, SSIM)
    assert set(scores.omitted) == {"vmaf", "vmaf_neg", "vmaf_v1", "xpsnr_y"}
    assert [text.partition(": this ffmpeg")[0] for text in notices] == [
        "XPSNR-Y is left out",
        "VMAF v1, VMAF NEG and VMAF 0.6.1 are left out",
    ]


def test_an_older_libvmaf_measures_the_models_it_has(
    copies: Trio, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_filter(ffmpeg, "libvmaf"):
        pytest.skip("this ffmpeg has no libvmaf")
    monkeypatch.setitem(VMAF_MODELS, "vmaf_v1", "vmaf_v9.9.9")
    scores = score_all(plan_comparison(copies[:2], copies[2]), ffmpeg)
    assert "lacks the model vmaf_v9.9.9" in scores.omitted["vmaf_v1"]
    assert {"vmaf", "vmaf_neg"} <= set(scores.values)


def test_a_failing_ffmpeg_does_not_affect_other_metrics(
    trio: Trio, ffmpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("vsrcli.compare.scoring.omitted_metrics", lambda *size, vmaf: {})
    monkeypatch.setitem(VMAF_MODELS, "vmaf", "no-such-model")
    notices: list[str] = []
    scores = score_all(plan_comparison(trio[:2], trio[2]), ffmpeg, on_notice=notices.append)
    assert len(scores.values["psnr_y"][1]) == 12
    assert scores.metrics == (PSNR, SSIM)
    assert "stopped measuring" in scores.omitted["vmaf"]
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
    assert set(document["omitted"]) >= {"vmaf", "vmaf_neg", "vmaf_v1"}
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
    long = ScoreSeries(times, {"psnr_y": values}, {})
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
    ticks = nice_ticks(low, high, digits=4, maximum=100)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low <= high <= ticks[-1]
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize("metric", [PSNR, SSIM])
@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (0.99993, 1), (0.41, 1), (0.41231, 0.41234), (0.4, 0.42), (0.3, 0.41)]
)
def test_labels_of_ticks_differ_and_end_at_the_maximum(metric: Metric, low: float, high: float) -> None:
    low, high = low * metric.maximum, high * metric.maximum
    scores = ScoreSeries((Fraction(0), Fraction(1)), {metric.key: ((low, high),)}, {})
    figure = plot(metric, scores, bin_series(scores), ["a"], [])
    labels = re.findall(r"<span>([\d.]+)</span>", figure.partition("<svg")[0])
    ticks = [*map(float, reversed(labels))]
    assert len(ticks) >= 2
    assert ticks[-1] <= metric.maximum
    assert ticks[0] <= round(low, metric.digits)
    assert round(high, metric.digits) <= ticks[-1]
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)  # equal ones, above 0


def test_timestamps_are_formatted() -> None:
    assert format_timestamp(0.1334) == "0:00.133"
    assert format_timestamp(59.9996) == "1:00.000"
    assert format_timestamp(75.26, digits=1) == "1:15.3"
    assert format_timestamp(3723.4, digits=0) == "1:02:03"
