"""Graphs as OpenVINO likes them: the same numbers, fewer passes over memory."""

from __future__ import annotations

from typing import Any


def simplify(graph: Any) -> Any:
    """The graph of a network, changed in place and returned.

    What depends on weights alone is computed now. Keras keeps channels last and OpenVINO's convolutions want
    them second, so each comes with two transpositions, which the CPU plugin carries out. The pass that moves
    them to the graph's ends, where most cancel, is that of OpenVINO's reader of TensorFlow graphs, which have
    the same habit; it works on any graph.
    """
    from openvino.frontend import FrontEndManager
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    FrontEndManager().load_by_framework("tf").normalize(graph)
    return graph
