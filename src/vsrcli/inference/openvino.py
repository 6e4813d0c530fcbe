"""Networks on OpenVINO: on CPUs, without TensorFlow or Keras once the graphs are in the cache.

The contract is in :mod:`vsrcli.inference.functions`; the graphs come from
:mod:`vsrcli.inference.openvino_export`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.errors import EngineError
from vsrcli.inference.bfloat16 import from_bfloat16, require_finite_bfloat16, to_bfloat16
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import (
    BFLOAT16,
    FLOAT32,
    RowBands,
    memory_errors,
    require_finite,
    shapes_of,
    signatures,
)
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.int8_ranges import Ranges, read_calibration
from vsrcli.inference.openvino_export import export_graphs, export_templates
from vsrcli.inference.openvino_templates import KINDS as TEMPLATE_KINDS
from vsrcli.inference.openvino_templates import (
    OUTPUT_STAGE,
    NetworkGraphs,
    Variant,
    shipped_templates,
    template_key,
)
from vsrcli.models.imported import ImportedModel, input_shape
from vsrcli.models.weights import Weights, file_sha256
from vsrcli.system.processor import multiplies_bytes_fast
from vsrcli.system.resources import configure_malloc, disable_openvino_telemetry, enlarge_signal_stack
from vsrcli.system.text import last_line

BAND_PIXELS = 2048  # 3 MB of filters: they stay in a core's cache
PLAIN_BAND_PIXELS = 16384  # of networks without filters
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not in eight bits


class OpenvinoEngine(StreamingEngine):
    """A trained network, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        weights: of the network.
        device: ``cpu``, or ``auto`` where there is no usable GPU.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        on_notice: receives the cache's notices.

    Raises:
        EngineError: OpenVINO cannot start; or ``int8``, and nothing was measured for these weights, or this
            kind of network is not computed in it.
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: str = "cpu",
        precision: str = "auto",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        # Cached: a notice of the graphs' cache concerns all precisions, and is passed on once.
        create_backend = partial(OpenvinoBackend, weights, on_notice=cache(on_notice))
        if precision == "auto":
            from vsrcli.inference.precision import choose_cpu_precision

            precision = choose_cpu_precision(weights, cpu_capabilities(), create_backend)
        super().__init__(create_backend(precision), weights)
        self.precision, self.on_gpu = precision, False
        self.description = (
            f"{weights.name} on CPU, openvino{'' if device == 'cpu' else ' (no GPU found)'}, {precision}"
        )


class OpenvinoBackend:
    """OpenVINO's CPU plugin, see :class:`~vsrcli.inference.functions.Backend`.

    Arrays are NumPy's. In ``bf16`` networks that encode each frame once hand features on in that precision,
    as :mod:`vsrcli.inference.bfloat16` stores them: converting them to float32 and back takes a fifth of a
    frame's time.

    Args:
        weights: of the network.
        precision: ``fp32``, ``bf16`` or ``int8``, of everything but the output stage.
        ranges: for ``int8``; None: those measured for these weights.
        on_notice: receives the cache's notices.

    Raises:
        EngineError: ``int8``, and nothing was measured, or this kind of network is not computed in it.
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        weights: Weights,
        precision: str = "fp32",
        *,
        ranges: Ranges | None = None,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        weights.verify()
        configure_malloc()
        has_filters = weights.architecture.options.get("filters", True)
        self._layout = "bf16" if precision == "int8" else precision  # in both, features lie as frames do
        self.shapes = shapes_of(weights.architecture, weights.scale, self._layout)
        ranges = ranges if precision == "int8" else None
        if precision == "int8":
            if self.shapes.kind not in TEMPLATE_KINDS:
                raise EngineError(f"{weights.architecture.name} has no --precision int8: use fp32")
            ranges = read_calibration(weights).ranges if ranges is None else ranges
        is_bfloat16 = precision == "bf16" and self.shapes.kind in TEMPLATE_KINDS
        self.dtype = BFLOAT16 if is_bfloat16 else FLOAT32
        self._variant = Variant(self.dtype, ranges)
        self.band_pixels = BAND_PIXELS if has_filters else PLAIN_BAND_PIXELS
        self._weights, self._precision = weights, precision
        self._cache = GraphCache(cache_folder() / "openvino", on_notice)

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        if self.shapes.kind in TEMPLATE_KINDS:
            graphs, arguments = self._graphs, signatures(self.shapes, height, width, bands)
            with ThreadPoolExecutor() as pool:  # OpenVINO compiles a graph on one core
                compiled = pool.map(
                    lambda name: self._compile(
                        name, graphs.graph(name, arguments[name], height, width, self._variant)
                    ),
                    arguments,
                )
                return dict(zip(arguments, compiled, strict=True))
        key = {
            "weights": self._weights.card["sha256"],
            "architecture": self._weights.card["architecture"],
            "options": dict(self._weights.architecture.options),
            "scale": self._weights.scale,
            "frame": [height, width, bands.rows],
            "rows": self.shapes.row_multiple,
            **build_inputs(),
        }

        def build(folder: Path) -> None:
            export_graphs(self._weights, height, width, bands.rows, folder, self._precision)

        files = self._cache.get(key, build)
        names = [Path(name).stem for name in files if name.endswith(".xml")]
        read = openvino_core().read_model
        with ThreadPoolExecutor() as pool:
            graphs = (read(model=files[f"{name}.xml"], weights=files[f"{name}.bin"]) for name in names)
            return dict(zip(names, pool.map(self._compile, names, graphs), strict=True))

    @cached_property
    def _graphs(self) -> NetworkGraphs:
        """For frames of any size. Shipped templates are not read from the cache, others once a process."""
        key = template_key(self._weights, self.shapes.row_multiple)

        def build(folder: Path) -> None:
            export_templates(self._weights, self._layout, folder)

        files = shipped_templates(key) or self._cache.get({**key, **build_inputs()}, build)
        return NetworkGraphs(self._weights, files, openvino_core())

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, np.uint16 if dtype == BFLOAT16 else dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> np.ndarray:
        return to_bfloat16(array) if dtype == BFLOAT16 else array.astype(dtype)  # a copy

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return from_bfloat16(array) if array.dtype == np.uint16 else array.copy()

    def read_result(self, result: np.ndarray) -> np.ndarray:
        return require_finite(result)

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: np.ndarray, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Run the output stage; every band is written to its place, as assembling them would take a copy.

        Finite features and weights give finite results here, so only features are checked.
        """
        graph: Any = function
        if not graph.stays_finite:
            _require_finite(x)
        results: list[tuple[tuple[int, ...], Any]] = graph.results
        factors = [shape[1] // bands.rows for shape, _ in results]  # rows of a result per row of a frame
        outputs = [
            np.empty((1, factor * bands.height, *shape[2:]), dtype)
            for factor, (shape, dtype) in zip(factors, results, strict=True)
        ]
        for rows in bands:
            parts = [
                output[:, factor * rows.start : factor * rows.stop]
                for factor, output in zip(factors, outputs, strict=True)
            ]
            function(*bands.slice(x, padded, rows), into=parts)
        result, *feedback = outputs
        return result[0], feedback[0] if feedback else None

    def _compile(self, name: str, graph: Any) -> Callable[..., Any]:
        stays_finite = self.shapes.kind in TEMPLATE_KINDS and self._graphs.stays_finite
        precision = "fp32" if name == OUTPUT_STAGE else self._precision
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision]}
        with memory_errors():
            return CompiledGraph(openvino_core().compile_model(graph, "CPU", settings), stays_finite)


