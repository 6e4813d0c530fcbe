"""Observation of a network's activations on OpenVINO: what goes into each convolution, on real video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.openvino import OUTPUT_STAGE, OpenvinoBackend
from vsrcli.inference.openvino_quantization import layer_of, queue_layers, rounded
from vsrcli.inference.openvino_templates import KINDS
from vsrcli.inference.streams import compile_stream
from vsrcli.models.weights import Weights

_SAMPLES = 4096  # values of each tensor and frame that are kept
_COMPARED = 400_000  # of them that limits are compared on
_STEP, _STEPS = 0.97, 80  # limits: the largest value, 0.97 of it, 0.97**2 of it, ...


class ObservingBackend(OpenvinoBackend):
    """A network in float32 whose convolutions' inputs are observed; features lie as in eight bits.

    Args:
        weights: of the network.

    Attributes:
        samples: random values of the input of each convolution, by its name, float32 arrays.
        extremes: least and largest value of each, and zero.

    Raises:
        EngineError: networks of this kind do not compute in eight bits.
        ModelError: the weight file is damaged.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights, "fp32")
        if self.shapes.kind not in KINDS:
            raise EngineError(f"{weights.architecture.name} has no --precision int8: use fp32")
        self.shapes = replace(self.shapes, row_multiple=1)
        self.samples: dict[str, list[np.ndarray]] = defaultdict(list)
        self.extremes: dict[str, tuple[float, float]] = {}
        self._sharing: set[str] = set()  # layers whose parts read the same features of several frames
        self._rng = np.random.default_rng(0)

    def watch(self, clip: np.ndarray) -> None:
        """Observe the network on a clip, uint8 (T, H, W, 3)."""
        stream = compile_stream(self, *clip.shape[1:3])()
        for frame in clip:
            stream.push(frame.astype(np.float32) / 255)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the range of each convolution's input that rounds with the least error.

        Parts of a layer that read the same features of several frames have one range together.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for name in self.samples:
            groups[layer_of(name) if layer_of(name) in self._sharing else name].append(name)
        found: dict[str, tuple[float, float]] = {}
        for names in groups.values():
            values = np.concatenate([part for name in names for part in self.samples[name]])
            low = min(self.extremes[name][0] for name in names)
            high = max(self.extremes[name][1] for name in names)
            if values.size > _COMPARED:
                values = self._rng.choice(values, _COMPARED)
            found |= dict.fromkeys(names, best_range(values, low, high))
        return found

    def _compile(self, name: str, graph: Any) -> Callable[..., Any]:
        if name == OUTPUT_STAGE:
            return super()._compile(name, graph)
        if name == "advance":
            self._sharing |= queue_layers(graph)
        count, names = len(graph.get_results()), _show_inputs(graph)
        compiled = super()._compile(name, graph)

        def run(*arguments: np.ndarray) -> Any:
            results = compiled(*arguments)
            for convolution, values in zip(names, results[count:], strict=True):
                self._record(convolution, values)
            return results[:count] if count > 1 else results[0]

        return run

    def _record(self, name: str, values: np.ndarray) -> None:
        low, high = self.extremes.get(name, (0.0, 0.0))
        self.extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
        self.samples[name].append(self._rng.choice(values.reshape(-1), _SAMPLES))


def best_range(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return the range, within a given one, that rounds values to eight bits with the least square error.

    What lies outside is clipped: a few large values would make the steps of all others coarse.
    """
    candidates = [(low * _STEP**step, high * _STEP**step) for step in range(_STEPS)]
    if high <= 0 and low >= 0:
        return 0.0, 1.0  # always zero
    if low < 0 or high <= 0:
        largest = max(high, -low)
        candidates = [(-largest * _STEP**step, largest * _STEP**step) for step in range(_STEPS)]
    errors = [float(np.mean((rounded(values, *each) - values) ** 2)) for each in candidates]
    return candidates[int(np.argmin(errors))]


def _show_inputs(graph: Any) -> list[str]:
    """Make what goes into each convolution a result of the graph, too; return the convolutions' names."""
    from openvino import opset13

    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]
    graph.add_results([opset13.result(node.input_value(0)) for node in convolutions])
    return [node.get_friendly_name() for node in convolutions]
