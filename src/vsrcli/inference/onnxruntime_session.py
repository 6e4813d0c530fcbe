"""Sessions of ONNX Runtime: on NVIDIA GPUs by TensorRT or CUDA, on Macs by CoreML, and on CPUs.

ONNX Runtime goes on on the CPU without a word where a GPU's library is missing. So what a session computes on
is compared with what was asked for.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vsrcli.errors import EngineError, OutOfMemoryError
from vsrcli.inference.functions import memory_errors
from vsrcli.inference.tensorrt_cache import cache_notice, cache_options, engine_folder, remove_damaged
from vsrcli.system.native_stderr import captured_stderr

ONNXRUNTIME_HINT = "pip install 'vsrcli[onnxruntime]'"
GPU_INSTALL_HINT = "pip install 'vsrcli[cuda]'"
TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
COREML, CPU = "CoreMLExecutionProvider", "CPUExecutionProvider"
_NAMES = {TENSORRT: "TensorRT", CUDA: "CUDA", COREML: "CoreML", CPU: "CPU"}
_MISSING_LIBRARY = re.compile(
    r"(lib[\w+-]+\.(?:so|dylib)[\w.]*): cannot open|([\w-]+\.dll)[^\n]{,20}(?:missing|not found)"
)
_SOURCE_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Status Message: /\S+:\d+ .* was false\. ")
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)  # TensorRT writes it to stderr only
_thread_limit = 0  # of the process; 0: all cores
_compiling: ContextVar[Callable[[], contextlib.AbstractContextManager[None]]] = ContextVar(
    "compiling", default=contextlib.nullcontext
)


class _OtherProviderError(Exception):
    """A session computes on another provider than the preferred one."""


@dataclass(frozen=True)
class Place:
    """Where sessions compute.

    Attributes:
        providers: ONNX Runtime's names, the preferred one first.
        number: of the GPU.
    """

    providers: tuple[str, ...]
    number: int = 0

    @property
    def on_gpu(self) -> bool:
        return self.providers[0] != CPU

    @property
    def is_cuda(self) -> bool:
        """Whether arrays may stay in a GPU's own memory."""
        return self.providers[0] in (TENSORRT, CUDA)

    def __str__(self) -> str:
        if not self.on_gpu:
            return "CPU, onnxruntime"
        return f"GPU {self.number}, onnxruntime with {_NAMES[self.providers[0]]}"


def choose_place(device: str, on_notice: Callable[[str], None] = lambda text: None) -> Place:
    """Return where to compute for a device option; import ONNX Runtime.

    Args:
        device: ``auto``, ``cpu`` or GPU numbers; the first one computes.
        on_notice: called if the GPU, or TensorRT on it, cannot be used.

    Raises:
        EngineError: ONNX Runtime does not start, or has no provider for a GPU that was asked for.
    """
    available = available_providers()
    gpus = tuple(name for name in (TENSORRT, CUDA, COREML) if name in available)
    if device == "cpu":
        return Place((CPU,))
    number = 0 if device == "auto" else int(device.split(",")[0])
    if TENSORRT in gpus:
        place = Place((*gpus, CPU), number)
        if not (_tensorrt_installed() and _uses_tensorrt(place, on_notice)):
            gpus = tuple(name for name in gpus if name != TENSORRT)
    if device == "auto":
        if not gpus:
            return Place((CPU,))
        place = Place((*gpus, CPU))
        if reason := _why_cpu(place):
            on_notice(f"ONNX Runtime cannot use the GPU: {reason}; it computes on the CPU")
            return Place((CPU,))
        return place
    if not gpus:
        names = ", ".join(_NAMES.get(each, each) for each in available)
        raise EngineError(
            f"ONNX Runtime has no provider for GPU {number} (it has {names}): {GPU_INSTALL_HINT}, which "
            "brings onnxruntime-gpu, or use --gpu cpu"
        )
    return Place((*gpus, CPU), number)


def choose_precision(place: Place, precision: str, *, is_onnx: bool = False) -> str:
    """Return the precision to compute in.

    Args:
        place: where to compute.
        precision: as requested.
        is_onnx: the network is an ONNX file, for the message of an error.

    Raises:
        EngineError: ONNX Runtime has it not, there.
    """
    half = place.providers[0] == TENSORRT
    if precision == "auto":
        return "fp16" if half else "fp32"
    if precision == "fp32" or (precision == "fp16" and half):
        return precision
    needs = "needs TensorRT for --precision fp16" if precision == "fp16" else "has no --precision bf16"
    remedy = "" if is_onnx else ", or --engine keras"
    raise EngineError(f"--engine onnxruntime {needs}: use --precision fp32{remedy}")


