"""Which precision ``auto`` takes on a CPU, by what the processor can do and what eight bits cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tiny_networks import tiny_weights
from vsrcli.inference import precision
from vsrcli.inference.int8_ranges import Loss, calibration_path
from vsrcli.inference.precision import choose_cpu_precision
from vsrcli.models.weights import Weights, read_weights

SMALL = Loss(mean_db=0.0, worst_db=0.01, worst_clip="a", steady_db=0.0, flicker_codes=0.0)
LARGE = Loss(mean_db=0.2, worst_db=0.3, worst_clip="a", steady_db=0.0, flicker_codes=0.0)


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return read_weights(tiny_weights(tmp_path, "recurrent"))


LIMITS = {"signed": False, "limits": [1.0]}


def calibrate(weights: Weights, *losses: Loss, ranges: Any = MappingProxyType({"head": LIMITS})) -> None:
    content = {
        "sha256": weights.card["sha256"],
        "ranges": dict(ranges),
        "loss": {f"protocol {number}": asdict(loss) for number, loss in enumerate(losses)},
    }
    calibration_path(weights).write_text(json.dumps(content), encoding="utf-8")


def no_backend(precision: str) -> Any:
    raise AssertionError("nothing has to be measured")


@pytest.mark.parametrize(
    ("capabilities", "matrix_unit", "close", "expected"),
    [
        (("fp32",), False, True, "fp32"),
        (("fp32", "int8"), False, True, "int8"),
        (("fp32", "bf16", "int8"), False, True, "int8"),
        (("fp32", "bf16", "int8"), True, True, "bf16"),
        (("fp32", "bf16", "int8"), True, False, "int8"),
        (("fp32", "bf16"), True, False, "fp32"),
    ],
)
def test_the_rule(
    weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: tuple[str, ...],
    matrix_unit: bool,
    close: bool,
    expected: str,
) -> None:
    calibrate(weights, SMALL)
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: matrix_unit)
    monkeypatch.setattr(precision, "_bf16_is_close", lambda weights, create_backend: close)
    assert choose_cpu_precision(weights, capabilities, no_backend) == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(("fp32", "int8"), "int8"), (("fp32", "bf16", "int8"), "bf16")],
)
def test_eight_bits_with_a_layer_in_float32(
    weights: Weights, monkeypatch: pytest.MonkeyPatch, capabilities: tuple[str, ...], expected: str
) -> None:
    """The first, which reads frames, stays in float32 in every network."""
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: False)
    monkeypatch.setattr(precision, "_bf16_is_close", lambda weights, create_backend: True)
    calibrate(weights, SMALL, ranges={"first": None, "wide part 0": LIMITS, "head": LIMITS})
    assert choose_cpu_precision(weights, capabilities, no_backend) == "int8"
    calibrate(weights, SMALL, ranges={"first": None, "wide part 0": None, "head": LIMITS})
    assert choose_cpu_precision(weights, capabilities, no_backend) == expected


@pytest.mark.parametrize("losses", [(), (LARGE,), (SMALL, LARGE)])
def test_eight_bits_that_cost_quality_are_not_taken(
    weights: Weights, losses: tuple[Loss, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    assert choose_cpu_precision(weights, ("fp32", "int8"), no_backend) == "fp32"  # no file
    calibrate(weights, *losses)
    assert choose_cpu_precision(weights, ("fp32", "int8"), no_backend) == "fp32"


def test_eight_bits_are_not_taken_where_they_were_not_measured(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(weights, SMALL)
    monkeypatch.setattr(precision.platform, "machine", lambda: "arm64")
    assert choose_cpu_precision(weights, ("fp32", "int8"), no_backend) == "fp32"
