"""Exports of this program (:mod:`vsrcli.inference.onnx_export`) on OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vsrcli.errors import EngineError
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import RowBands, memory_errors, signatures
from vsrcli.inference.onnx_graph import FIRST
from vsrcli.inference.onnx_manifest import Manifest, extract_function, parse_manifest, read_manifest
from vsrcli.inference.onnxruntime import read_network
from vsrcli.inference.openvino import (
    BAND_PIXELS,
    PLAIN_BAND_PIXELS,
    CompiledGraph,
    OpenvinoBackend,
    openvino_core,
)
from vsrcli.inference.openvino_passes import optimize_graph
from vsrcli.models.imported import ImportedModel
from vsrcli.system.resources import configure_malloc


class OpenvinoExportEngine(StreamingEngine):
    """An export on OpenVINO, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        model: the file and its description.
        device: ``cpu``, or ``auto`` where there is no usable GPU.
        precision: ``auto`` or ``fp32``.
        on_notice: unused; there is nothing to cache.

    Raises:
        EngineError: OpenVINO cannot start, or another precision was asked for.
        ModelError: the file has changed, or is damaged.
    """

    def __init__(
        self,
        model: ImportedModel,
        *,
        device: str = "cpu",
        precision: str = "auto",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        if precision not in ("auto", "fp32"):
            raise EngineError(f"an export on OpenVINO has no --precision {precision}: use fp32")
        model.verify()
        super().__init__(OpenvinoExportBackend(read_network(model)), model)
        self.precision, self.on_gpu = "fp32", False
        self.description = (
            f"{model.name} on CPU, openvino{'' if device == 'cpu' else ' (no GPU found)'}, fp32"
        )


class OpenvinoExportBackend(OpenvinoBackend):
    """OpenVINO's CPU plugin, see :class:`~vsrcli.inference.functions.Backend`.

    Args:
        network: ``onnx.ModelProto`` with a manifest.
    """

    def __init__(self, network: Any) -> None:
        configure_malloc()
        self._network, self._manifest = network, parse_manifest(read_manifest(network))
        self.shapes, self.dtype, self._precision = self._manifest.shapes, "float32", "fp32"
        has_filters = dict(self._manifest.content["options"]).get("filters", True)
        self.band_pixels = BAND_PIXELS if has_filters else PLAIN_BAND_PIXELS

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        shapes = signatures(self.shapes, height, width, bands)
        return {
            name: self._compile_function(name, [spec.shape for spec in specs])
            for name, specs in shapes.items()
        }

    def _compile_function(self, name: str, shapes: list[tuple[int, ...]]) -> CompiledGraph:
        """Compile one function, with channels last at its ends."""
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        content = extract_function(self._network, self._manifest, name)
        with memory_errors():
            graph = openvino_core().read_model(model=content, weights=b"")
            stored = {
                argument: _stored(shape, self._manifest, argument)
                for argument, shape in zip(self._manifest.functions[name][0], shapes, strict=True)
            }
            graph.reshape(stored)
            graph = optimize_graph(_with_channels_last(graph, self._manifest, name))
            return CompiledGraph(openvino_core().compile_model(graph, "CPU", settings))


def _stored(shape: tuple[int, ...], manifest: Manifest, argument: str) -> tuple[int, ...]:
    """Return an argument's shape in the file's order of axes."""
    return (shape[0], shape[3], *shape[1:3]) if manifest.orders[argument] == FIRST else shape


def _with_channels_last(graph: Any, manifest: Manifest, name: str) -> Any:
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    arguments, results = manifest.functions[name]
    steps = PrePostProcessor(graph)
    for argument in arguments:
        if manifest.orders[argument] == FIRST:
            steps.input(argument).tensor().set_layout(Layout("NHWC"))
            steps.input(argument).model().set_layout(Layout("NCHW"))
    for result in results:
        if manifest.orders[result] == FIRST:
            steps.output(result).model().set_layout(Layout("NCHW"))
            steps.output(result).tensor().set_layout(Layout("NHWC"))
    return steps.build()
