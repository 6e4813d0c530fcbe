"""Export of a network's functions as OpenVINO graphs, in a child process.

    python -m vsrcli.inference.openvino_export < request.json

Keras has a backend that builds OpenVINO graphs from ``keras.ops``, so the networks' own code is their only
description. A process has one Keras backend, and Keras takes seconds to start: hence a child process, once
for each network and frame size. It runs without TensorFlow.

The request (see :mod:`vsrcli.system.child`) is an object with ``weights``, ``height``, ``width``, ``rows``
(of a band), ``folder`` and ``precision``; the answer is null.

:func:`optimize_graph` then rewrites each graph for OpenVINO: the same numbers, fewer passes over memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.inference.functions import (
    TensorSpec,
    functions,
    plan_bands,
    require_finite,
    shapes_of,
    shapes_of_model,
    signatures,
)
from vsrcli.inference.graph_cache import build_in_child
from vsrcli.models.imported import ImportedModel, is_imported
from vsrcli.models.network_files import build_network
from vsrcli.models.weights import Weights, load_model, read_weights
from vsrcli.system.child import answer_request
from vsrcli.system.resources import disable_openvino_telemetry

_NHWC_TO_NCHW = (0, 3, 1, 2)  # transposition before a convolution
_IDENTITY = (0, 1, 2, 3)
_CLIPPING = {"Minimum": "minimum", "Maximum": "maximum"}  # operations, and their names in opset13


def export_graphs(
    weights: Weights | ImportedModel,
    height: int,
    width: int,
    rows: int,
    folder: Path,
    precision: str = "fp32",
) -> None:
    """Write a network's graphs for frames of one size, ``NAME.xml`` and ``NAME.bin`` for each function.

    Args:
        weights: of the network.
        height, width: of the frames.
        rows: of a band of the output stage.
        folder: to write to.
        precision: to compute in later; the graphs themselves are float32.

    Raises:
        ModelError: the weight file is damaged or does not fit its card.
        EngineError: the child process could not build them.
    """
    request = {"weights": str(weights.path), "height": height, "width": width, "rows": rows}
    build_in_child(
        __name__,
        {**request, "folder": str(folder), "precision": precision},
        f"OpenVINO cannot take {weights.name}",
        {"KERAS_BACKEND": "openvino"},
    )


def main() -> None:
    """Handle the request on stdin."""
    answer_request(_build)


def _build(request: dict[str, Any]) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras works without; it takes seconds
    disable_openvino_telemetry()
    import openvino

    path, height, width = Path(request["weights"]), request["height"], request["width"]
    bands = plan_bands(height, width, request["rows"] * width)
    if is_imported(str(path)):
        model = build_network(path)
        shapes = shapes_of_model(model)
    else:
        weights = read_weights(path)
        model = load_model(weights)
        shapes = shapes_of(weights.architecture, weights.scale, request["precision"])
    for array in model.get_weights():  # OpenVINO's ReLU turns NaN into zero, so check before
        require_finite(array)
    by_name = functions(model, shapes, height, width)
    for name, arguments in signatures(shapes, height, width, bands).items():
        graph = optimize_graph(trace(by_name[name], arguments))
        openvino.save_model(graph, Path(request["folder"]) / f"{name}.xml", compress_to_fp16=False)


def trace(function: Callable[..., Any], arguments: tuple[TensorSpec, ...]) -> Any:
    """Return a function in ``keras.ops`` as an ``openvino.Model``; Keras must be on its OpenVINO backend."""
    import openvino
    from keras.src.backend.openvino.core import OpenVINOKerasTensor, get_ov_output
    from openvino import opset13

    parameters = [opset13.parameter(list(spec.shape), np.float32) for spec in arguments]
    outputs = function(*(OpenVINOKerasTensor(parameter.output(0)) for parameter in parameters))
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    results: Any = [opset13.result(get_ov_output(output)) for output in outputs]
    return openvino.Model(results, parameters)  # type: ignore[misc] # its own stub contradicts it


def optimize_graph(graph: Any) -> Any:
    """Optimize a network's graph in place; return it.

    - Values that depend on weights alone are computed now.
    - A convolution of concatenated features becomes a sum of convolutions, each of which reads its features
      in place: concatenating takes longer than the sums, which the convolutions do on the way.
    - Keras has channels last, OpenVINO's convolutions have them second, so each comes with two transpositions
      that the CPU plugin would carry out. The pass that moves them to the graph's ends, where most cancel, is
      that of OpenVINO's reader of TensorFlow graphs, which have the same layout; it works on any graph. It
      leaves transpositions of features that are also a result; :func:`_clip_results_separately` handles
      these.
    """
    from openvino.frontend import FrontEndManager
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    _split_concatenations(graph)
    _add_before_reshaping(graph)
    FrontEndManager().load_by_framework("tf").normalize(graph)
    _cancel_transpositions(graph)
    _clip_results_separately(graph)
    return graph


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


def _has_scalar_limit(node: Any) -> bool:
    limit = node.input_value(1).get_node()
    return limit.get_type_name() == "Constant" and limit.data.size == 1


def _axes_order(node: Any) -> tuple[int, ...]:
    """Return the axes of a constant transposition; of any other node none."""
    if node.get_type_name() != "Transpose":
        return ()
    order = node.input_value(1).get_node()
    return tuple(order.data) if order.get_type_name() == "Constant" else ()


if __name__ == "__main__":
    main()
