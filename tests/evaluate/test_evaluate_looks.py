"""``vsr evaluate`` with networks of others, on tiles where they need them, and ``--strength``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_samples import frames, write_image_folder

import onnx_samples
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.errors import UsageError
from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.models import resolve_model, resolve_models
from vsrcli.evaluate.results import Look
from vsrcli.inference.engine import ResampleEngine

Vsr = Callable[..., Outcome]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low resolution at x2 is 49x33, more than the 32x32 of the network of one size."""
    return write_image_folder(tmp_path_factory.mktemp("clips") / "city", frames(1, 6))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network twice: one file takes any size, one 32x32 only."""
    folder = tmp_path_factory.mktemp("networks")
    names = {"any": "x2", "fixed": "fixed"}
    return {name: onnx_samples.SAMPLES[key][0](folder / f"{name}.onnx") for name, key in names.items()}


def evaluate(vsr: Vsr, clip: Path, *words: object) -> tuple[list[dict[str, Any]], Outcome]:
    figures = clip.parent / "figures.json"
    done = vsr("evaluate", clip, "--gpu", "cpu", "--json", figures, *words)
    assert done.status == 0, done.err
    return json.loads(figures.read_text()), done


def test_a_network_of_one_size_runs_on_tiles(vsr: Vsr, clip: Path, networks: dict[str, Path]) -> None:
    models = ("-m", networks["any"], "-m", networks["fixed"])
    (whole, tiled), done = evaluate(vsr, clip, *models)
    assert tiled["model"] == "fixed"
    assert tiled["clips"][0]["frames"] == whole["clips"][0]["frames"] == 6
    assert tiled["mean"]["model"]["psnr"] == pytest.approx(whole["mean"]["model"]["psnr"], abs=0.01)
    assert tiled["mean"]["model"]["steady"] == pytest.approx(whole["mean"]["model"]["steady"], abs=0.05)
    assert [each["keep_color"] for each in (whole, tiled)] == [True, True]  # as `vsr upscale` does
    assert "Look of fixed: colours of the source." in done.out
    (plain, _), done = evaluate(vsr, clip, *models, "--no-keep-color")
    assert plain["keep_color"] is False
    assert "Look of" not in done.out


def test_tiles_of_one_size_are_the_whole_frame(networks: dict[str, Path]) -> None:
    low = frames(3, 5, width=75, height=40)
    whole, tiled = (
        np.stack([*upscale_frames(model.open(device="cpu"), low, model.choice.architecture)])
        for model in (resolve_model(str(path)) for path in networks.values())
    )
    inside = slice(2, -2)  # borders are padded by reflection in one file, by zeros in the other
    difference = whole[:, inside, inside].astype(int) - tiled[:, inside, inside]
    assert np.abs(difference).max() <= 1


def test_names_follow_the_scale_of_networks_of_others(networks: dict[str, Path]) -> None:
    resolved = resolve_models(["lanczos", str(networks["fixed"]), "duf-r-s"])
    assert [model.name for model in resolved] == ["lanczos-x2", "fixed", "duf-r-s-x2-video"]


@pytest.mark.parametrize("phase", ["centre", "zero"])
def test_strength_blends_with_the_interpolation_of_the_protocol(phase: Any, tmp_path: Path) -> None:
    low = frames(3, 5, width=40, height=36)
    model = resolve_model(str(tiny_weights(tmp_path, "cached")))
    engine = model.open(device="cpu")
    network, half, none = (
        np.stack([*upscale_frames(engine, low, look=Look(strength), phase=phase)]).astype(float)
        for strength in (1.0, 0.5, 0.0)
    )
    lanczos = np.stack([*upscale_frames(ResampleEngine("lanczos", 2, phase), low)])
    np.testing.assert_array_equal(none, lanczos)
    assert np.abs(half - (network + none) / 2).max() <= 1
    assert np.abs(network - none).max() > 2  # they differ


def test_rows_say_the_strength(vsr: Vsr, clip: Path, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path, "cached")
    markdown = tmp_path / "scores.md"
    half, done = evaluate(
        vsr, clip, "-m", weights, "--strength", 0.5, "--precision", "fp32", "--markdown", markdown
    )
    assert (half[0]["model"], half[0]["strength"], half[0]["keep_color"]) == ("duf-s-x2-video", 0.5, False)
    assert "fp32, strength 0.5: bi x2" in done.out
    assert "Look of duf-s-x2-video: 0.5 of the network, the rest Lanczos." in done.out
    assert "| duf-s-x2-video, strength 0.5 |" in markdown.read_text()
    full, done = evaluate(vsr, clip, "-m", weights)
    assert (full[0]["strength"], full[0]["mean"]["bicubic"]) == (1.0, half[0]["mean"]["bicubic"])
    assert "strength" not in done.out
    scores = [each[0]["mean"]["model"]["psnr"] for each in (full, half)]
    assert scores[0] != scores[1]


def test_no_strength_is_lanczos_without_the_network(vsr: Vsr, clip: Path, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path, "cached")
    (figures,), done = evaluate(vsr, clip, "-m", weights, "--strength", 0)
    assert figures["mean"]["model"] == figures["mean"]["lanczos"]
    assert figures["engine"].startswith("lanczos")
    assert (figures["model"], figures["strength"]) == ("duf-s-x2-video", 0)
    assert "strength 0: bi x2" in done.out


def test_refused_strengths(vsr: Vsr, clip: Path, tmp_path: Path) -> None:
    line = ("evaluate", clip, "-m", tiny_weights(tmp_path, "cached"))
    vsr(*line, "--strength", "1.5").fails(2, "--strength")
    for words in (("--strength", 0.5), ("--strength", 0), ("--keep-color",)):
        vsr(*line, "--card", *words).fails(2, "--card", "--strength")
    with pytest.raises(UsageError, match="--strength 2"):
        resolve_model("bicubic").with_look(2.0)
