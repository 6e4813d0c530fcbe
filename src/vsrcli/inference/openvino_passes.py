"""Rewriting of a network's graph for OpenVINO's CPU plugin: the same numbers, fewer passes over memory."""

from __future__ import annotations

from typing import Any

import numpy as np

PART = " part "  # before the number of a part in a convolution's name
_NHWC_TO_NCHW = (0, 3, 1, 2)  # transposition before a convolution
_IDENTITY = (0, 1, 2, 3)
_CLIPPING = {"Minimum": "minimum", "Maximum": "maximum"}  # operations, and their names in opset13


def layer_of(convolution: str) -> str:
    """Return the name of the layer that a convolution computes a part of."""
    return convolution.partition(PART)[0]


def optimize_graph(graph: Any) -> Any:
    """Optimize a network's graph in place; return it.

    - Convolutions are called as their kernels, if these are constants with names.
    - Values that depend on weights alone are computed now.
    - A convolution of concatenated features becomes a sum of convolutions, each of which reads its features
      in place: concatenating takes longer than the sums, which the convolutions do on the way. They are
      called parts 0, 1, ... of the kernel.
    - Keras has channels last, OpenVINO's convolutions have them second, so each comes with two transpositions
      that the CPU plugin would carry out. The pass that moves them to the graph's ends, where most cancel, is
      that of OpenVINO's reader of TensorFlow graphs, which have the same layout; it works on any graph. It
      leaves transpositions of features that are also a result; :func:`_clip_results_separately` handles
      these.
    """
    from openvino.frontend import FrontEndManager

    _name_convolutions(graph)
    fold_constants(graph)
    _drop_products_with_one(graph)
    _split_concatenations(graph)
    _add_before_reshaping(graph)
    FrontEndManager().load_by_framework("tf").normalize(graph)
    _cancel_transpositions(graph)
    _clip_results_separately(graph)
    return graph


def fold_constants(graph: Any) -> Any:
    """Compute what depends on constants alone now, in place; return the graph."""
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    return graph


def _name_convolutions(graph: Any) -> None:
    """Call convolutions as the constants that their kernels are made of."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            source = node.input_value(1).get_node()
            while source.get_input_size():
                source = source.input_value(0).get_node()
            node.set_friendly_name(source.get_friendly_name())


def _drop_products_with_one(graph: Any) -> None:
    """Replace products with ones, such as a mask that hides nothing, by the other factor."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Multiply":
            continue
        for number in range(2):
            factor, other = node.input_value(number), node.input_value(1 - number)
            is_constant = factor.get_node().get_type_name() == "Constant"
            if is_constant and other.get_shape() == node.get_output_shape(0):
                if np.all(factor.get_node().data == 1):
                    node.output(0).replace(other)
                break
    graph.validate_nodes_and_infer_types()


def _split_concatenations(graph: Any) -> None:
    """Replace convolutions of a concatenation along channels by sums of convolutions."""
    from openvino import opset13

    for node in graph.get_ordered_ops():
        concatenation = _concatenation_before(node)
        if concatenation is None:
            continue
        weights, settings = node.input_value(1).get_node().data, node.get_attributes()
        total: Any = None
        first = 0
        for number in range(concatenation.get_input_size()):
            part = concatenation.input_value(number)
            last = first + part.get_shape()[-1]
            transposed = opset13.transpose(part, opset13.constant(np.array(_NHWC_TO_NCHW)))
            filtered = opset13.convolution(
                transposed,
                opset13.constant(np.ascontiguousarray(weights[:, first:last])),
                settings["strides"],
                settings["pads_begin"],
                settings["pads_end"],
                settings["dilations"],
                settings["auto_pad"],
            )
            filtered.set_friendly_name(f"{node.get_friendly_name()}{PART}{number}")
            total = filtered if total is None else opset13.add(total, filtered)
            first = last
        node.output(0).replace(total.output(0))
    graph.validate_nodes_and_infer_types()


def _concatenation_before(node: Any) -> Any:
    """Return the channel concatenation that a convolution with constant weights reads, or None."""
    if node.get_type_name() != "Convolution" or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    transposition = node.input_value(0).get_node()
    if _axes_order(transposition) != _NHWC_TO_NCHW:
        return None
    before = transposition.input_value(0).get_node()
    is_channels = before.get_type_name() == "Concat" and before.get_attributes()["axis"] in (-1, 3)
    return before if is_channels else None


def _add_before_reshaping(graph: Any) -> None:
    """Reshape the sum of two arrays instead of both: a convolution can add only before a reshape."""
    from openvino import opset13

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Add":
            continue
        first, second = (node.input_value(number).get_node() for number in range(2))
        if (first.get_type_name(), second.get_type_name()) != ("Reshape", "Reshape"):
            continue
        before = [each.input_value(0) for each in (first, second)]
        same = node.get_output_shape(0) == first.get_output_shape(0)
        if same and before[0].get_shape() == before[1].get_shape():
            total = opset13.add(*before)
            copies = bool(first.get_attributes()["special_zero"])
            node.output(0).replace(opset13.reshape(total, first.input_value(1), copies).output(0))
    graph.validate_nodes_and_infer_types()


def _cancel_transpositions(graph: Any) -> None:
    """Remove pairs of transpositions that undo one another."""
    for node in graph.get_ordered_ops():
        before = node.input_value(0).get_node() if node.get_input_size() else node
        orders = _axes_order(before), _axes_order(node)
        if all(orders) and tuple(orders[0][each] for each in orders[1]) == _IDENTITY:
            node.output(0).replace(before.input_value(0))
    graph.validate_nodes_and_infer_types()


def _clip_results_separately(graph: Any) -> None:
    """Clip features that are both a result and used further once more for the result.

    A result that is only a transposition of features to channels last is copied, twice, although they lie so
    in memory already; one that is computed from them is written to its place.
    """
    from openvino import opset13

    for result in graph.get_results():
        transposition = result.input_value(0).get_node()
        limits: list[Any] = []
        if not _axes_order(transposition) or len(transposition.input_value(0).get_target_inputs()) == 1:
            continue
        features = transposition.input_value(0)
        while (name := _CLIPPING.get(features.get_node().get_type_name())) and _has_scalar_limit(
            features.get_node()
        ):
            limits.append((name, features.get_node().input_value(1)))
            features = features.get_node().input_value(0)
        if limits:
            clipped: Any = opset13.transpose(features, transposition.input_value(1))
            for name, limit in reversed(limits):
                clipped = getattr(opset13, name)(clipped, limit)
            transposition.output(0).replace(clipped.output(0))
    graph.validate_nodes_and_infer_types()


def with_bfloat16_features(graph: Any) -> Any:
    """Return a function that takes and returns bfloat16, but pictures, of three channels, in float32."""
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(graph)
    for ports, tensors in ((graph.inputs, steps.input), (graph.outputs, steps.output)):
        for number, port in enumerate(ports):
            if port.get_partial_shape()[-1] != 3:
                tensors(number).tensor().set_element_type(Type.bf16)
    return steps.build()


def _has_scalar_limit(node: Any) -> bool:
    limit = node.input_value(1).get_node()
    return limit.get_type_name() == "Constant" and limit.data.size == 1


def _axes_order(node: Any) -> tuple[int, ...]:
    """Return the axes of a constant transposition; of any other node none."""
    if node.get_type_name() != "Transpose":
        return ()
    order = node.input_value(1).get_node()
    return tuple(order.data) if order.get_type_name() == "Constant" else ()
