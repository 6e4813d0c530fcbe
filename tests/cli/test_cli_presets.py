"""``--preset`` chooses a network, not a preset of the encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.models.architectures import ARCHITECTURES, DEFAULT_MODEL, MODEL_PRESETS
from vsrcli.models.weights import DEFAULT_DEGRADATION, DEFAULT_LOOK, list_weights

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]


@pytest.fixture
def model(vsr: Vsr, sample: Sample, tmp_path: Path) -> Callable[..., str]:
    """Return a function: the name of the weights for some options."""

    def chosen(*options: str) -> str:
        run = vsr(
            "upscale", sample(media.cfr), tmp_path / "o.mkv", "--dry-run", "--progress", "json", *options
        )
        assert run.status == 0, run.err
        return json.loads(run.err.splitlines()[0])["model"]

    return chosen


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_presets_follow_what_was_measured(scale: int) -> None:
    """Of models shipped at all scales none is better than ``quality``, none is cheaper than ``fast``."""
    kind = (DEFAULT_DEGRADATION, DEFAULT_LOOK)
    own = [each for each in list_weights() if (each.card["degradation"], each.look) == kind]
    names = {
        name
        for name in ARCHITECTURES
        if {w.scale for w in own if w.card["architecture"] == name} >= {2, 3, 4}
    }
    shipped = {w.card["architecture"]: w for w in own if w.scale == scale and w.card["architecture"] in names}
    assert set(MODEL_PRESETS.values()) <= set(shipped)
    gains = {name: weights.card["measured"][f"bi x{scale} gain_db"] for name, weights in shipped.items()}
    costs = {name: weights.architecture.multiply_adds(scale) for name, weights in shipped.items()}
    assert max(gains, key=lambda name: gains[name]) == MODEL_PRESETS["quality"]
    assert min(costs, key=lambda name: costs[name]) == MODEL_PRESETS["fast"]
    assert costs[MODEL_PRESETS["fast"]] < costs[MODEL_PRESETS["balanced"]]
    assert MODEL_PRESETS["balanced"] == DEFAULT_MODEL


def test_a_preset_is_a_network(model: Callable[..., str]) -> None:
    assert model("--preset", "fast") == f"{MODEL_PRESETS['fast']}-x4-video"
    assert model("--preset", "fast", "-s", "2") == f"{MODEL_PRESETS['fast']}-x2-video"
    assert model("--preset", "balanced") == model()


def test_the_error_points_to_presets_of_the_encoder(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    run = vsr("upscale", sample(media.cfr), tmp_path / "o.mp4", "--preset", "slow")
    run.fails(2, "'slow' is none", "fast, balanced, quality", "-e preset=slow")
    assert vsr("upscale", sample(media.cfr), tmp_path / "o.mp4", "-e", "preset=slow", "--dry-run").status == 0


def test_of_two_networks_the_typed_one_is_used(
    vsr: Vsr, sample: Sample, tmp_path: Path, model: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two typed ones are an error; a typed one precedes a setting."""
    run = vsr("upscale", sample(media.cfr), tmp_path / "o.mp4", "--preset", "fast", "-m", "bicubic")
    run.fails(2, "--preset fast and --model bicubic", "one of them")
    monkeypatch.setenv("VSR_UPSCALE_MODEL", "bicubic")
    assert model() == "bicubic-x4"
    assert model("--preset", "fast") == f"{MODEL_PRESETS['fast']}-x4-video"
    monkeypatch.setenv("VSR_UPSCALE_PRESET", "fast")
    assert model("-m", "lanczos") == "lanczos-x4"