def create_session(
    model: bytes | str,
    place: Place,
    precision: str = "fp32",
    sides: Mapping[str, int] | None = None,
    name: str = "the network",
    sha256: str = "",
    on_notice: Callable[[str], None] = lambda text: None,
) -> Any:
    """Return an ``onnxruntime.InferenceSession``.

    Args:
        model: content or path of an ONNX file.
        place: where to compute.
        precision: ``fp16`` lets TensorRT compute in half precision.
        sides: lengths of sides that the file names.
        name: of the network, for the message of an error.
        sha256: of all files of the network, if it is known.
        on_notice: called if TensorRT's engines cannot be kept.

    Raises:
        EngineError: ONNX Runtime cannot take it, or went on on the CPU although a GPU was asked for.
        OutOfMemoryError: not enough memory.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if _thread_limit:
        options.intra_op_num_threads = _thread_limit
    for side, length in (sides or {}).items():
        options.add_free_dimension_override_by_name(side, length)
    engines = engine_folder(model, sides or {}, sha256) if TENSORRT in place.providers else Path()
    if TENSORRT in place.providers and (notice := cache_notice(engines)):
        on_notice(notice)

    def open_session() -> Any:
        providers = [_with_settings(provider, place, precision, engines) for provider in place.providers]
        with _compiling.get()():
            return runtime.InferenceSession(model, options, providers=providers)

    session, failure, text = _open_quietly(open_session, place)
    if failure and TENSORRT in place.providers and remove_damaged(engines, text):
        session, failure, text = _open_quietly(open_session, place)
    try:
        with memory_errors():
            if failure and _OUT_OF_MEMORY.search(text):
                raise MemoryError(text)
            if failure and not isinstance(failure, _OtherProviderError):
                raise failure
    except OutOfMemoryError:
        raise
    except Exception as error:  # its own classes, which share no base
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(f"ONNX Runtime cannot take {name} ({reason}): use another --engine") from error
    used = session.get_providers()
    if place.on_gpu and used[0] not in place.providers[:-1]:
        raise EngineError(
            f"ONNX Runtime fell back to the CPU, and GPU {place.number} was asked for: "
            f"{_missing_part([text])}; or use --gpu cpu"
        )
    session.disable_fallback()  # to another provider while it runs, without an error
    return session


def _open_quietly(open_session: Callable[[], Any], place: Place) -> tuple[Any, Exception | None, str]:
    """Open a session, without a word on stderr, nor on stdout, which may be a pipe that takes the video.

    Returns:
        The session or None; why it does not compute on the preferred provider; and what was written, the
        reason included.
    """
    session: Any = None
    failure: Exception | None = None
    printed = io.StringIO()
    with captured_stderr() as read_captured, contextlib.redirect_stdout(printed):
        try:
            session = open_session()
        except Exception as error:
            failure = error
    if session is not None and session.get_providers()[0] != place.providers[0]:
        failure = _OtherProviderError()
    captured = read_captured().decode(errors="replace")
    return session, failure, "\n".join([str(failure or ""), printed.getvalue(), captured])


@contextlib.contextmanager
def run_errors(place: Place, network: str = "") -> Iterator[None]:
    """Turn errors of a session that runs in the block into this program's.

    Args:
        place: where it computes.
        network: name and size of frames, of a network that may not take frames of every size.

    Raises:
        EngineError: the provider failed, or the network does not run on frames of this size.
        OutOfMemoryError: not enough memory.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        with memory_errors():
            yield
    except (RuntimeError, *_error_classes()) as error:
        reason = _SOURCE_PLACE.sub("", (str(error).splitlines() or ["no reason given"])[0]).strip()
        if network and not isinstance(error, state.EPFail):
            raise EngineError(
                f"ONNX Runtime does not run {network} on {place} ({reason}): give a smaller --tile, or "
                "another --engine"
            ) from error
        raise EngineError(
            f"ONNX Runtime failed on {place} ({reason}): use another --engine, or --gpu cpu"
        ) from error


