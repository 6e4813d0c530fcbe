"""The example video that the README upscales: real footage with sound through the whole program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspecting import packets, times

from terminal import Outcome
from vsrcli.media.probe import probe
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.models.weights import find_weights, load_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = EXAMPLES / "butterfly_240x136.mp4"
Vsr = Callable[..., Outcome]


def test_nothing_but_the_size_changes(tmp_path: Path, vsr: Vsr) -> None:
    target = tmp_path / "out.mp4"
    done = vsr("upscale", EXAMPLE, target, "-m", "bicubic", "-e", "preset=ultrafast")
    assert done.status == 0, done.err
    before, after = probe(EXAMPLE), probe(target)
    assert (after.video.width, after.video.height) == (960, 544)
    assert len(times(target)) == 120
    assert times(target) == times(EXAMPLE)
    assert packets(target, "audio") == packets(EXAMPLE, "audio")
    assert after.video.color == before.video.color
    assert after.video.sample_aspect_ratio == before.video.sample_aspect_ratio


def test_the_shipped_network_is_closer_to_the_truth_than_interpolation(tmp_path: Path, vsr: Vsr) -> None:
    """A few sharp frames through the default weights, scored against the video it was made from.

    Sharp ones: in three blurred passages interpolation is as good or better (see the README's limits).
    """
    from vsrcli.evaluate.clips import read_frames
    from vsrcli.evaluate.metrics import psnr_y

    truth = read_frames(EXAMPLES / "butterfly_960x544.mp4", 12)[8:]
    scores = {}
    for model in (DEFAULT_MODEL, "lanczos"):
        target = tmp_path / f"{model}.mp4"
        span = ("--start", "0.26", "--frames", "4", "--crf", "4")  # frame 8 is shown at 0.267 s
        done = vsr("upscale", EXAMPLE, target, "--model", model, *span)
        assert done.status == 0, done.err
        upscaled = read_frames(target, 4)
        scores[model] = [psnr_y(a, b) for a, b in zip(upscaled, truth, strict=True)]
    gains = [ours - theirs for ours, theirs in zip(scores[DEFAULT_MODEL], scores["lanczos"], strict=True)]
    assert min(gains) > 0.3


def test_shipped_weights_are_what_their_card_says() -> None:
    weights = find_weights(DEFAULT_MODEL, 4)
    assert weights.path.stat().st_size < 16 * 2**20
    model = load_model(weights)  # compares the sha256
    assert model.count_params() == weights.card["parameters"]
    for word in ("command", "data", "licence", "credits", "measured", "training", "phase"):
        assert weights.card[word], word
    assert all(entry["licence"] for entry in weights.card["credits"])
    clean, compressed = "bi x4", "bi x4 crf 23"
    assert weights.card["measured"][f"{clean} gain_db"] >= 0.5
    assert weights.card["measured"][f"{clean} worst_gain_db"] > 0
    assert weights.card["measured"][f"{compressed} gain_db"] > 0
    assert weights.card["measured"][f"{compressed} worst_gain_db"] >= -0.1


@pytest.mark.parametrize("name", ["butterfly_240x136.mp4", "butterfly_960x544.mp4"])
def test_its_licence_is_stated(name: str) -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert name in text
    assert "CC0" in text
