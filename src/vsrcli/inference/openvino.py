"""A network on OpenVINO: CPUs, without TensorFlow or Keras once its graphs are in the cache.

See :mod:`vsrcli.inference.types` for the contract, :mod:`vsrcli.inference.openvino_export` for where the graphs come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.errors import EngineError, ModelError, OutOfMemoryError
from vsrcli.inference.backend import require_finite
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import FLOAT32, RowBands, shapes_of
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.openvino_export import export_graphs
from vsrcli.models.weights import Weights, file_sha256
from vsrcli.system.resources import configure_malloc, disable_openvino_telemetry

BAND_PIXELS = 2048  # 3 MB of filters: they stay in a core's cache
PLAIN_BAND_PIXELS = 16384  # without filters
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_PAINT = "paint"  # softmax and the sum of pictures: always in float32, as on Keras
_SHORT_OF_MEMORY = (
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "cannot allocate",
    "could not allocate",
)


class OpenvinoBackend:
    """A network of OpenVINO's CPU plugin, see :class:`~vsrcli.inference.backend.Backend`. Arrays are NumPy's.

    Args:
        weights: which network.
        precision: ``fp32`` or ``bf16``, of everything but the output stage.
        on_notice: told what the cache has to say.
        band_pixels: about how many low-resolution pixels are painted at a time; None: what stays in a cache.

    Raises:
        ModelError: the weight file is damaged.
    """

    def __init__(
        self,
        weights: Weights,
        precision: str = "fp32",
        *,
        on_notice: Callable[[str], None] = lambda text: None,
        band_pixels: int | None = None,
    ) -> None:
        if file_sha256(weights.path) != weights.card.get("sha256"):
            raise ModelError(
                f"{str(weights.path)!r} is damaged: its sha256 is not the one in its card; fetch it again"
            )
        configure_malloc()
        filters = weights.architecture.options.get("filters", True)
        self.sizes, self.dtype = shapes_of(weights.architecture, weights.scale, precision), FLOAT32
        self.band_pixels = band_pixels or (BAND_PIXELS if filters else PLAIN_BAND_PIXELS)
        self._weights, self._precision = weights, precision
        self._cache = GraphCache(cache_folder() / "openvino", on_notice)

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        key = {
            "weights": self._weights.card["sha256"],
            "architecture": self._weights.card["architecture"],
            "options": dict(self._weights.architecture.options),
            "scale": self._weights.scale,
            "frame": [height, width, bands.rows],
            "rows": self.sizes.rows,
            **_makers(),
        }

        def build(folder: Path) -> None:
            export_graphs(self._weights, height, width, bands.rows, folder, self._precision)

        files = self._cache.get(key, build)
        names = [Path(name).stem for name in files if name.endswith(".xml")]
        with ThreadPoolExecutor() as pool:  # a graph is compiled on one core
            graphs = ((name, files[f"{name}.xml"], files[f"{name}.bin"]) for name in names)
            made = pool.map(lambda graph: self._compiled(*graph), graphs)
            return dict(zip(names, made, strict=True))

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> np.ndarray:
        return array.astype(dtype)  # a copy

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def read_result(self, picture: np.ndarray) -> np.ndarray:
        return require_finite(picture)

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: np.ndarray, around: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Every band lands where it belongs: putting them together afterwards would take a copy.

        Of finite features and weights everything is finite that follows here, so only features are looked at.
        """
        require_finite(x)
        whole = [np.empty(_all_rows(shape, bands), np.float32) for shape in function.shapes]  # type: ignore[attr-defined]
        for rows in bands:
            taken = bands.slice(x, around, rows)
            function(*taken, into=[_cut(array, rows, bands.height) for array in whole])
        picture, *remembered = whole
        return picture[0], remembered[0] if remembered else None

    def _compiled(self, name: str, graph: bytes, weights: bytes) -> Callable[..., Any]:
        precision = "fp32" if name == _PAINT else self._precision
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        with _named_failures():
            model = core().read_model(model=graph, weights=weights)
            return Function(core().compile_model(model, "CPU", settings))


