"""Which engine computes: chosen where nothing was asked for, and one clear error where it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.errors import EngineError, UsageError
from vsrcli.inference import selection
from vsrcli.inference.selection import plan_engine

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``machine(openvino=True, gpu=False, bf16=False)``: what this test's machine has."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def has(*, openvino: bool = True, gpu: bool = False, bf16: bool = False) -> None:
        precisions = ("fp32", "bf16") if bf16 else ("fp32",)
        monkeypatch.setattr(selection, "openvino_installed", lambda: openvino)
        monkeypatch.setattr(selection, "may_have_gpu", lambda: gpu)
        monkeypatch.setattr(selection, "cpu_precisions", lambda: precisions)

    return has


@pytest.mark.parametrize(
    ("there", "asked", "engine"),
    [
        ({}, {}, "openvino"),
        ({}, {"device": "cpu"}, "openvino"),
        ({}, {"precision": "fp32"}, "openvino"),
        ({}, {"engine": "keras"}, "keras"),
        ({}, {"precision": "fp16"}, "keras"),
        ({}, {"precision": "bf16"}, "keras"),
        ({"bf16": True}, {"precision": "bf16"}, "openvino"),
        ({"openvino": False}, {}, "keras"),
        ({"gpu": True}, {}, "auto"),  # Keras has to be asked
        ({"gpu": True}, {"device": "cpu"}, "openvino"),
        ({"gpu": True}, {"device": "0"}, "keras"),
        ({"gpu": True}, {"engine": "openvino"}, "openvino"),
    ],
)
def test_what_is_chosen(
    machine: Callable[..., None], there: dict[str, bool], asked: dict[str, str], engine: str
) -> None:
    machine(**there)
    assert plan_engine(**asked).engine == engine


@pytest.mark.parametrize("missing", ["openvino", "platformdirs", "scipy"])
def test_openvino_alone_is_not_all_that_it_needs(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "find_spec", lambda name: None if name == missing else object())
    assert not selection.openvino_installed()


def test_a_backend_of_keras_in_the_environment_asks_for_keras(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert plan_engine().engine == "keras"
    assert plan_engine("openvino").engine == "openvino"


@pytest.mark.parametrize(("gpus", "engine"), [(["a GPU"], "keras"), ([], "openvino")])
def test_a_gpu_that_keras_can_use_comes_first(
    machine: Callable[..., None], gpus: list[str], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpu=True)
    monkeypatch.setattr("vsrcli.inference.keras.list_gpus", lambda: gpus)
    assert plan_engine().resolve() == engine


@pytest.mark.parametrize(
    ("there", "asked", "message"),
    [
        ({"openvino": False}, {}, r"pip install 'vsrcli\[openvino\]'.*there: keras"),
        ({"gpu": True}, {"device": "0"}, r"--engine keras for --gpu 0"),
        ({}, {"precision": "fp16"}, r"no --precision fp16 on this CPU \(there: fp32\)"),
        ({}, {"precision": "bf16"}, r"no --precision bf16 on this CPU \(there: fp32\)"),
        ({"bf16": True}, {"precision": "fp16"}, r"\(there: fp32 and bf16\)"),
    ],
)
def test_what_openvino_cannot_do_is_one_clear_error(
    machine: Callable[..., None], there: dict[str, bool], asked: dict[str, str], message: str
) -> None:
    machine(**there)
    with pytest.raises(EngineError, match=message):
        plan_engine("openvino", **asked)


@pytest.mark.parametrize("asked", [{"engine": "magic"}, {"precision": "fp8"}])
def test_unknown_words_are_named_with_the_known_ones(asked: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"is unknown: choose one of auto, "):
        plan_engine(**asked)


def test_the_plan_in_words(machine: Callable[..., None]) -> None:
    machine(bf16=True)
    assert str(plan_engine()) == "openvino on CPU, bf16 if nobody can see it, else fp32"
    assert str(plan_engine("keras")) == "keras on CPU, fp32"
    machine(gpu=True)
    assert str(plan_engine()) == "keras on a GPU that it can use, else openvino; precision auto"
    assert str(plan_engine(device="1")) == "keras on GPU 1, precision auto"


def test_the_command_line_says_it_before_the_first_frame(
    machine: Callable[..., None], vsr: Vsr, sample: Sample, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    machine(openvino=False)
    missing = vsr("upscale", sample(media.cfr), target, "--engine", "openvino")
    assert missing.status == 1
    assert missing.err.count("\n") == 1
    assert "pip install 'vsrcli[openvino]'" in missing.err
    machine()
    wrong = vsr("upscale", sample(media.cfr), target, "--engine", "openvino", "--precision", "fp16")
    assert wrong.status == 1
    assert "there: fp32" in wrong.err
    assert vsr("upscale", sample(media.cfr), target, "--engine", "magic").status == 2
    planned = vsr("upscale", sample(media.cfr), target, "--dry-run")
    assert "  engine: openvino on CPU, fp32\n" in planned.err
    assert list(tmp_path.iterdir()) == []
