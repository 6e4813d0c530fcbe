"""Choice of the engine: defaults, and one clear error for what is not available."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media_samples as media
from onnx_samples import upscaler
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.errors import EngineError, UsageError
from vsrcli.inference import engine_plan
from vsrcli.inference.engine_plan import plan_engine

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``machine(openvino=True, gpu=False, bf16=False, int8=False, onnxruntime=False, cuda=False)``: this
    test's machine; ``cuda``: ONNX Runtime is built for GPUs."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def set_up(
        *,
        openvino: bool = True,
        gpu: bool = False,
        bf16: bool = False,
        int8: bool = False,
        onnxruntime: bool = False,
        cuda: bool = False,
    ) -> None:
        precisions = ("fp32", *["bf16"] * bf16, *["int8"] * int8)
        monkeypatch.setattr(engine_plan, "openvino_installed", lambda: openvino)
        monkeypatch.setattr(engine_plan, "onnxruntime_installed", lambda: onnxruntime)
        monkeypatch.setattr(engine_plan, "onnxruntime_gpu_installed", lambda: cuda)
        monkeypatch.setattr(engine_plan, "may_have_gpu", lambda: gpu)
        monkeypatch.setattr(engine_plan, "cpu_precisions", lambda: precisions)

    return set_up


@pytest.mark.parametrize(
    ("machine_has", "options", "engine"),
    [
        ({}, {}, "openvino"),
        ({}, {"device": "cpu"}, "openvino"),
        ({}, {"precision": "fp32"}, "openvino"),
        ({}, {"engine": "keras"}, "keras"),
        ({}, {"precision": "fp16"}, "keras"),
        ({}, {"precision": "bf16"}, "keras"),
        ({"bf16": True}, {"precision": "bf16"}, "openvino"),
        ({"int8": True}, {"precision": "int8"}, "openvino"),
        ({"int8": True, "gpu": True, "onnxruntime": True}, {"precision": "int8"}, "openvino"),
        ({"openvino": False}, {}, "keras"),
        ({"gpu": True}, {}, "auto"),  # Keras has to look for it
        ({"gpu": True}, {"device": "cpu"}, "openvino"),
        ({"gpu": True}, {"device": "0"}, "keras"),
        ({"gpu": True}, {"engine": "openvino"}, "openvino"),
        ({"onnxruntime": True}, {}, "openvino"),
        ({"onnxruntime": True}, {"engine": "onnxruntime"}, "onnxruntime"),
        ({"onnxruntime": True, "openvino": False}, {}, "onnxruntime"),
        ({"onnxruntime": True, "openvino": False}, {"precision": "bf16"}, "keras"),
        ({"onnxruntime": True, "cuda": True, "gpu": True}, {"device": "0"}, "auto"),
    ],
)
def test_choices(
    machine: Callable[..., None], machine_has: dict[str, bool], options: dict[str, Any], engine: str
) -> None:
    machine(**machine_has)
    assert plan_engine(**options).engine == engine


@pytest.mark.parametrize("without_package", ["openvino", "platformdirs", "scipy"])
def test_openvino_needs_other_packages(without_package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_plan, "find_spec", lambda name: None if name == without_package else object())
    assert not engine_plan.openvino_installed()


def test_a_backend_of_keras_in_the_environment_selects_keras(
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


@pytest.mark.parametrize(("missing", "engine"), [("", "onnxruntime"), ("libcudnn.so.9", "openvino")])
def test_onnx_runtime_takes_a_gpu_that_keras_cannot_use(
    machine: Callable[..., None], missing: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpu=True, onnxruntime=True, cuda=True)
    monkeypatch.setattr("vsrcli.inference.keras.list_gpus", list)
    monkeypatch.setattr("vsrcli.inference.onnxruntime_session.check_gpu_provider", lambda: missing)
    plan = plan_engine()
    assert str(plan).startswith("keras on a GPU that it can use, else onnxruntime on it, else openvino")
    assert plan.resolve() == engine


def test_bfloat16_is_never_left_to_onnx_runtime(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpu=True, bf16=True, onnxruntime=True, cuda=True)
    monkeypatch.setattr("vsrcli.inference.keras.list_gpus", list)
    monkeypatch.setattr("vsrcli.inference.onnxruntime_session.check_gpu_provider", lambda: "")
    plan = plan_engine(precision="bf16")
    assert str(plan) == "keras on a GPU that it can use, else openvino; precision bf16"
    assert plan.resolve() == "openvino"


@pytest.mark.parametrize("engine", ["keras", "onnxruntime"])
def test_other_engines_have_no_eight_bits(machine: Callable[..., None], engine: str) -> None:
    machine(int8=True, onnxruntime=True)
    with pytest.raises(EngineError, match=f"--engine {engine} has no --precision int8: use --engine openv"):
        plan_engine(engine, precision="int8")


@pytest.mark.parametrize(
    ("machine_has", "text"),
    [
        ({}, "openvino on CPU, fp32"),
        ({"int8": True}, "openvino on CPU, int8 if it costs no quality, else fp32"),
        ({"int8": True, "bf16": True}, "openvino on CPU, bf16 or int8 if it costs no quality, else fp32"),
    ],
)
def test_the_plan_says_what_auto_may_take(
    machine: Callable[..., None], machine_has: dict[str, bool], text: str
) -> None:
    machine(**machine_has)
    assert str(plan_engine()) == text


@pytest.mark.parametrize(
    ("engine", "device", "cuda", "expected"),
    [
        ("openvino", "auto", True, False),
        ("keras", "cpu", True, False),
        ("keras", "auto", False, True),
        ("auto", "0,1", False, True),
        ("onnxruntime", "auto", False, False),
        ("onnxruntime", "auto", True, True),
        ("onnxruntime", "0", False, True),
    ],
)
def test_networks_that_may_lie_in_a_gpus_memory(
    engine: str, device: str, cuda: bool, expected: bool, machine: Callable[..., None]
) -> None:
    machine(gpu=True, onnxruntime=True, cuda=cuda)
    assert engine_plan.EnginePlan(engine, device, "auto").may_use_gpu == expected


def test_the_plan_says_why_it_is_onnx_runtime(machine: Callable[..., None]) -> None:
    machine(openvino=False, onnxruntime=True)
    assert str(plan_engine()) == "onnxruntime on CPU, fp32 (OpenVINO is not installed)"


def test_onnx_runtime_that_is_not_installed_is_one_clear_error(machine: Callable[..., None]) -> None:
    machine()
    with pytest.raises(EngineError, match=r"pip install 'vsrcli\[onnxruntime\]'.*available: openvino"):
        plan_engine("onnxruntime")


@pytest.mark.parametrize(
    ("machine_has", "options", "message"),
    [
        ({"openvino": False}, {}, r"pip install 'vsrcli\[openvino\]'.*available: keras"),
        ({"gpu": True}, {"device": "0"}, r"--engine keras for --gpu 0"),
        ({}, {"precision": "fp16"}, r"no --precision fp16 on this CPU \(available: fp32\)"),
        ({}, {"precision": "bf16"}, r"no --precision bf16 on this CPU \(available: fp32\)"),
        ({"bf16": True}, {"precision": "fp16"}, r"\(available: fp32 and bf16\)"),
        (
            {"bf16": True},
            {"precision": "int8"},
            r"no --precision int8 on this CPU \(available: fp32 and bf16",
        ),
        ({"openvino": False}, {"precision": "int8"}, r"needs a package.*pip install"),
    ],
)
def test_unavailable_features_of_openvino_are_one_clear_error(
    machine: Callable[..., None], machine_has: dict[str, bool], options: dict[str, Any], message: str
) -> None:
    machine(**machine_has)
    with pytest.raises(EngineError, match=message):
        plan_engine("openvino", **options)


@pytest.mark.parametrize("options", [{"engine": "magic"}, {"precision": "fp8"}])
def test_unknown_values_are_an_error_with_the_known_ones(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"is unknown: choose one of auto, "):
        plan_engine(**options)


def test_the_plan_in_words(machine: Callable[..., None]) -> None:
    machine(bf16=True)
    assert str(plan_engine()) == "openvino on CPU, bf16 if it costs no quality, else fp32"
    assert str(plan_engine("keras")) == "keras on CPU, fp32"
    machine(gpu=True)
    assert str(plan_engine()) == "keras on a GPU that it can use, else openvino; precision auto"
    assert str(plan_engine(device="1")) == "keras on GPU 1, precision auto"


ONNX = ("openvino", "onnxruntime")


@pytest.mark.parametrize(
    ("machine_has", "options", "plan"),
    [
        ({"int8": True}, {}, "openvino on CPU, fp32"),
        ({"openvino": False, "onnxruntime": True}, {}, "onnxruntime on CPU, fp32"),
        ({"onnxruntime": True, "gpu": True}, {}, "openvino on CPU, fp32"),
        ({"onnxruntime": True, "gpu": True}, {"device": "0"}, "onnxruntime on GPU 0, precision auto"),
        ({"onnxruntime": True, "gpu": True, "cuda": True}, {"precision": "fp16"}, "onnxruntime on "),
        ({"bf16": True, "onnxruntime": True}, {"precision": "bf16"}, "openvino on CPU, bf16"),
        (
            {"onnxruntime": True, "gpu": True, "cuda": True},
            {},
            "onnxruntime on a GPU that it can use, else openvino; precision auto",
        ),
    ],
)
def test_engines_of_onnx_files(
    machine: Callable[..., None],
    machine_has: dict[str, bool],
    options: dict[str, Any],
    plan: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(**machine_has)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # does not run them
    assert str(plan_engine(**options, runs_on=ONNX)).startswith(plan)


@pytest.mark.parametrize(
    ("machine_has", "options", "message"),
    [
        ({}, {"device": "0"}, r"^--gpu 0: .*ONNX Runtime.* pip install 'vsrcli\[cuda\]', or use --gpu cpu"),
        ({}, {"precision": "fp16"}, r"^--precision fp16: .* pip install .*, or use --precision fp32"),
        ({}, {"precision": "bf16"}, r"no --precision bf16 on this CPU \(available: fp32\)"),
        ({"int8": True}, {"precision": "int8"}, r"no --precision int8: use fp32"),
        ({"openvino": False, "onnxruntime": True}, {"precision": "bf16"}, r"needs a package.*onnxruntime"),
        ({"onnxruntime": True}, {"engine": "openvino", "device": "0"}, r"--engine onnxruntime for --gpu 0"),
        ({"onnxruntime": True}, {"engine": "onnxruntime", "precision": "bf16"}, r"no --precision bf16: use"),
    ],
)
def test_what_onnx_files_cannot_have_is_one_clear_error_without_keras(
    machine: Callable[..., None], machine_has: dict[str, bool], options: dict[str, Any], message: str
) -> None:
    machine(**machine_has)
    with pytest.raises(EngineError, match=message) as caught:
        plan_engine(**options, runs_on=ONNX)
    assert "keras" not in str(caught.value)


def test_a_gpu_or_precision_that_an_onnx_file_cannot_have_is_an_error(
    machine: Callable[..., None], vsr: Vsr, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a slow run, and with ONNX Runtime no advice to use Keras."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    model, target = upscaler(tmp_path / "x2.onnx"), tmp_path / "out.mkv"
    line = ("upscale", sample(media.cfr), target, "-m", model, "--scale", 2)
    for gpu, runtime in ((True, False), (False, False), (False, True)):
        machine(gpu=gpu, onnxruntime=runtime)
        for option in (("--gpu", 0), ("--precision", "fp16")):
            refused = vsr(*line, *option)
            assert refused.status == 1
            assert "keras" not in refused.err
            assert "ONNX Runtime" in refused.err or "TensorRT" in refused.err
    assert not target.exists()


def test_the_command_line_fails_before_the_first_frame(
    machine: Callable[..., None], vsr: Vsr, sample: Sample, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    machine(openvino=False)
    without_package = vsr("upscale", sample(media.cfr), target, "--engine", "openvino")
    assert without_package.status == 1
    assert without_package.err.count("\n") == 1
    assert "pip install 'vsrcli[openvino]'" in without_package.err
    machine()
    wrong_precision = vsr("upscale", sample(media.cfr), target, "--engine", "openvino", "--precision", "fp16")
    assert wrong_precision.status == 1
    assert "available: fp32" in wrong_precision.err
    assert vsr("upscale", sample(media.cfr), target, "--engine", "magic").status == 2
    dry_run = vsr("upscale", sample(media.cfr), target, "--dry-run")
    assert "  engine: openvino on CPU, fp32\n" in dry_run.err
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_without_ranges_are_one_clear_error(
    machine: Callable[..., None], vsr: Vsr, sample: Sample, tmp_path: Path
) -> None:
    machine(int8=True)
    weights, target = tiny_weights(tmp_path, "fast"), tmp_path / "out.mp4"
    refused = vsr("upscale", sample(media.cfr), target, "-m", weights, "--scale", 2, "--precision", "int8")
    assert refused.status == 1
    expected = "--precision int8: duf-r-xs-x2-video has no file 'duf-r-xs-x2-video.int8.json' beside it"
    assert expected in refused.err.splitlines()[-1]
    assert not target.exists()