class Function:
    """A compiled graph as a function of NumPy arrays, float32; its results are new arrays.

    Args:
        compiled: an ``openvino.CompiledModel``.

    Attributes:
        shapes: of the results.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.shapes = [tuple(output.shape) for output in compiled.outputs]

    def __call__(self, *arguments: np.ndarray, into: Sequence[np.ndarray] | None = None) -> Any:
        """Compute; ``into``: arrays, contiguous, that take the results."""
        from openvino import Tensor

        with _named_failures():
            taken = [np.ascontiguousarray(argument, np.float32) for argument in arguments]
            if into is None:
                require_finite(taken[0])
            given = into or [np.empty(shape, np.float32) for shape in self.shapes]
            for number, array in enumerate(taken):
                self._request.set_input_tensor(number, Tensor(array, shared_memory=True))
            for number, array in enumerate(given):
                self._request.set_output_tensor(number, Tensor(array, shared_memory=True))
            self._request.infer()
        if into is None:
            require_finite(given[0])  # what the next function is given: its ReLU would make zero of NaN
        return given[0] if len(given) == 1 else tuple(given)


def _all_rows(shape: tuple[int, ...], bands: RowBands) -> tuple[int, ...]:
    """Of a band's result, (1, n * rows, ...), the shape for the frame."""
    return (1, shape[1] // bands.rows * bands.height, *shape[2:])


def _cut(array: np.ndarray, rows: slice, height: int) -> np.ndarray:
    """The part (1, n * rows, ...) of a frame's result, (1, n * height, ...)."""
    factor = array.shape[1] // height
    return array[:, factor * rows.start : factor * rows.stop]


class OpenvinoEngine(StreamingEngine):
    """A trained network, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        weights: which network.
        device: ``cpu``, or ``auto`` where there is no GPU to use.
        precision: ``auto``, ``fp32`` or ``bf16``.
        on_notice: told what the cache has to say.

    Raises:
        EngineError: OpenVINO cannot start.
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
        make = partial(OpenvinoBackend, weights, on_notice=_once(on_notice))
        if precision == "auto":
            from vsrcli.inference.precision import choose_cpu_precision

            precision = choose_cpu_precision(weights, capabilities(), make)
        super().__init__(make(precision), weights)
        self.precision, self.on_gpu = precision, False
        self.description = (
            f"{weights.name} on CPU, openvino{'' if device == 'cpu' else ' (no GPU found)'}, {precision}"
        )


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """What is told of one cache concerns all graphs in it, of either precision."""
    told: set[str] = set()

    def tell_what_is_new(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return tell_what_is_new


@cache
def core() -> Any:
    """OpenVINO itself, started once.

    Raises:
        EngineError: it is installed, and does not start.
    """
    disable_openvino_telemetry()
    try:
        import openvino

        return openvino.Core()
    except (ImportError, RuntimeError) as error:
        raise EngineError(f"OpenVINO does not start ({error}): use --engine keras") from error


def capabilities() -> tuple[str, ...]:
    """Precisions that this CPU computes in by itself, of ``fp32`` and ``bf16``."""
    there = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, word in (("fp32", "FP32"), ("bf16", "BF16")) if word in there)


@cache
def _makers() -> dict[str, object]:
    """What graphs depend on besides the weights: versions, and the code that describes them."""
    here, models = Path(__file__).parent, Path(__file__).parents[1] / "models"
    code = [*sorted(models.glob("*.py")), here / "functions.py", here / "openvino_export.py"]
    return {
        "code": [file_sha256(path) for path in code],
        **{package: version(package) for package in ("openvino", "keras")},
        "vsr": __version__,
    }


class _named_failures:
    """Turn OpenVINO's own out-of-memory errors into one that says what to do."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and any(words in text for words in _SHORT_OF_MEMORY)
        ):
            raise OutOfMemoryError(
                "not enough memory for a tile of this size: give a smaller --tile"
            ) from error
