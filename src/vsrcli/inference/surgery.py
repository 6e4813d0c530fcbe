"""Graphs as OpenVINO likes them: the same numbers, fewer passes over memory."""

from __future__ import annotations

from typing import Any

import numpy as np

_CHANNELS_SECOND = (0, 3, 1, 2)  # of channels last: what convolutions want
_THERE_AND_BACK = (0, 1, 2, 3)
_LIMITS = {"Minimum": "minimum", "Maximum": "maximum"}  # operations, and their names in opset13


def optimize_graph(graph: Any) -> Any:
    """The graph of a network, changed in place and returned.

    What depends on weights alone is computed now. A convolution of features side by side becomes a sum of
    convolutions, each of which takes its features where they lie; putting them side by side takes longer than
    the sums, which the convolutions do on the way. Keras keeps channels last and OpenVINO's convolutions want
    them second, so each comes with two transpositions, which the CPU plugin carries out. The pass that moves
    them to the graph's ends, where most cancel, is that of OpenVINO's reader of TensorFlow graphs, which have
    the same habit; it works on any graph. It leaves those after features that are also a result.
    """
    from openvino.frontend import FrontEndManager
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    _take_apart(graph)
    _add_before_reshaping(graph)
    FrontEndManager().load_by_framework("tf").normalize(graph)
    _cancel(graph)
    _limit_results_last(graph)
    return graph


def _add_before_reshaping(graph: Any) -> None:
    """A sum of two arrays reshaped alike: a convolution adds on its way, before a reshape only."""
    from openvino import opset13

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Add":
            continue
        first, second = (node.input_value(number).get_node() for number in range(2))
        if (first.get_type_name(), second.get_type_name()) != ("Reshape", "Reshape"):
            continue
        before = [each.input_value(0) for each in (first, second)]
        if before[0].get_shape() == before[1].get_shape() and node.get_shape() == first.get_shape():
            total = opset13.add(*before)
            node.output(0).replace(opset13.reshape(total, first.input_value(1), False).output(0))
    graph.validate_nodes_and_infer_types()


def _cancel(graph: Any) -> None:
    """Transpositions that undo one another."""
    for node in graph.get_ordered_ops():
        before = node.input_value(0).get_node() if node.get_input_size() else node
        orders = _order(before), _order(node)
        if all(orders) and tuple(orders[0][each] for each in orders[1]) == _THERE_AND_BACK:
            node.output(0).replace(before.input_value(0))
    graph.validate_nodes_and_infer_types()


def _limit_results_last(graph: Any) -> None:
    """Features that are both a result and used further on, cut off at a limit: done for the result apart.

    A result that is nothing but features transposed for channels last is copied, twice, even though they lie
    so already; one that is computed from them is written where it belongs.
    """
    from openvino import opset13

    for result in graph.get_results():
        moved = result.input_value(0).get_node()
        limits: list[Any] = []
        if not _order(moved) or len(moved.input_value(0).get_target_inputs()) == 1:
            continue
        features = moved.input_value(0)
        while (made := _LIMITS.get(features.get_node().get_type_name())) and _is_number(features.get_node()):
            limits.append((made, features.get_node().input_value(1)))
            features = features.get_node().input_value(0)
        if limits:
            again: Any = opset13.transpose(features, moved.input_value(1))
            for made, number in reversed(limits):
                again = getattr(opset13, made)(again, number)
            moved.output(0).replace(again.output(0))
    graph.validate_nodes_and_infer_types()


def _is_number(limit: Any) -> bool:
    number = limit.input_value(1).get_node()
    return number.get_type_name() == "Constant" and number.data.size == 1


def _order(node: Any) -> tuple[int, ...]:
    """Of a transposition's axes, if it is fixed; of anything else none."""
    if node.get_type_name() != "Transpose":
        return ()
    order = node.input_value(1).get_node()
    return tuple(order.data) if order.get_type_name() == "Constant" else ()


def _take_apart(graph: Any) -> None:
    """Convolutions of a concatenation along channels."""
    from openvino import opset13

    for node in graph.get_ordered_ops():
        joined = _joined(node)
        if joined is None:
            continue
        weights, settings = node.input_value(1).get_node().data, node.get_attributes()
        total: Any = None
        first = 0
        for number in range(joined.get_input_size()):
            part = joined.input_value(number)
            last = first + part.get_shape()[-1]
            moved = opset13.transpose(part, opset13.constant(np.array(_CHANNELS_SECOND)))
            filtered = opset13.convolution(
                moved,
                opset13.constant(np.ascontiguousarray(weights[:, first:last])),
                settings["strides"],
                settings["pads_begin"],
                settings["pads_end"],
                settings["dilations"],
                settings["auto_pad"],
            )
            total = filtered if total is None else opset13.add(total, filtered)
            first = last
        node.output(0).replace(total.output(0))
    graph.validate_nodes_and_infer_types()


def _joined(node: Any) -> Any:
    """The concatenation along the last axis that a convolution with fixed weights takes, or None."""
    if node.get_type_name() != "Convolution" or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    moved = node.input_value(0).get_node()
    if _order(moved) != _CHANNELS_SECOND:
        return None
    joined = moved.input_value(0).get_node()
    last = joined.get_type_name() == "Concat" and joined.get_attributes()["axis"] in (-1, 3)
    return joined if last else None
