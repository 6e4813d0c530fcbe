"""Networks on ONNX Runtime, whose sessions are those of :mod:`vsrcli.inference.onnxruntime_session`.

The contract is in :mod:`vsrcli.inference.functions`; the graphs come from
:mod:`vsrcli.inference.onnx_export`, once for each network, or from files of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import BORDER, FLOAT32, RowBands, require_finite
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.onnx_export import build_onnx, require_onnx
from vsrcli.inference.onnx_graph import FIRST
from vsrcli.inference.onnx_manifest import (
    Manifest,
    architecture_of,
    extract_function,
    parse_manifest,
    read_manifest,
)
from vsrcli.inference.onnxruntime_session import (
    Place,
    choose_place,
    choose_precision,
    create_session,
    run_errors,
    run_options,
)
from vsrcli.inference.types import Compiler, RawNetwork
from vsrcli.models.imported import ImportedModel
from vsrcli.models.weights import Weights, file_sha256
from vsrcli.system.resources import configure_malloc

BAND_PIXELS, GPU_BAND_PIXELS = 4096, 2**18
_FULL_PRECISION = "reconstruct"  # exponentials, and sums of frames: half precision overflows
_DEVICE = "cuda"  # whose memory features stay in


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
        precision = choose_precision(place, precision, is_onnx=isinstance(weights, ImportedModel))
        backend = OnnxruntimeBackend(read_network(weights, on_notice), place, precision, on_notice)
        super().__init__(backend, weights)
        self.precision, self.on_gpu = backend.precision, place.on_gpu
        missing = " (no GPU found)" if device == "auto" and not place.on_gpu else ""
        self.description = f"{weights.name} on {place}{missing}, {self.precision}"


class OnnxruntimeBackend:
    """ONNX Runtime, see :class:`~vsrcli.inference.functions.Backend`.

    Features have channels second in memory, and their shapes have them last: arrays are transposed views. On
    CUDA they stay on the GPU, as :class:`DeviceArray`.

    Args:
        network: ``onnx.ModelProto`` with a manifest.
        place: where to compute.
        precision: ``fp32`` or ``fp16``, of everything but the output stage.
        on_notice: called, once, if TensorRT's engines cannot be kept.

    Attributes:
        precision: ``fp32`` where that is needed for all of it: DUF on full windows is one function.
    """

    def __init__(
        self,
        network: Any,
        place: Place,
        precision: str = "fp32",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        configure_malloc()
        self._manifest = parse_manifest(read_manifest(network))
        self.shapes, self.dtype = self._manifest.shapes, FLOAT32
        self.band_pixels = GPU_BAND_PIXELS if place.on_gpu else BAND_PIXELS
        stated = self._manifest.content  # without an architecture: somebody else's network
        is_duf = "architecture" in stated and architecture_of(stated).module == "duf"
        self.precision = "fp32" if is_duf else precision
        self._network, self._place, self._on_notice = network, place, on_notice
        self._notices: set[str] = set()

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
        precision = "fp32" if name == _FULL_PRECISION else self.precision
        sides = {
            "height": height,
            "width": width,
            "height_padded": height + 2 * BORDER,
            "width_padded": width + 2 * BORDER,
        }
        content = extract_function(self._network, self._manifest, name)
        session = create_session(content, self._place, precision, sides, on_notice=self._notify_once)
        return SessionFunction(session, self._place, self._manifest, name)

    def _notify_once(self, text: str) -> None:
        if text not in self._notices:
            self._notices.add(text)
            self._on_notice(text)


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
            EngineError: the provider failed.
        """
        with run_errors(self._place):
            outputs = self._run_on_device(arguments) if self._place.is_cuda else self._run(arguments)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run(self, arguments: Sequence[Any]) -> list[Any]:
        inputs = {
            name: self._stored(name, argument)
            for name, argument in zip(self._arguments, arguments, strict=True)
        }
        require_finite(inputs[self._arguments[0]])  # ReLU would turn NaN into zero
        outputs = self._session.run(self._results, inputs, run_options())
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
        self._session.run_with_iobinding(binding, run_options())
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
) -> Compiler:
    """Load a network that others have trained, see :mod:`vsrcli.inference.imported`.

    Raises:
        EngineError: see :class:`OnnxruntimeEngine`; or ONNX Runtime cannot take the file.
    """
    place = choose_place(device, on_notice)
    found = model.description
    precision = choose_precision(place, precision, is_onnx=found.format == "onnx")
    if found.format != "onnx":
        backend = OnnxruntimeBackend(read_network(model, on_notice), place, precision, on_notice)

        def compile_own(height: int, width: int) -> RawNetwork:
            function = backend._compile("upscale", height, width)
            return lambda array: function(array[:, None])

        return Compiler(compile_own, str(place), precision, place.on_gpu)
    session = create_session(str(model.path), place, precision, {}, model.name, found.sha256, on_notice)
    names = [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]
    source = found.input_name if found.input_name in names[0] else names[0][0]
    result = found.output_name if found.output_name in names[1] else names[1][0]

    def compile_raw(height: int, width: int) -> RawNetwork:
        def run(array: np.ndarray) -> np.ndarray:
            with run_errors(place, f"{model.name} at {width}x{height}"):
                feed = {source: np.ascontiguousarray(array, found.dtype)}
                output = session.run([result], feed, run_options())[0]
            return output.astype(np.float32, copy=False)

        return run

    return Compiler(compile_raw, str(place), precision, place.on_gpu)


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
