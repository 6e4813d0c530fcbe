"""TensorRT on ONNX Runtime: its cache, its lack of memory and its failures; with a session in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install 'vsrcli[onnxruntime]'")

from vsrcli.errors import EngineError, OutOfMemoryError
from vsrcli.inference import graph_cache, tensorrt_cache
from vsrcli.inference import onnxruntime_session as sessions
from vsrcli.inference.onnxruntime_session import (
    COREML,
    CPU,
    CUDA,
    TENSORRT,
    Place,
    choose_place,
    create_session,
    run_errors,
)
from vsrcli.inference.tensorrt_cache import engine_folder

PLACE, MODEL, ENGINE = Place((TENSORRT, CUDA, CPU)), b"a network", b"all of an engine"
TIMING = "TensorrtExecutionProvider_cache_sm90.timing"

Open = Callable[[dict[str, str]], str]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all engines, which does not exist yet."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tensorrt"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Open], list[Any]]:
    """Open sessions by a function from TensorRT's options to the provider that computes."""
    import onnxruntime

    def install(open_session: Open) -> list[Any]:
        class Session:
            def __init__(self, model: Any, options: Any, providers: list[Any]) -> None:
                created.append(self)
                self.requested, self.may_fall_back = providers, True
                self.used = open_session(dict(providers[0][1]))

            def get_providers(self) -> list[str]:
                names = [each[0] if isinstance(each, tuple) else each for each in self.requested]
                return names[names.index(self.used) :]

            def disable_fallback(self) -> None:
                self.may_fall_back = False

        created: list[Any] = []
        runtime = SimpleNamespace(**{**vars(onnxruntime), "InferenceSession": Session})
        monkeypatch.setattr(sessions, "_runtime", lambda: runtime)
        return created

    return install


@pytest.mark.parametrize("damaged", ["engine", "timing"])
@pytest.mark.parametrize("raises", [True, False])
def test_a_part_of_an_engine_is_built_anew(
    damaged: str, raises: bool, cache: Path, opened: Callable[[Open], list[Any]]
) -> None:
    """As a full disk leaves it; ONNX Runtime raises an error, or goes on on CUDA."""
    engines = engine_folder(MODEL, {})
    files = {"engine": engines / "graph.engine", "timing": cache / TIMING}

    def open_session(options: dict[str, str]) -> str:
        assert options["trt_engine_cache_path"] == str(engines)
        assert options["trt_timing_cache_path"] == str(cache)
        assert engines.is_dir()
        if not any(file.exists() and file.read_bytes() != ENGINE for file in files.values()):
            for file in files.values():
                file.write_bytes(ENGINE)
            return TENSORRT
        message = f"EP Error could not deserialize engine from cache: {files['engine']}"
        if damaged == "timing":
            message = "EP Error could not read the timing cache"
        if raises:
            raise RuntimeError(message)
        print(message)
        return CUDA

    created = opened(open_session)
    engines.mkdir(parents=True)
    for file in files.values():
        file.write_bytes(ENGINE)
    files[damaged].write_bytes(ENGINE[:4])
    for count in (2, 3):  # only the first one tries again
        assert create_session(MODEL, PLACE).get_providers()[0] == TENSORRT
        assert len(created) == count
    assert all(file.read_bytes() == ENGINE for file in files.values())


def test_engines_stay_where_another_part_fails(cache: Path, opened: Callable[[Open], list[Any]]) -> None:
    def open_session(options: dict[str, str]) -> str:
        raise RuntimeError(f"node Conv is not supported, when using {[(TENSORRT, options)]}")

    created = opened(open_session)
    engine = engine_folder(MODEL, {}) / "graph.engine"
    engine.parent.mkdir(parents=True)
    engine.write_bytes(ENGINE)
    with pytest.raises(EngineError, match=r"cannot take the network \(node Conv is not supported"):
        create_session(MODEL, PLACE)
    assert engine.read_bytes() == ENGINE
    assert len(created) == 1


