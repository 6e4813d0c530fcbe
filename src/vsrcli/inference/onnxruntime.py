"""Networks on ONNX Runtime: on NVIDIA GPUs by TensorRT or CUDA, on Macs by CoreML, and on CPUs.

The contract is in :mod:`vsrcli.inference.functions`; the graphs come from
:mod:`vsrcli.inference.onnx_export`, once for each network, or from files of others.

ONNX Runtime goes on on the CPU without a word where a GPU's library is missing. So what a session computes on
is compared with what was asked for.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.errors import EngineError
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import BORDER, FLOAT32, RowBands, memory_errors, require_finite
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.onnx_export import (
    Manifest,
    build_onnx,
    extract_function,
    parse_manifest,
    read_manifest,
    require_onnx,
)
from vsrcli.inference.onnx_graph import FIRST
from vsrcli.models.imported import ImportedModel
from vsrcli.models.weights import Weights, file_sha256
from vsrcli.system.resources import configure_malloc

BAND_PIXELS, GPU_BAND_PIXELS = 4096, 2**18
INSTALL_HINT = "pip install 'vsrcli[onnxruntime]'"
GPU_INSTALL_HINT = "pip install 'vsrcli[cuda]'"
TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
COREML, CPU = "CoreMLExecutionProvider", "CPUExecutionProvider"
_NAMES = {TENSORRT: "TensorRT", CUDA: "CUDA", COREML: "CoreML", CPU: "CPU"}
_MISSING_LIBRARY = re.compile(
    r"(lib[\w+-]+\.(?:so|dylib)[\w.]*): cannot open|([\w-]+\.dll)[^\n]{,20}(?:missing|not found)"
)
_FULL_PRECISION = ("reconstruct", "upscale")  # exponentials, and sums of frames: half precision overflows
_DEVICE = "cuda"  # whose memory features stay in
_thread_limit = 0  # of the process; 0: all cores


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


class OnnxruntimeEngine(StreamingEngine):
    """A trained network, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        weights: of the network, or an export of this program.
        device: ``auto``, ``cpu`` or GPU numbers; the first one computes.
        precision: ``auto``, ``fp32``, or ``fp16`` with TensorRT.
        on_notice: receives the cache's notices.

    Raises:
        EngineError: ONNX Runtime or a library of the GPU is missing, or has not this precision.
        ModelError: the file is damaged.
    """

    def __init__(
        self,
        weights: Weights | ImportedModel,
        *,
        device: str = "auto",
        precision: str = "auto",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        weights.verify()
        place = choose_place(device, on_notice)
        precision = choose_precision(place, precision)
        super().__init__(OnnxruntimeBackend(read_network(weights, on_notice), place, precision), weights)
        self.precision, self.on_gpu = precision, place.on_gpu
        missing = " (no GPU found)" if device == "auto" and not place.on_gpu else ""
        self.description = f"{weights.name} on {place}{missing}, {precision}"


class OnnxruntimeBackend:
    """ONNX Runtime, see :class:`~vsrcli.inference.functions.Backend`.

    Features have channels second in memory, and their shapes have them last: arrays are transposed views. On
    CUDA they stay on the GPU, as :class:`DeviceArray`.

    Args:
        network: ``onnx.ModelProto`` with a manifest.
        place: where to compute.
        precision: ``fp32`` or ``fp16``, of everything but the output stage.
    """

    def __init__(self, network: Any, place: Place, precision: str = "fp32") -> None:
        configure_malloc()
        self._manifest = parse_manifest(read_manifest(network))
        self.shapes, self.dtype = self._manifest.shapes, FLOAT32
        self.band_pixels = GPU_BAND_PIXELS if place.on_gpu else BAND_PIXELS
        self._network, self._place, self._precision = network, place, precision

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        names = [name for name in self._manifest.functions if name != "pad"]
        rows = {name: bands.rows if name == "reconstruct" else height for name in names}
        return {name: self._compile(name, rows[name], width) for name in names}

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros((shape[0], shape[3], *shape[1:3]), dtype).transpose(0, 2, 3, 1)

    def to_device(self, array: np.ndarray, dtype: str) -> np.ndarray:
        return array.astype(dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(array[:], order="C")

    def read_result(self, result: np.ndarray) -> np.ndarray:
        return require_finite(result)

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        if len(bands) == 1:
            outputs = function(x, padded)
            frame, *feedback = outputs if isinstance(outputs, tuple) else (outputs,)
            return require_finite(frame)[0], feedback[0] if feedback else None
        x = x[:]
        frames, feedbacks = [], []
        for rows in bands:
            outputs = function(*bands.slice(x, padded, rows))
            result, *feedback = outputs if isinstance(outputs, tuple) else (outputs,)
            frames.append(require_finite(result)[0])
            feedbacks += [each[:] for each in feedback]
        frame = bands.assemble(iter(frames))
        if not feedbacks:
            return frame, None
        whole = self.zeros((1, bands.height, *feedbacks[0].shape[2:]), FLOAT32)
        for rows, part in zip(bands, feedbacks, strict=True):
            whole[:, rows] = part
        return frame, whole

    def _compile(self, name: str, height: int, width: int) -> Callable[..., Any]:
        precision = "fp32" if name in _FULL_PRECISION else self._precision
        sides = {
            "height": height,
            "width": width,
            "height_padded": height + 2 * BORDER,
            "width_padded": width + 2 * BORDER,
        }
        content = extract_function(self._network, self._manifest, name)
        session = create_session(content, self._place, precision, sides)
        return SessionFunction(session, self._place, self._manifest, name)


class SessionFunction:
    """A function of a network: from arrays to arrays, see :class:`OnnxruntimeBackend`.

    Args:
        session: ``onnxruntime.InferenceSession`` of the function.
        place: where it computes.
        manifest: of the network.
        name: of the function.
    """

    def __init__(self, session: Any, place: Place, manifest: Manifest, name: str) -> None:
        self._session, self._place = session, place
        self._arguments, self._results = manifest.functions[name]
        self._orders = manifest.orders

    def __call__(self, *arguments: Any) -> Any:
        """Compute the results.

        Raises:
            NonFiniteError: the first argument or result holds NaN or infinity, as far as it lies in the
                host's memory.
            OutOfMemoryError: not enough memory.
        """
        with memory_errors():
            outputs = self._run_on_device(arguments) if self._place.is_cuda else self._run(arguments)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run(self, arguments: Sequence[Any]) -> list[Any]:
        inputs = {
            name: self._stored(name, argument)
            for name, argument in zip(self._arguments, arguments, strict=True)
        }
        require_finite(inputs[self._arguments[0]])  # ReLU would turn NaN into zero
        outputs = self._session.run(self._results, inputs)
        require_finite(outputs[0])
        return [self._viewed(name, output) for name, output in zip(self._results, outputs, strict=True)]

    def _run_on_device(self, arguments: Sequence[Any]) -> list[Any]:
        import onnxruntime

        binding, device = self._session.io_binding(), (_DEVICE, self._place.number)
        kept = []
        for name, argument in zip(self._arguments, arguments, strict=True):
            if isinstance(argument, DeviceArray):
                value = argument.value
            else:
                array = self._stored(name, argument)
                value = onnxruntime.OrtValue.ortvalue_from_numpy(array, *device)
            kept.append(value)
            binding.bind_ortvalue_input(name, value)
        for name in self._results:
            binding.bind_output(name, *(("cpu", 0) if name == "result" else device))
        self._session.run_with_iobinding(binding)
        outputs = zip(self._results, binding.get_outputs(), strict=True)
        return [value.numpy() if name == "result" else DeviceArray(value) for name, value in outputs]

    def _stored(self, name: str, array: Any) -> np.ndarray:
        """Return an array as the graph takes it."""
        array = array[:]
        if self._orders[name] == FIRST:
            array = array.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array, np.float32)

    def _viewed(self, name: str, array: np.ndarray) -> np.ndarray:
        return array.transpose(0, 2, 3, 1) if self._orders[name] == FIRST else array


class DeviceArray:
    """Features in a GPU's memory, with channels second; their shape and slices have them last.

    Args:
        value: ``onnxruntime.OrtValue``.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        batch, channels, height, width = value.shape()
        self.shape = (batch, height, width, channels)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a part in the host's memory."""
        return self.value.numpy().transpose(0, 2, 3, 1)[key]