@cache
def _error_classes() -> tuple[type[Exception], ...]:
    """Return ONNX Runtime's own exceptions, which share no base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(
        each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)
    )


@cache
def run_options() -> Any:
    """Return the options for runs: what fails is raised, and not written to stderr as well."""
    options = _runtime().RunOptions()
    options.log_severity_level = 4
    return options


def limit_threads(count: int) -> None:
    """Limit the threads of sessions that this process opens from now on; 0: all cores."""
    global _thread_limit
    _thread_limit = count


@contextlib.contextmanager
def announced_compiling(compiling: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
    """Let this thread enter a context of its own whenever it opens a session in the block: TensorRT compiles
    for minutes then, in which ONNX Runtime lets no other thread of the process run."""
    token = _compiling.set(compiling)
    try:
        yield
    finally:
        _compiling.reset(token)


def available_providers() -> tuple[str, ...]:
    """Return the providers of the installed ONNX Runtime, by its names.

    Raises:
        EngineError: it does not start.
    """
    return tuple(_runtime().get_available_providers())


def check_gpu_provider(number: int = 0) -> str:
    """Return why ONNX Runtime cannot compute on a GPU; an empty string if it can."""
    gpus = tuple(name for name in (CUDA, COREML) if name in available_providers())
    return _why_cpu(Place((*gpus, CPU), number)) if gpus else "it is the package for CPUs"


@cache
def _why_cpu(place: Place) -> str:
    """Return why sessions would compute on the CPU, by opening a tiny one."""
    try:
        _open_tiny_session(place)
    except EngineError as error:
        return str(error)
    return ""


def _uses_tensorrt(place: Place, on_notice: Callable[[str], None]) -> bool:
    """Return whether sessions compute on TensorRT, by opening a tiny one: ONNX Runtime goes on on CUDA where
    its own TensorRT is of another version than the installed one."""
    first = _first_provider(place)
    if first == CUDA:
        on_notice("ONNX Runtime cannot use the installed TensorRT: it computes with CUDA, in fp32")
    return first == TENSORRT


@cache
def _first_provider(place: Place) -> str:
    """Return what sessions compute on first."""
    try:
        return str(_open_tiny_session(place).get_providers()[0])
    except EngineError:
        return CPU


def _open_tiny_session(place: Place) -> Any:
    """Open a session of one operator.

    Raises:
        EngineError: see :func:`create_session`.
    """
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "check", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return create_session(model.SerializeToString(), place)


@cache
def _runtime() -> Any:
    """Return the package ``onnxruntime``, its GPU libraries loaded.

    Raises:
        EngineError: it is not installed or does not start.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime does not start ({error}): {ONNXRUNTIME_HINT}") from error
    if CUDA in onnxruntime.get_available_providers() and hasattr(onnxruntime, "preload_dlls"):
        with captured_stderr(), contextlib.redirect_stdout(sys.stderr), contextlib.suppress(Exception):
            onnxruntime.preload_dlls()  # those of NVIDIA's packages, where they are installed
    return onnxruntime


def _tensorrt_installed() -> bool:
    """Return whether TensorRT's library can be loaded; ONNX Runtime lists it without."""
    import ctypes
    from ctypes.util import find_library
    from importlib.util import find_spec

    if find_library("nvinfer"):
        return True
    if find_spec("tensorrt_libs") is None:
        return False
    import tensorrt_libs  # pyright: ignore[reportMissingImports]

    files = sorted(Path(str(tensorrt_libs.__file__)).parent.glob("*nvinfer.so*"))
    with contextlib.suppress(OSError):
        for file in files:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        return bool(files)
    return False


def _with_settings(provider: str, place: Place, precision: str, engines: Path) -> Any:
    if provider == COREML:
        return provider, {"ModelFormat": "MLProgram"}  # the other format computes in half precision
    if provider == CUDA:
        return provider, {"device_id": str(place.number)}
    if provider != TENSORRT:
        return provider
    return provider, {
        "device_id": str(place.number),
        **cache_options(engines),
        "trt_fp16_enable": str(precision == "fp16"),
    }


def _missing_part(errors: Sequence[str]) -> str:
    """Return what ONNX Runtime wrote that it lacks, and the remedy."""
    text = "\n".join(errors)
    if library := _MISSING_LIBRARY.search(text):
        return f"{library.group(1) or library.group(2)} is missing ({GPU_INSTALL_HINT} brings the libraries)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("***", "Falling back to"))]
    reason = f"{lines[-1][-200:]}; " if lines else ""
    return f"{reason}a driver or library is missing ({GPU_INSTALL_HINT}, and see `vsr doctor`)"
