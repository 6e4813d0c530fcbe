"""Quantization of a network's graph: convolutions that OpenVINO's CPU plugin computes in eight bits.

Activations have one scale per tensor, weights one per output channel, and zero stays zero in both. Products
are summed up in 32-bit integers; biases, sums of features and what functions hand on stay in float32, except
for the feature queues of ``advance``: what only convolutions in eight bits read, and features are added to,
is kept in eight bits from frame to frame, which saves three quarters of the passes over memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.openvino_passes import PART

Range = tuple[float, float]  # the least and the largest value of a tensor
Ranges = Mapping[str, Range | None]  # of convolutions' inputs, by name; None: stay in float32

_CODES = 255  # largest code of values from zero on
_SIGNED_CODES = 127  # and of values of both signs
_LEVELS = 256
_TO_NHWC = (0, 2, 3, 1)


def quantize_graph(graph: Any, ranges: Ranges, *, queues: bool) -> Any:
    """Let a function's convolutions compute in eight bits, in place; return the graph.

    Args:
        graph: from :func:`~vsrcli.inference.openvino_passes.optimize_graph`, features lying as frames do.
        ranges: of all its convolutions.
        queues: all arguments but the first, and all results but the first, are feature queues. Where all
            convolutions of an entry are quantized, with one range from zero on, it becomes uint8.

    Raises:
        EngineError: a convolution has no range: those of another network, or of another version's.
    """
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]
    for node in convolutions:
        if node.get_friendly_name() not in ranges:
            raise EngineError(
                f"eight-bit ranges lack the convolution {node.get_friendly_name()!r}: they are those of "
                "another version; calibrate again, or use --precision fp32"
            )
    chosen = {
        node.get_name(): found for node in convolutions if (found := ranges[node.get_friendly_name()])
    }
    quantized: dict[tuple[Any, ...], Any] = {}
    if queues:
        _hand_on_codes(graph, chosen, quantized)
    for node in convolutions:
        if node.get_name() not in chosen:
            continue
        low, high = chosen[node.get_name()]
        features = node.input_value(0)
        if not _is_dequantized(features):
            key = (*_key(features), low, high)
            if key not in quantized:
                quantized[key] = _fake_quantize(features, low, high, *_interval(low, high)).output(0)
            node.input(0).replace_source_output(quantized[key])
        node.input(1).replace_source_output(_quantized_weights(node.input_value(1).get_node().data))
    graph.validate_nodes_and_infer_types()
    return graph


def queue_layers(graph: Any) -> set[str]:
    """Return the names of the layers that read feature queues, in the graph of ``advance``."""
    return {layer for layer, parts in _layers(graph).items() if _entries_before(graph, parts)}


def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as their codes show them, see :func:`quantize_graph`."""
    first, last = _interval(low, high)
    step = (last - first) / (_LEVELS - 1)
    return np.rint((np.clip(values, first, last) - first) / step) * step + first


def layer_of(convolution: str) -> str:
    """Return the name of the layer that a convolution computes a part of."""
    return convolution.partition(PART)[0]


def _hand_on_codes(graph: Any, chosen: Mapping[str, Range], quantized: dict[tuple[Any, ...], Any]) -> None:
    """Let queue entries be codes, as arguments and as results."""
    from openvino import Type, opset13

    for parts in _layers(graph).values():
        entries = _entries_before(graph, parts)
        limits = {chosen.get(part.get_name()) for part in parts}
        found = limits.pop()
        if not entries or limits or found is None or found[0] < 0:
            continue
        scale = opset13.constant(np.float32(found[1] / _CODES))
        for entry in entries:
            readers = list(entry.output(0).get_target_inputs())
            entry.set_element_type(Type.u8)
            entry.validate_and_infer_types()
            features = opset13.multiply(opset13.convert(entry, "f32"), scale)
            for reader in readers:
                reader.replace_source_output(features.output(0))
        for part in parts:
            for result in _results_of(part.input_value(0)):
                features = opset13.transpose(part.input_value(0), opset13.constant(np.array(_TO_NHWC)))
                codes = _fake_quantize(features.output(0), *found, 0.0, _CODES)
                result.input(0).replace_source_output(opset13.convert(codes, "u8").output(0))
    graph.validate_nodes_and_infer_types()


def _layers(graph: Any) -> dict[str, list[Any]]:
    """Return the convolutions of each layer."""
    layers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            layers[layer_of(node.get_friendly_name())].append(node)
    return layers


def _entries_before(graph: Any, convolutions: list[Any]) -> list[Any]:
    """Return the arguments but the first that convolutions read."""
    entries = {node.get_name() for node in graph.get_parameters()[1:]}
    found = [_argument_before(node) for node in convolutions]
    return [node for node in found if node is not None and node.get_name() in entries]


def _argument_before(convolution: Any) -> Any:
    """Return the function's argument that a convolution reads; None if it reads something else."""
    node = convolution.input_value(0).get_node()
    if node.get_type_name() == "Transpose":
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Parameter" else None


def _results_of(features: Any) -> list[Any]:
    """Return the function's results that are features, transposed."""
    transposed = [each.get_node() for each in features.get_target_inputs()]
    readers = [
        reader.get_node()
        for node in transposed
        if node.get_type_name() == "Transpose"
        for reader in node.output(0).get_target_inputs()
    ]
    return [node for node in readers if node.get_type_name() == "Result"]


def _is_dequantized(features: Any) -> bool:
    """Return whether features are those of a queue entry in eight bits."""
    node = features.get_node()
    for kind in ("Transpose", "Multiply", "Convert"):
        if node.get_type_name() != kind:
            return False
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Parameter"


def _key(value: Any) -> tuple[Any, ...]:
    return value.get_node().get_name(), value.get_index()


def _interval(low: float, high: float) -> Range:
    """Return the values of the least and the largest code."""
    if low >= 0:
        return 0.0, high
    largest = max(high, -low)
    return -largest * (_SIGNED_CODES + 1) / _SIGNED_CODES, largest


def _fake_quantize(features: Any, low: float, high: float, first: float, last: float) -> Any:
    """Return features rounded to 256 values of their range, which are shown as ``first`` to ``last``."""
    from openvino import opset13

    limits = [opset13.constant(np.float32(each)) for each in (*_interval(low, high), first, last)]
    return opset13.fake_quantize(features, *limits, _LEVELS)


def _quantized_weights(weights: np.ndarray) -> Any:
    """Return a kernel (K, C, rows, columns) as eight-bit numbers times a scale of each output channel."""
    from openvino import opset13

    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / _SIGNED_CODES
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    codes = np.rint(weights / scale).astype(np.int8)
    product = opset13.multiply(opset13.convert(opset13.constant(codes), "f32"), opset13.constant(scale))
    return product.output(0)