class OpenvinoNetwork:
    """A network that others have trained, on OpenVINO's CPU plugin; see :mod:`vsrcli.inference.imported`.

    Args:
        model: the file and its description.
        precision: ``fp32`` or ``bf16``.
        on_notice: receives the cache's notices.
    """

    def __init__(
        self, model: ImportedModel, precision: str, on_notice: Callable[[str], None] = lambda text: None
    ) -> None:
        configure_malloc()
        self._model, self._precision = model, precision
        self._cache = GraphCache(cache_folder() / "openvino", on_notice)

    def compile_raw(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return the network for frames of one size, from its input array to its output array, float32 both.

        Raises:
            EngineError: OpenVINO cannot take it, or not at this size; a run may be the first to show that.
            OutOfMemoryError: not enough memory.
        """
        found = self._model.description
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[self._precision],
        }
        with self._errors(height, width):
            graph = (self._read_onnx if found.format == "onnx" else self._read_exported)(height, width)
            request = openvino_core().compile_model(graph, "CPU", settings).create_infer_request()
        is_window = found.format != "onnx"  # (1, 1, H, W, 3), the argument of ``upscale``
        output = 0 if is_window or not found.output_name else found.output_name

        def run(array: np.ndarray) -> np.ndarray:
            from openvino import Tensor

            with self._errors(height, width):
                array = np.ascontiguousarray(array[:, None] if is_window else array, np.float32)
                request.set_input_tensor(Tensor(array, shared_memory=True))
                request.infer()
                return request.get_tensor(request.model_outputs[0] if output == 0 else output).data.copy()

        return run

    def _read_onnx(self, height: int, width: int) -> Any:
        """Return an ONNX file's graph for frames of one size, with inputs and outputs in float32."""
        import openvino
        from openvino.preprocess import PrePostProcessor

        graph = openvino_core().read_model(str(self._model.path))
        graph.reshape({graph.input(0): input_shape(self._model.description, height, width)})
        steps = PrePostProcessor(graph)
        steps.input(0).tensor().set_element_type(openvino.Type.f32)
        for number in range(len(graph.outputs)):
            steps.output(number).tensor().set_element_type(openvino.Type.f32)
        return steps.build()

    @contextmanager
    def _errors(self, height: int, width: int) -> Iterator[None]:
        """Turn OpenVINO's errors in the block into this program's."""
        try:
            with memory_errors():
                yield
        except RuntimeError as error:
            other = self._model.description.engine == "onnxruntime"  # OpenVINO ran no frame of it
            remedy = "use --engine onnxruntime" if other else "give a smaller --tile, or another --engine"
            raise EngineError(
                f"OpenVINO cannot take {self._model.name} at {width}x{height} ({last_line(error)}): {remedy}"
            ) from error

    def _read_exported(self, height: int, width: int) -> Any:
        """Return the graph of a network in ``keras.ops``, built by a child process or from the cache."""
        key = {"weights": self._model.description.sha256, "frame": [height, width], **build_inputs()}

        def build(folder: Path) -> None:
            export_graphs(self._model, height, width, height, folder)

        files = self._cache.get(key, build)
        return openvino_core().read_model(model=files["upscale.xml"], weights=files["upscale.bin"])


class CompiledGraph:
    """A compiled graph as a function of NumPy arrays: float32, uint8, or bfloat16 as its bits.

    Its results are new arrays. Where it takes bfloat16, float32 is converted.

    Args:
        compiled: an ``openvino.CompiledModel``.
        stays_finite: finite frames give finite results, so that only frames are checked: arguments of three
            channels. Looking for NaN takes a tenth of a narrow network's time.

    Attributes:
        results: shapes and NumPy types.
        names: of the results.
    """

    def __init__(self, compiled: Any, stays_finite: bool = False) -> None:
        self.stays_finite = stays_finite
        self._request = compiled.create_infer_request()
        self._types = [_numpy_type(each) for each in compiled.inputs]
        self.names = [each.get_node().get_friendly_name() for each in compiled.outputs]
        self.results = [(tuple(each.shape), _numpy_type(each)) for each in compiled.outputs]

    def __call__(self, *arguments: np.ndarray, into: Sequence[np.ndarray] | None = None) -> Any:
        """Compute the results, in the contiguous arrays ``into`` if given.

        Raises:
            NonFiniteError: without ``into``: the first argument or result holds NaN or infinity. Arguments
                in bfloat16 are another function's results, and not looked at again.
            OutOfMemoryError: not enough memory.
        """
        with memory_errors():
            inputs = [_converted(array, dtype) for array, dtype in zip(arguments, self._types, strict=True)]
            is_checked = inputs[0].shape[-1] == 3 or not self.stays_finite
            if into is None and is_checked and inputs[0].dtype == np.float32:
                require_finite(inputs[0])
            outputs = into or [np.empty(shape, dtype) for shape, dtype in self.results]
            for number, array in enumerate(inputs):
                self._request.set_input_tensor(number, _shared_tensor(array))
            for number, array in enumerate(outputs):
                self._request.set_output_tensor(number, _shared_tensor(array))
            self._request.infer()
        if into is None and not self.stays_finite:
            _require_finite(outputs[0])  # the next function's ReLU would turn NaN into zero
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _numpy_type(port: Any) -> Any:
    """Return the NumPy type that holds a graph's argument or result."""
    return {"bf16": np.uint16, "u8": np.uint8}.get(port.get_element_type().get_type_name(), np.float32)


def _converted(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a contiguous array of this type."""
    if dtype == np.uint16 and array.dtype != np.uint16:
        return to_bfloat16(array)
    return np.ascontiguousarray(array, dtype)


def _shared_tensor(array: np.ndarray) -> Any:
    """Return an ``openvino.Tensor`` of an array's memory; uint16 holds bfloat16."""
    from openvino import Shape, Tensor, Type

    if array.dtype == np.uint16:
        return Tensor(array, Shape(list(array.shape)), Type.bf16)
    return Tensor(array, shared_memory=True)


def _require_finite(array: np.ndarray) -> np.ndarray:
    """Do what :func:`~vsrcli.inference.functions.require_finite` does, for bfloat16, too."""
    return require_finite_bfloat16(array) if array.dtype == np.uint16 else require_finite(array)


@cache
def openvino_core() -> Any:
    """Return the process's ``openvino.Core``, created once.

    Raises:
        EngineError: OpenVINO is installed but does not start.
    """
    disable_openvino_telemetry()
    try:
        import openvino

        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    except (ImportError, RuntimeError) as error:
        raise EngineError(f"OpenVINO does not start ({error}): use --engine keras") from error
    enlarge_signal_stack()
    return core


def cpu_capabilities() -> tuple[str, ...]:
    """Return the precisions that this CPU computes in natively, of ``fp32``, ``bf16`` and ``int8``."""
    capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {"fp32": "FP32", "bf16": "BF16"}
    if multiplies_bytes_fast():  # OpenVINO names INT8 on any processor
        names["int8"] = "INT8"
    return tuple(name for name, property_ in names.items() if property_ in capabilities)


@cache
def build_inputs() -> dict[str, object]:
    """Return what graphs depend on besides weights and sizes: versions, and hashes of the code."""
    here, models = Path(__file__).parent, Path(__file__).parents[1] / "models"
    code = [*sorted(models.glob("*.py")), here / "functions.py", *sorted(here.glob("openvino_*.py"))]
    return {
        "code": [file_sha256(path) for path in code],
        **{package: version(package) for package in ("openvino", "keras")},
        "vsr": __version__,
    }
