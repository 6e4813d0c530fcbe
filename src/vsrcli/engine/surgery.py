"""Graphs as OpenVINO likes them: the same numbers, fewer passes over memory."""

from __future__ import annotations

from typing import Any

import numpy as np

_CHANNELS_SECOND = (0, 3, 1, 2)  # of channels last: what convolutions want


def simplify(graph: Any) -> Any:
    """The graph of a network, changed in place and returned.

    What depends on weights alone is computed now. A convolution of features side by side becomes a sum of
    convolutions, each of which takes its features where they lie; putting them side by side takes longer than
    the sums, which the convolutions do on the way. Keras keeps channels last and OpenVINO's convolutions want
    them second, so each comes with two transpositions, which the CPU plugin carries out. The pass that moves
    them to the graph's ends, where most cancel, is that of OpenVINO's reader of TensorFlow graphs, which have
    the same habit; it works on any graph.
    """
    from openvino.frontend import FrontEndManager
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    _take_apart(graph)
    FrontEndManager().load_by_framework("tf").normalize(graph)
    return graph


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
    if moved.get_type_name() != "Transpose":
        return None
    order, joined = moved.input_value(1).get_node(), moved.input_value(0).get_node()
    if joined.get_type_name() != "Concat" or order.get_type_name() != "Constant":
        return None
    last = joined.get_attributes()["axis"] in (-1, 3)
    return joined if last and tuple(order.data) == _CHANNELS_SECOND else None
