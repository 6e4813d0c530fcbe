"""Shipped networks start without Keras, and what is shipped for that belongs to the code and the weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from random_networks import noise_frames, run_stream

from vsrcli.inference import openvino_templates
from vsrcli.inference.functions import shapes_of
from vsrcli.inference.keras import KerasEngine
from vsrcli.inference.openvino import OpenvinoEngine, openvino_core
from vsrcli.inference.openvino_templates import (
    KINDS,
    NetworkGraphs,
    shipped_psnr,
    shipped_templates,
    template_code,
    template_key,
)
from vsrcli.models.weights import Weights, find_weights, list_weights

REMEDY = "run: python -m vsrcli.inference.openvino_shipping"
RUN = """
import sys
sys.modules["keras"] = None
import numpy as np
from vsrcli.inference.openvino import OpenvinoEngine
from vsrcli.models.weights import find_weights
engine = OpenvinoEngine(find_weights("duf-r-xs", 2))
stream = engine.open(11, 12)
stream.push(np.zeros((11, 12, 3), np.float32))
print(len(stream.flush()))
"""


def shipped_weights() -> list[Weights]:
    return [each for each in list_weights() if each.architecture.kind in KINDS]


def test_all_shipped_networks_have_templates() -> None:
    assert openvino_templates._shipped()["code"] == template_code(), REMEDY
    for weights in shipped_weights():
        for precision in ("fp32", "bf16"):
            shapes = shapes_of(weights.architecture, weights.scale, precision)
            assert shipped_templates(template_key(weights, shapes.row_multiple)), REMEDY
        assert shipped_psnr(weights) is not None, REMEDY


def test_a_shipped_network_starts_without_keras_or_a_cache(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", RUN],
        env={"VSR_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert (result.stdout, result.returncode) == ("1\n", 0), result.stderr
    assert not (tmp_path / "cache").exists()


def test_no_shipped_network_can_overflow() -> None:
    """Else looking for NaN in each frame's features would take a tenth of the fast network's time."""
    for weights in shipped_weights():
        shapes = shapes_of(weights.architecture, weights.scale)
        files = shipped_templates(template_key(weights, shapes.row_multiple))
        assert files is not None, REMEDY
        assert NetworkGraphs(weights, files, openvino_core()).stays_finite


@pytest.mark.parametrize("model", ["duf-r-xs", "duf-s"])
def test_its_results_are_those_of_keras(model: str) -> None:
    weights, frames = find_weights(model, 2), noise_frames(4)
    height, width = frames.shape[1:3]
    result = run_stream(OpenvinoEngine(weights, precision="fp32").open(height, width), frames)
    keras = run_stream(KerasEngine(weights, device="cpu").open(height, width), frames)
    np.testing.assert_allclose(np.stack(result), np.stack(keras), atol=5e-5)


def test_templates_of_other_code_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = find_weights("duf-r-xs", 2)
    key = template_key(weights, shapes_of(weights.architecture, 2).row_multiple)
    assert shipped_templates(key) is not None
    assert shipped_templates({**key, "scale": 5}) is None
    monkeypatch.setattr(openvino_templates, "template_code", lambda: ["another"])
    assert shipped_templates(key) is None
