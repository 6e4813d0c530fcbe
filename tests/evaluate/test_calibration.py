"""The command that measures eight bits: what it writes is what inference reads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from PIL import Image

from tiny_networks import tiny_weights
from vsrcli.evaluate import calibration
from vsrcli.inference.int8_ranges import calibration_path, read_calibration
from vsrcli.inference.openvino_passes import layer_of
from vsrcli.models.weights import Weights, read_weights


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return read_weights(tiny_weights(tmp_path, "fast"))


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A folder with one clip of noise."""
    folder = tmp_path / "clips" / "noise"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = np.kron(rng.integers(0, 255, (10, 12, 3)), np.ones((4, 4, 1)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder.parent


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["calibration", *map(str, arguments)])
    calibration.main()


def test_ranges_and_losses_are_written(
    weights: Weights, footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, footage, "--val", footage, "--model", weights.path)
    found = read_calibration(weights)
    on_frames = [name for name, each in found.ranges.items() if each is None]
    assert len(on_frames) == 1
    assert {each.signed for each in found.ranges.values() if each} == {True, False}
    assert set(found.losses) == {"bi x2", "bi x2 crf 23"}
    assert "bi x2 crf 23: loses" in capsys.readouterr().out
    first = calibration_path(weights).read_bytes()
    run(monkeypatch, footage, "--val", footage, "--model", weights.path)
    assert calibration_path(weights).read_bytes() == first


def test_without_clips_to_score_it_is_never_chosen_by_itself(
    weights: Weights, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, footage, "--model", weights.path)
    assert not read_calibration(weights).is_good


def test_sensitive_layers_stay_in_float32(weights: Weights, footage: Path) -> None:
    clips = [low for path in calibration.choose_clips(footage, 1) for low in _low(path, weights)]
    observed = calibration.ObservingBackend(weights)
    for clip in clips:
        observed.watch(clip)
    ranges, steps = observed.ranges(by_channel=False), list[str]()
    layers = {layer_of(name) for name, found in ranges.items() if found}
    candidates = list(calibration.leave_sensitive(weights, [ranges], clips, steps.append, least=0.0))
    assert candidates[0] == ranges
    left = [{layer_of(name) for name, found in each.items() if found} for each in candidates]
    assert [len(each) for each in left] == list(range(len(layers), -1, -1))
    (unreachable,) = calibration.leave_sensitive(weights, [ranges], clips, steps.append, least=1000.0)
    assert set(unreachable) == set(ranges)
    assert not any(unreachable.values())
    assert sum("if only" in step for step in steps) == 2 * len(layers)


def _low(path: Path, weights: Weights) -> list[np.ndarray]:
    return list(calibration.low_resolution(path, weights, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "error: no file or folder 'missing'"),
        (["clips", "--model", "unknown"], "error: --model unknown: no weights of this name"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(footage.parent)
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, *arguments)