@pytest.mark.parametrize("raises", [True, False])
def test_out_of_memory_that_is_written_to_stderr_only(
    raises: bool, cache: Path, opened: Callable[[Open], list[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    def open_session(options: dict[str, str]) -> str:
        os.write(2, b"[E:onnxruntime] Error Code 2: OutOfMemory (Requested size was 4246732800 bytes.)\n")
        if raises:
            raise RuntimeError("TensorRT EP failed to create engine from network")
        return CUDA

    opened(open_session)
    with pytest.raises(OutOfMemoryError, match="--tile"):
        create_session(MODEL, PLACE)
    assert capfd.readouterr().err == ""


def test_without_a_cache_folder_tensorrt_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[[Open], list[Any]]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(sessions, "available_providers", lambda: (TENSORRT, CUDA, CPU))
    monkeypatch.setattr(sessions, "_tensorrt_installed", lambda: True)
    used: list[dict[str, str]] = []

    def open_session(options: dict[str, str]) -> str:
        used.append(options)
        return TENSORRT if "trt_engine_cache_path" not in options else CUDA  # which cannot be written

    opened(open_session)
    notices: list[str] = []
    for cached in (sessions._first_provider, sessions._why_cpu):
        cached.cache_clear()
    place = choose_place("0", notices.append)
    for cached in (sessions._first_provider, sessions._why_cpu):
        cached.cache_clear()
    assert place == PLACE
    assert notices == []
    create_session(MODEL, place, "fp16", on_notice=notices.append)
    assert used[-1] == {"device_id": "0", "trt_fp16_enable": "True"}
    assert len(notices) == 1
    assert "cannot be written" in notices[0]
    assert "VSR_CACHE" in notices[0]


@pytest.mark.parametrize("built", [True, False])
def test_engines_of_another_user_are_read_where_they_cannot_be_written(
    built: bool, cache: Path, opened: Callable[[Open], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a shared cache: the other one's folders can be read only."""
    used: list[dict[str, str]] = []

    def open_session(options: dict[str, str]) -> str:
        used.append(options)
        return TENSORRT

    opened(open_session)
    engines, notices = engine_folder(MODEL, {}), list[str]()
    engines.mkdir(parents=True)
    if built:
        (engines / "graph.engine").write_bytes(ENGINE)
    access = os.access
    read_only = SimpleNamespace(**vars(os))
    read_only.access = lambda path, mode: (path != engines or not mode & os.W_OK) and access(path, mode)
    monkeypatch.setattr(tensorrt_cache, "os", read_only)
    create_session(MODEL, PLACE, on_notice=notices.append)
    reading = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(engines)}
    kept = {key: value for key, value in used[0].items() if "cache" in key}
    assert kept == (reading if built else {})
    assert len(notices) == (not built)
    assert built or f"{cache} cannot be written (Permission denied)" in notices[0]
    create_session(b"another network", PLACE, on_notice=notices.append)
    assert "trt_timing_cache_path" in used[1]


def test_the_oldest_engines_are_removed(
    cache: Path, opened: Callable[[Open], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_cache, "_MAX_ENTRIES", 2)
    opened(lambda options: TENSORRT)
    folders = [engine_folder(model, {}) for model in (b"a", b"b", b"c")]
    for age, (model, folder) in enumerate(zip((b"a", b"b"), folders[:2], strict=True)):
        create_session(model, PLACE)
        os.utime(folder, (1000 + age, 1000 + age))
    (cache / TIMING).write_bytes(b"timings")
    create_session(b"a", PLACE)  # the older one is used
    create_session(b"c", PLACE)
    assert [folder.is_dir() for folder in folders] == [True, False, True]
    assert (cache / TIMING).exists()


def test_a_provider_that_fails_is_an_error_and_no_other_one_goes_on(
    cache: Path, opened: Callable[[Open], list[Any]]
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    opened(lambda options: TENSORRT)
    assert not create_session(MODEL, PLACE).may_fall_back
    message = r"failed on GPU 0.*TensorRT \(enqueueV3 failed\).*--engine"
    with pytest.raises(EngineError, match=message), run_errors(PLACE):
        raise EPFail("enqueueV3 failed")
    with pytest.raises(OutOfMemoryError), run_errors(PLACE):
        raise EPFail("CUDA failure 2: out of memory")


def test_fp32_on_macs_is_single_precision(opened: Callable[[Open], list[Any]]) -> None:
    created = opened(lambda options: COREML)
    create_session(MODEL, Place((COREML, CPU)))
    assert created[0].requested == [(COREML, {"ModelFormat": "MLProgram"}), CPU]
