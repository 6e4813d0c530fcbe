"""ONNX Runtime computes what Keras computes, and never a GPU's work on the CPU without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install 'vsrcli[onnxruntime]'")

from random_networks import noise_frames, run_stream

import torch_samples
from tiny_networks import tiny_weights
from vsrcli.errors import EngineError, NonFiniteError, OutOfMemoryError
from vsrcli.inference import onnxruntime as engine_module
from vsrcli.inference import onnxruntime_session as sessions
from vsrcli.inference.imported import ImportedEngine
from vsrcli.inference.keras import KerasEngine
from vsrcli.inference.onnx_manifest import read_manifest
from vsrcli.inference.onnxruntime import OnnxruntimeBackend, OnnxruntimeEngine, read_network
from vsrcli.inference.onnxruntime_session import (
    CPU,
    CUDA,
    TENSORRT,
    Place,
    choose_place,
    choose_precision,
    create_session,
    limit_threads,
)
from vsrcli.inference.selection import find_imported_model
from vsrcli.inference.streams import compile_stream
from vsrcli.models.onnx_files import MANIFEST_KEY
from vsrcli.models.weights import Weights, read_weights

HEIGHT, WIDTH, COUNT = 10, 12, 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return read_weights(tiny_weights(tmp_path_factory.mktemp("recurrent"), "recurrent"))


@pytest.fixture(scope="module")
def engine(weights: Weights) -> OnnxruntimeEngine:
    return OnnxruntimeEngine(weights, device="cpu")


@pytest.fixture
def has_gpu_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package for NVIDIA's GPUs, on a machine without one."""
    monkeypatch.setattr(sessions, "available_providers", lambda: (TENSORRT, CUDA, CPU))
    monkeypatch.setattr(sessions, "_tensorrt_installed", lambda: False)


def test_bands_of_rows_and_the_first_engine_give_the_same_frames(
    weights: Weights, engine: OnnxruntimeEngine
) -> None:
    """Four bands of three rows; the last one begins early."""
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    keras = np.stack(run_stream(KerasEngine(weights, device="cpu").open(HEIGHT, WIDTH), frames))
    whole = np.stack(run_stream(engine.open(HEIGHT, WIDTH), frames))
    backend = OnnxruntimeBackend(read_network(weights), Place((CPU,)))
    backend.band_pixels = 36
    banded = np.stack(run_stream(compile_stream(backend, HEIGHT, WIDTH)(), frames))
    np.testing.assert_allclose(whole, keras, atol=5e-5)
    np.testing.assert_allclose(banded, keras, atol=5e-5)


@pytest.mark.parametrize("first", ["keras", "onnxruntime"])
def test_a_state_is_restored_in_the_other_engine(
    first: str, weights: Weights, engine: OnnxruntimeEngine
) -> None:
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    stream, other = KerasEngine(weights, device="cpu").open(HEIGHT, WIDTH), engine.open(HEIGHT, WIDTH)
    if first == "onnxruntime":
        stream, other = other, stream
    for frame in frames[:4]:
        stream.push(frame)
    other.restore(stream.state())
    rest = run_stream(stream, frames[4:])
    np.testing.assert_allclose(np.stack(run_stream(other, frames[4:])), np.stack(rest), atol=5e-5)


