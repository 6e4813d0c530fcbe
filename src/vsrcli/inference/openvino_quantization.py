"""Quantization of a network's graph: convolutions that OpenVINO's CPU plugin computes in eight bits.

Activations are rounded with a scale of each channel, or one for all. The kernel takes these scales over, so
that the convolution itself has one scale per tensor (as in Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction", ICCV 2019). Weights have one per output channel; zero stays zero.
Products are summed up in 32-bit integers; biases, sums of features and what functions hand on stay in
float32, except for the feature queues of ``advance``: what only convolutions in eight bits read, and features
are added to, is kept in eight bits from frame to frame, which saves three quarters of the passes over memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.int8_ranges import LEVELS, Range, Ranges
from vsrcli.inference.openvino_passes import layer_of

SHOWN = "into "  # before a convolution's name: the name of the result that shows what goes into it
_CODES = LEVELS - 1  # largest code of values from zero on
_LARGEST = 127  # code of a weight
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


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
    chosen = {node.get_name(): found for node in convolutions if (found := ranges[node.get_friendly_name()])}
    if queues:
        _hand_on_codes(graph, chosen)
    quantized: dict[tuple[Any, ...], Any] = {}
    for node in convolutions:
        if (found := chosen.get(node.get_name())) is None:
            continue
        features = node.input_value(0)
        key = features.get_node().get_name(), features.get_index(), found
        if key not in quantized:
            codes = _codes_before(features)
            quantized[key] = _equalized(codes, found) if codes else _quantized_features(features, found)
        node.input(0).replace_source_output(quantized[key])
        kernel = node.input_value(1).get_node().data * _by_channel(found.limits) / max(found.limits)
        node.input(1).replace_source_output(_quantized_weights(kernel))
    graph.validate_nodes_and_infer_types()
    return graph


def show_inputs(graph: Any) -> Any:
    """Make what goes into each convolution a result, too, ``SHOWN`` and the convolution's name; in place.

    Returns:
        The graph; its own results come first.
    """
    from openvino import opset13

    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            result = opset13.result(node.input_value(0))
            result.set_friendly_name(SHOWN + node.get_friendly_name())
            graph.add_results([result])
    return graph


def _hand_on_codes(graph: Any, chosen: Mapping[str, Range]) -> None:
    """Let queue entries be codes, as arguments and as results."""
    from openvino import Type, opset13

    for parts in _layers(graph).values():
        entries, limits = _entries_before(graph, parts), {chosen.get(part.get_name()) for part in parts}
        found = limits.pop()
        if not entries or limits or found is None or found.signed:
            continue
        for entry in entries:
            readers = list(entry.output(0).get_target_inputs())
            entry.set_element_type(Type.u8)
            entry.validate_and_infer_types()
            step = opset13.constant(_by_channel(found.limits, 3) / _CODES)
            features = opset13.multiply(opset13.convert(entry, "f32"), step)
            for reader in readers:
                reader.replace_source_output(features.output(0))
        for part in parts:
            for result in _results_of(part.input_value(0)):
                rounded = _fake_quantize(part.input_value(0), found, 0, _CODES)
                codes = opset13.transpose(rounded, opset13.constant(np.array(_TO_NHWC)))
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


def _codes_before(features: Any) -> Any:
    """Return the codes, (1, rows, columns, C), that features of a queue entry in eight bits are made of; None
    if they are other features.
    """
    node = features.get_node()
    for kind in ("Transpose", "Multiply"):
        if node.get_type_name() != kind:
            return None
        node = node.input_value(0).get_node()
    is_entry = (
        node.get_type_name() == "Convert" and node.input_value(0).get_node().get_type_name() == "Parameter"
    )
    return node if is_entry else None


def _equalized(codes: Any, found: Range) -> Any:
    """Return the features of codes, every channel as if it had the largest limit of all."""
    from openvino import opset13

    features = opset13.multiply(codes, opset13.constant(np.float32(max(found.limits) / _CODES)))
    return opset13.transpose(features, opset13.constant(np.array(_TO_NCHW))).output(0)


def _quantized_features(features: Any, found: Range) -> Any:
    """Return features rounded, every channel as if it had the largest limit of all."""
    from openvino import opset13

    ends = found, min(found.least), max(found.limits)
    node = features.get_node()
    if node.get_type_name() == "Transpose":
        rounded = _fake_quantize(node.input_value(0), *ends, axis=3)
        return opset13.transpose(rounded, node.input_value(1)).output(0)
    return _fake_quantize(features, *ends).output(0)


def _fake_quantize(features: Any, found: Range, first: float, last: float, axis: int = 1) -> Any:
    """Return features rounded to 256 values of their range, which are shown as ``first`` to ``last``."""
    from openvino import opset13

    ends = [
        _by_channel(found.least, axis),
        _by_channel(found.limits, axis),
        np.float32(first),
        np.float32(last),
    ]
    return opset13.fake_quantize(features, *map(opset13.constant, ends), LEVELS)


def _by_channel(values: Sequence[float], axis: int = 1) -> np.ndarray:
    """Return values of channels, or one for all, so that they broadcast to an array of four axes."""
    shape = [1, 1, 1, 1]
    shape[axis] = len(values)
    return np.asarray(values, np.float32).reshape(shape)


def _quantized_weights(weights: np.ndarray) -> Any:
    """Return a kernel (K, C, rows, columns) as eight-bit numbers times a scale of each output channel."""
    from openvino import opset13

    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / _LARGEST
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    codes = np.rint(weights / scale).astype(np.int8)
    product = opset13.multiply(opset13.convert(opset13.constant(codes), "f32"), opset13.constant(scale))
    return product.output(0)