def load_imported(
    model: ImportedModel, device: str, precision: str, on_notice: Callable[[str], None]
) -> tuple[Callable[[int, int], Callable[[np.ndarray], np.ndarray]], str, str, bool]:
    """Load a network that others have trained, see :mod:`vsrcli.inference.imported`.

    Returns:
        The values of a :class:`~vsrcli.inference.imported.Compiler`.

    Raises:
        EngineError: see :class:`OnnxruntimeEngine`; or ONNX Runtime cannot take the file.
    """
    place = choose_place(device, on_notice)
    precision = choose_precision(place, precision)
    found = model.description
    if found.format != "onnx":
        backend = OnnxruntimeBackend(read_network(model, on_notice), place, precision)

        def compile_own(height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
            function = backend._compile("upscale", height, width)
            return lambda array: function(array[:, None])

        return compile_own, str(place), precision, place.on_gpu
    session = create_session(str(model.path), place, precision, {}, model.name)
    names = [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]
    source = found.input_name if found.input_name in names[0] else names[0][0]
    result = found.output_name if found.output_name in names[1] else names[1][0]

    def run(array: np.ndarray) -> np.ndarray:
        with memory_errors():
            output = session.run([result], {source: np.ascontiguousarray(array, found.dtype)})[0]
        return output.astype(np.float32, copy=False)

    return lambda height, width: run, str(place), precision, place.on_gpu


def read_network(
    weights: Weights | ImportedModel, on_notice: Callable[[str], None] = lambda text: None
) -> Any:
    """Return a network as an ``onnx.ModelProto`` with a manifest: read, from the cache, or built.

    Raises:
        EngineError: a package is missing, or the network cannot become ONNX.
        ModelError: the file is damaged.
    """
    require_onnx()
    import onnx

    if isinstance(weights, ImportedModel) and weights.description.kind == "functions":
        return onnx.load(str(weights.path))

    def build(folder: Path) -> None:
        build_onnx(weights.path, weights.name, folder / "network.onnx")

    card = weights.card
    key = {
        "weights": card["sha256"],
        "options": dict(weights.architecture.options),
        "scale": weights.scale,
        **_build_inputs(),
    }
    files = GraphCache(cache_folder() / "onnx", on_notice).get(key, build)
    return onnx.load_from_string(files["network.onnx"])


def choose_place(device: str, on_notice: Callable[[str], None] = lambda text: None) -> Place:
    """Return where to compute for a device option; import ONNX Runtime.

    Raises:
        EngineError: ONNX Runtime does not start, or has no provider for a GPU that was asked for.
    """
    available = available_providers()
    gpus = tuple(name for name in (TENSORRT, CUDA, COREML) if name in available)
    if TENSORRT in gpus and not _tensorrt_installed():
        gpus = tuple(name for name in gpus if name != TENSORRT)
    if device == "cpu":
        return Place((CPU,))
    if device == "auto":
        if not gpus:
            return Place((CPU,))
        place = Place((*gpus, CPU))
        if reason := _why_cpu(place):
            on_notice(f"ONNX Runtime cannot use the GPU: {reason}; it computes on the CPU")
            return Place((CPU,))
        return place
    number = int(device.split(",")[0])
    if not gpus:
        names = ", ".join(_NAMES.get(each, each) for each in available)
        raise EngineError(
            f"ONNX Runtime has no provider for GPU {number} (it has {names}): {GPU_INSTALL_HINT}, which "
            "brings onnxruntime-gpu, or use --gpu cpu"
        )
    return Place((*gpus, CPU), number)


def choose_precision(place: Place, precision: str) -> str:
    """Return the precision to compute in.

    Raises:
        EngineError: ONNX Runtime has it not, there.
    """
    half = place.providers[0] == TENSORRT
    if precision == "auto":
        return "fp16" if half else "fp32"
    if precision == "fp32" or (precision == "fp16" and half):
        return precision
    needs = "needs TensorRT for --precision fp16" if precision == "fp16" else "has no --precision bf16"
    raise EngineError(f"--engine onnxruntime {needs}: use --precision fp32, or --engine keras")


def create_session(
    model: bytes | str,
    place: Place,
    precision: str = "fp32",
    sides: Mapping[str, int] | None = None,
    name: str = "the network",
) -> Any:
    """Return an ``onnxruntime.InferenceSession``.

    Args:
        model: content or path of an ONNX file.
        place: where to compute.
        precision: ``fp16`` lets TensorRT compute in half precision.
        sides: lengths of sides that the file names.
        name: of the network, for the message of an error.

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
    providers = [_with_settings(provider, place, precision) for provider in place.providers]
    errors: list[str] = []
    with memory_errors(), _captured_stderr(errors):
        try:
            session = runtime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # its own classes, which share no base; bad_alloc, too
            if "alloc" in str(error).lower() or isinstance(error, MemoryError):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(f"ONNX Runtime cannot take {name} ({reason}): use another --engine") from error
    used = session.get_providers()
    if place.on_gpu and used[0] not in place.providers[:-1]:
        raise EngineError(
            f"ONNX Runtime fell back to the CPU, and GPU {place.number} was asked for: "
            f"{_missing_part(errors)}; or use --gpu cpu"
        )
    return session


def limit_threads(count: int) -> None:
    """Limit the threads of sessions that this process opens from now on; 0: all cores."""
    global _thread_limit
    _thread_limit = count


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
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "check", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    try:
        create_session(model.SerializeToString(), place)
    except EngineError as error:
        return str(error)
    return ""


@cache
def _runtime() -> Any:
    """Return the package ``onnxruntime``, its GPU libraries loaded.

    Raises:
        EngineError: it is not installed or does not start.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime does not start ({error}): {INSTALL_HINT}") from error
    if CUDA in onnxruntime.get_available_providers() and hasattr(onnxruntime, "preload_dlls"):
        with _captured_stderr([]), contextlib.redirect_stdout(sys.stderr), contextlib.suppress(Exception):
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


def _with_settings(provider: str, place: Place, precision: str) -> Any:
    if provider == CUDA:
        return provider, {"device_id": str(place.number)}
    if provider != TENSORRT:
        return provider
    folder = cache_folder() / "tensorrt"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return provider, {
        "device_id": str(place.number),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": str(precision == "fp16"),
    }


def _missing_part(errors: Sequence[str]) -> str:
    """Return what ONNX Runtime wrote that it lacks, and the remedy."""
    text = "\n".join(errors)
    if library := _MISSING_LIBRARY.search(text):
        return f"{library.group(1) or library.group(2)} is missing ({GPU_INSTALL_HINT} brings the libraries)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = f"{lines[-1][-200:]}; " if lines else ""
    return f"{reason}a driver or library is missing ({GPU_INSTALL_HINT}, and see `vsr doctor`)"


@contextlib.contextmanager
def _captured_stderr(texts: list[str]) -> Iterator[None]:
    """Append what native libraries write to stderr in the block, instead of showing it."""
    try:
        stderr = sys.__stderr__.fileno() if sys.__stderr__ else 2
        saved = os.dup(stderr)
    except (OSError, ValueError):  # no stderr at all
        yield
        return
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), stderr)
        try:
            yield
        finally:
            os.dup2(saved, stderr)
            os.close(saved)
            captured.seek(0)
            texts.append(captured.read().decode(errors="replace"))


@cache
def _build_inputs() -> dict[str, object]:
    """Return what files depend on besides weights: versions, and hashes of the code."""
    here, models = Path(__file__).parent, Path(__file__).parents[1] / "models"
    code = [*sorted(models.glob("*.py")), *(here / "functions.py",), *sorted(here.glob("onnx_*.py"))]
    return {
        "code": [file_sha256(path) for path in code],
        **{package: version(package) for package in ("onnx", "keras")},
        "vsr": __version__,
    }