def test_the_description_and_the_cache(
    weights: Weights, engine: OnnxruntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError("the network is built again")

    monkeypatch.setattr(engine_module, "build_onnx", fail)
    again = OnnxruntimeEngine(weights, device="cpu")
    assert again.description == engine.description == f"{weights.name} on CPU, onnxruntime, fp32"
    assert (again.precision, again.on_gpu) == ("fp32", False)


def test_nan_is_an_error_and_not_a_black_frame(engine: OnnxruntimeEngine) -> None:
    frame = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    with pytest.raises(NonFiniteError):
        run_stream(engine.open(HEIGHT, WIDTH), frame[None])


@pytest.mark.parametrize(
    "text",
    [
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
        "Failed to allocate memory for requested buffer of size 4246732800",
        "BFCArena: Available memory of 1024 is smaller than requested bytes of 2048",
        "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_out_of_memory_is_an_error_of_its_own(
    text: str, engine: OnnxruntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream: Any = engine.open(HEIGHT, WIDTH)

    class Session:
        def run(self, *arguments: Any) -> None:
            raise RuntimeError(text)

    monkeypatch.setattr(stream._network.functions["advance"], "_session", Session())
    with pytest.raises(OutOfMemoryError, match="--tile"):
        stream.push(noise_frames(1, HEIGHT, WIDTH)[0])


def test_a_provider_that_fails_is_an_error_and_no_other_one_goes_on(
    engine: OnnxruntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself goes on on the next one, and prints that to stdout."""
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    class Session:
        def run(self, *arguments: Any) -> None:
            raise EPFail("a kernel failed")

    stream: Any = engine.open(HEIGHT, WIDTH)
    function = stream._network.functions["advance"]
    assert not function._session._enable_fallback
    monkeypatch.setattr(function, "_session", Session())
    with pytest.raises(EngineError, match=r"failed on CPU.*\(a kernel failed\).*--engine"):
        stream.push(noise_frames(1, HEIGHT, WIDTH)[0])


def test_out_of_memory_while_a_session_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("Available memory of 1024 is smaller than requested bytes of 2048")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(OutOfMemoryError, match="--tile"):
        create_session(b"", Place((CPU,)))


def test_a_gpu_without_the_package_for_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "available_providers", lambda: (CPU,))
    with pytest.raises(EngineError, match=r"no provider for GPU 0 .*onnxruntime-gpu.*--gpu cpu"):
        choose_place("0")
    assert choose_place("auto") == choose_place("cpu") == Place((CPU,))


@pytest.mark.usefixtures("has_gpu_package")
def test_falling_back_to_the_cpu_is_an_error(weights: Weights) -> None:
    """ONNX Runtime itself goes on on the CPU."""
    place = choose_place("0,1")
    assert place == Place((CUDA, CPU), 0)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(EngineError, match=r"fell back to the CPU.*--gpu cpu"),
    ):
        create_session(read_network(weights).SerializeToString(), place)


def test_the_missing_library_is_named() -> None:
    logged = (
        "[E:onnxruntime] Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: "
        "cannot open shared object file: No such file or directory"
    )
    assert sessions._missing_part([logged]).startswith("libcudnn.so.9 is missing")


@pytest.mark.parametrize("used", [TENSORRT, CUDA])
@pytest.mark.parametrize("device", ["auto", "1"])
def test_tensorrt_is_stated_only_where_it_computes(
    device: str, used: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A TensorRT of another version is installed, and ONNX Runtime goes on on CUDA, without an error."""
    import onnxruntime

    class Session:
        def __init__(self, model: Any, options: Any, providers: list[Any]) -> None:
            if used != TENSORRT:
                print(f"*** EP Error ***\nEP Error no {TENSORRT}\nFalling back to ...")
            self.providers = [each[0] if isinstance(each, tuple) else each for each in providers]

        def get_providers(self) -> list[str]:
            return self.providers[self.providers.index(used) :]

        def disable_fallback(self) -> None:
            pass

    sessions._first_provider.cache_clear()
    sessions._why_cpu.cache_clear()
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(sessions, "available_providers", lambda: (TENSORRT, CUDA, CPU))
    monkeypatch.setattr(sessions, "_tensorrt_installed", lambda: True)
    notices: list[str] = []
    place = choose_place(device, notices.append)
    sessions._first_provider.cache_clear()
    sessions._why_cpu.cache_clear()
    assert capsys.readouterr().out == ""  # which may be a pipe that takes the video
    assert place.number == (1 if device == "1" else 0)
    if used == TENSORRT:
        assert (place.providers, notices) == ((TENSORRT, CUDA, CPU), [])
        return
    assert place.providers == (CUDA, CPU)
    assert choose_precision(place, "auto") == "fp32"
    assert len(notices) == 1
    assert "cannot use the installed TensorRT" in notices[0]
    with pytest.raises(EngineError, match="needs TensorRT"):
        choose_precision(place, "fp16")


def test_half_precision_needs_tensorrt() -> None:
    tensorrt, cpu = Place((TENSORRT, CUDA, CPU)), Place((CPU,))
    assert (choose_precision(tensorrt, "auto"), choose_precision(cpu, "auto")) == ("fp16", "fp32")
    for place, precision in ((cpu, "fp16"), (tensorrt, "bf16")):
        with pytest.raises(EngineError, match="--precision fp32"):
            choose_precision(place, precision)


def test_every_network_and_size_has_engines_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime tells TensorRT's engines apart by names in the graph, which other weights share."""
    import onnxruntime

    used: list[dict[str, str]] = []

    class Session:
        def __init__(self, model: Any, options: Any, providers: list[Any]) -> None:
            used.append(providers[0][1])

        def get_providers(self) -> list[str]:
            return [TENSORRT, CPU]

        def disable_fallback(self) -> None:
            pass

    runtime = SimpleNamespace(**{**vars(onnxruntime), "InferenceSession": Session})
    monkeypatch.setattr(sessions, "_runtime", lambda: runtime)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    place, sides = Place((TENSORRT, CPU)), {"height": 8, "width": 9}
    (tmp_path / "a.onnx").write_bytes(b"a")
    for model in (b"a", str(tmp_path / "a.onnx")):
        create_session(model, place, "fp16", sides)
        create_session(model, place, "fp16", dict(reversed(sides.items())))
    create_session(b"b", place, "fp16", sides)
    create_session(b"a", place, "fp16", {"height": 9, "width": 8})
    create_session(str(tmp_path / "a.onnx"), place, "fp16", sides, "a", "of all files")
    folders = [each["trt_engine_cache_path"] for each in used]
    assert len(set(folders[:4])) == 1
    assert len(set(folders)) == 4
    assert all(Path(each).parent == tmp_path / "tensorrt" and Path(each).is_dir() for each in folders)


def test_threads_are_limited(weights: Weights) -> None:
    limit_threads(1)
    try:
        session = create_session(read_network(weights).SerializeToString(), Place((CPU,)))
        assert session.get_session_options().intra_op_num_threads == 1
    finally:
        limit_threads(0)


def test_a_file_that_is_no_network_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"ONNX Runtime cannot take broken"):
        create_session(str(tmp_path / "broken.onnx"), Place((CPU,)), name="broken")


def test_features_on_a_device(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a GPU's memory, with the CPU's in its place."""
    frames = noise_frames(COUNT, HEIGHT, WIDTH)

    class OnDevice(Place):
        @property
        def is_cuda(self) -> bool:
            return True

    def run(place: Callable[[tuple[str, ...]], Place]) -> np.ndarray:
        backend = OnnxruntimeBackend(read_network(weights), place((CPU,)))
        stream = compile_stream(backend, HEIGHT, WIDTH)()
        results = [stream.push(frame) for frame in frames[:4]]
        other = compile_stream(backend, HEIGHT, WIDTH)()
        other.restore(stream.state())
        return np.stack([each for each in results if each is not None] + run_stream(other, frames[4:]))

    expected = run(Place)
    monkeypatch.setattr(engine_module, "_DEVICE", "cpu")
    np.testing.assert_array_equal(run(OnDevice), expected)


def test_the_doctor_names_version_and_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    from vsrcli import doctor
    from vsrcli.inference import engine_plan

    monkeypatch.setattr(engine_plan, "may_have_gpu", lambda: False)
    (finding,) = doctor.check_onnxruntime()
    assert finding.state == doctor.OK
    assert onnxruntime.__version__ in finding.text
    assert "CPU" in finding.text
    monkeypatch.setattr(engine_plan, "may_have_gpu", lambda: True)
    monkeypatch.setattr(engine_plan, "onnxruntime_gpu_installed", lambda: False)
    (finding,) = doctor.check_onnxruntime()
    assert (finding.state, finding.remedy) == (doctor.NOTE, "pip install 'vsrcli[cuda]'")
    monkeypatch.setattr(engine_plan, "onnxruntime_installed", lambda: False)
    (finding,) = doctor.check_onnxruntime()
    assert "not installed" in finding.text


@pytest.mark.parametrize(
    ("kind", "expected"), [("imported", {"fp16"}), ("fsrcnn", {"fp16"}), ("recurrent", {"fp16", "fp32"})]
)
def test_networks_compute_in_the_precision_that_they_state(
    kind: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an output stage stays in fp32."""
    tensorrt, used = Place((TENSORRT, CUDA, CPU)), []

    def create_on_cpu(model: Any, place: Place, precision: str, *others: Any, **options: Any) -> Any:
        assert place == tensorrt
        used.append(precision)
        return create_session(model, Place((CPU,)), "fp32", *others, **options)

    monkeypatch.setattr(engine_module, "choose_place", lambda *_: tensorrt)
    monkeypatch.setattr(engine_module, "create_session", create_on_cpu)
    if kind == "imported":
        path = torch_samples.write_pth(tmp_path / "c.pth", torch_samples.natural(torch_samples.compact(2)))
        model = find_imported_model(str(path))
        assert model is not None
        opened: Any = ImportedEngine(model, "onnxruntime")
    else:
        opened = OnnxruntimeEngine(read_weights(tiny_weights(tmp_path, kind)))
    opened.open(8, 8)
    assert set(used) == expected
    assert opened.precision == "fp16"
    assert opened.description.endswith("onnxruntime with TensorRT, fp16")


def test_duf_on_full_windows_states_fp32(tmp_path: Path) -> None:
    import onnx

    network = read_network(read_weights(tiny_weights(tmp_path, "fsrcnn")))
    assert OnnxruntimeBackend(network, Place((TENSORRT, CUDA, CPU)), "fp16").precision == "fp16"
    manifest = json.loads(read_manifest(network)) | {"architecture": "duf-16l", "options": {}}
    onnx.helper.set_model_props(network, {MANIFEST_KEY: json.dumps(manifest)})
    assert OnnxruntimeBackend(network, Place((TENSORRT, CUDA, CPU)), "fp16").precision == "fp32"
