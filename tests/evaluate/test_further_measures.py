"""Flicker, VMAF, the feature distance and the standard error, in figures and tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_samples import frames, write_image_folder

from features_file import write_feature_weights
from terminal import Outcome
from vsrcli.evaluate import features, perception
from vsrcli.evaluate.metrics import ClipScorer, luma
from vsrcli.evaluate.protocol import Protocol
from vsrcli.evaluate.results import ClipResult, Evaluation, Quality

Vsr = Callable[..., Outcome]


def half_still(count: int = 6) -> np.ndarray:
    """Return frames whose upper half moves and whose lower half stands still."""
    clip = frames(1, count, width=240, height=224)
    clip[:, 112:] = clip[0, 112:]
    return clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for VMAF v1."""
    return write_image_folder(tmp_path_factory.mktemp("clips") / "field", half_still())


def evaluate(vsr: Vsr, clip: Path, *words: object) -> tuple[dict[str, Any], Outcome]:
    figures = clip.parent / "figures.json"
    done = vsr("evaluate", clip, "-m", "lanczos", "--json", figures, *words)
    assert done.status == 0, done.err
    return json.loads(figures.read_text())[0], done


def score(truth: np.ndarray, output: np.ndarray) -> ClipScorer:
    scorer = ClipScorer()
    for pair in zip(output, truth, strict=True):
        scorer.add(*pair)
    return scorer


def test_flicker_is_the_change_where_the_truth_stands_still() -> None:
    truth = half_still()
    own = score(truth, truth).flicker()
    assert own is not None
    assert own < 0.2  # a few pixels of the moving half change by less than a code, too
    flickering = truth.copy()
    flickering[1::2] = np.clip(flickering[1::2].astype(int) + 4, 0, 255)  # brighter every other frame
    changes = np.diff(luma(flickering)[:, 8:-8, 8:-8], axis=0)
    at_rest = np.abs(np.diff(luma(truth)[:, 8:-8, 8:-8], axis=0)) < 1
    expected = float(np.sqrt(np.mean(changes[at_rest] ** 2)))
    assert score(truth, flickering).flicker() == pytest.approx(expected)
    assert expected == pytest.approx(4 * 219 / 255, rel=0.01)


def test_there_is_no_flicker_without_still_pixels() -> None:
    truth = np.stack([np.full((64, 64, 3), 20 * number, np.uint8) for number in range(6)])
    assert score(truth, truth).flicker() is None
    truth[:, :30, :30] = 50  # some stand still
    assert score(truth, truth).flicker() == 0


def test_flicker_is_shown_only_where_there_is_some(vsr: Vsr, clip: Path, tmp_path: Path) -> None:
    report, done = evaluate(vsr, clip)
    value = report["mean"]["model"]["flicker"]
    assert 0 < value < 5
    assert f"{value:.2f}" in done.out[done.out.index("Further measures") :]
    moving = [np.full((64, 64, 3), 20 * number, np.uint8) for number in range(6)]
    report, done = evaluate(vsr, write_image_folder(tmp_path / "lights", np.stack(moving)))
    assert report["mean"]["model"]["flicker"] is None
    assert "Further measures" not in done.out


def test_vmaf_is_measured_on_request(vsr: Vsr, clip: Path) -> None:
    report, done = evaluate(vsr, clip)
    assert report["mean"]["model"]["vmaf_v1"] is None
    assert report["omitted"]["vmaf_v1"] == "not requested (--vmaf)"
    assert "VMAF" not in done.out
    report, done = evaluate(vsr, clip, "--vmaf")
    assert done.err == ""
    assert "vmaf_v1" not in report["omitted"]
    for key in ("vmaf_v1", "vmaf_neg"):
        scores = [report["mean"][method][key] for method in ("bicubic", "lanczos", "model")]
        assert all(0 < value <= 100 for value in scores)
        assert scores[1] == scores[2]
        assert f"{scores[0]:.2f}" in done.out


def test_vmaf_that_cannot_be_measured_is_left_out(
    vsr: Vsr, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_image_folder(tmp_path / "small", frames(1, 6))
    report, done = evaluate(vsr, small, "--vmaf")
    assert done.err.count("\n") == 1  # one notice, though three methods were measured
    assert done.err.startswith("warning: VMAF v1 is left out: frames of 96x64 are too small for it")
    assert "too small" in report["omitted"]["vmaf_v1"]
    assert report["mean"]["model"]["vmaf_v1"] is None
    assert report["mean"]["model"]["vmaf_neg"] > 0
    monkeypatch.setattr("vsrcli.evaluate.ffmpeg_metrics.has_filter", lambda ffmpeg, name: False)
    report, done = evaluate(vsr, clip, "--vmaf")
    assert done.err.startswith("warning: VMAF v1 and VMAF NEG are left out: this ffmpeg was built without")
    assert done.err.count("\n") == 1
    assert set(report["omitted"]) == {"vmaf_v1", "vmaf_neg", "features"}


def test_the_feature_distance_of_random_weights(
    vsr: Vsr, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_feature_weights(tmp_path / "tiny.h5", (4, 4, 4, 4, 4))
    monkeypatch.setattr(features, "find_feature_weights", lambda remedy: path)
    report, done = evaluate(vsr, clip, "--features")
    distances = [report["mean"][method]["features"] for method in ("bicubic", "lanczos", "model")]
    assert all(0 < value < 20 for value in distances)
    assert distances[1] == distances[2]
    assert "VGG16-edge" in done.out
    assert f"{distances[0]:.3f}" in done.out
    network = features.EdgeFeatures(5, path)
    truth = half_still()
    assert perception.feature_distance(network, truth, truth) == pytest.approx(0, abs=1e-6)


def test_features_without_their_package_are_an_error_with_a_remedy(
    vsr: Vsr, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    done = vsr("evaluate", clip, "-m", "bicubic", "--features")
    done.fails(2, "pip install 'vsrcli[train]'", "leave --features out")


def test_the_standard_error_is_that_of_paired_gains() -> None:
    def clip_with(base: float, gain: float) -> ClipResult:
        low, high, best = (Quality(base + add, 0.9, 30, 30, 0.9) for add in (-1, 0, gain))
        return ClipResult("x", 64, 64, 6, low, high, best)

    results = tuple(clip_with(base, gain) for base, gain in ((20, 1.0), (40, 2.0), (30, 3.0)))
    evaluation = Evaluation("m", "e", Protocol("bi", 4), results)
    assert evaluation.mean.gain == pytest.approx(2)
    assert evaluation.gain_error == pytest.approx(1 / np.sqrt(3))  # how hard the clips are does not count
    assert evaluation.as_dict()["mean"]["gain_standard_error"] == evaluation.gain_error
    assert Evaluation("m", "e", Protocol("bi", 4), results[:1]).gain_error is None
