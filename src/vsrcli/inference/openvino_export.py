"""A network's functions as OpenVINO graphs: run in a process of its own, which another one can throw away.

    python -m vsrcli.inference.openvino_export < request.json

Keras has a backend that builds OpenVINO graphs from ``keras.ops``, so the networks' own code is the only
description of them. A backend is chosen once for a process, and Keras takes seconds to start: hence a child
process, once for each network and frame size. TensorFlow is kept out of it.

The request is an object with ``weights``, ``height``, ``width``, ``rows`` (of a band), ``folder`` and
``precision``; the answer, one line on stdout, an object that is empty or has ``error`` (a class of
:mod:`vsrcli.errors`) and ``message``.

Graphs as OpenVINO likes them: the same numbers, fewer passes over memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import EngineError, VsrError
from vsrcli.inference.functions import TensorSpec, functions, plan_bands, shapes_of, signatures
from vsrcli.models.weights import Weights, load_model, read_weights
from vsrcli.system.resources import disable_openvino_telemetry


def export_graphs(
    weights: Weights, height: int, width: int, rows: int, folder: Path, precision: str = "fp32"
) -> None:
    """Write the graphs of a network for frames of one size, ``JOURNAL_NAME.xml`` and ``JOURNAL_NAME.bin`` each.

    Args:
        weights: which network.
        height, width: of the frames.
        rows: of a band of the output stage.
        folder: that they are written to.
        precision: that they are for; the graphs themselves are float32.

    Raises:
        ModelError: the weight file is damaged or does not fit its card.
        EngineError: the child could not build them.
    """
    request = {"weights": str(weights.path), "height": height, "width": width, "rows": rows}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({**request, "folder": str(folder), "precision": precision}),
        env={**os.environ, "KERAS_BACKEND": "openvino"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        answer = {
            "error": "EngineError",
            "message": f"the process that builds it ended with {done.returncode}",
        }
    if answer:
        error = getattr(import_module("vsrcli.errors"), answer["error"])
        what = answer["message"]
        if error is EngineError:
            what = f"OpenVINO cannot take {weights.name} ({what}): use --engine keras"
        raise error(what, details=done.stderr[-2000:])


def trace(function: Callable[..., Any], taken: tuple[TensorSpec, ...]) -> Any:
    """A function in ``keras.ops`` as an ``openvino.Model``; Keras must be on its OpenVINO backend."""
    import numpy as np
    import openvino
    from keras.src.backend.openvino.core import OpenVINOKerasTensor, get_ov_output
    from openvino import opset13

    parameters = [opset13.parameter(list(spec.shape), np.float32) for spec in taken]
    given = function(*(OpenVINOKerasTensor(parameter.output(0)) for parameter in parameters))
    given = given if isinstance(given, tuple | list) else (given,)
    results: Any = [opset13.result(get_ov_output(output)) for output in given]
    return openvino.Model(results, parameters)  # type: ignore[misc] # its own stub contradicts it


def main() -> None:
    """Answer the request on stdin."""
    request = json.loads(sys.stdin.read())
    answer: dict[str, str] = {}
    with contextlib.redirect_stdout(sys.stderr):  # whatever libraries print is no answer
        try:
            _build(request)
        except VsrError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            answer = {"error": "OutOfMemory", "message": "not enough memory to build the network"}
        except Exception as error:  # of Keras or OpenVINO: the parent names the remedy
            reason = (str(error).splitlines() or [""])[0]
            answer = {"error": "EngineError", "message": f"{type(error).__name__}: {reason}"}
    print(json.dumps(answer), flush=True)


def _build(request: dict[str, Any]) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras does without; it takes seconds
    disable_openvino_telemetry()
    import openvino

    weights, height, width = read_weights(Path(request["weights"])), request["height"], request["width"]
    bands = plan_bands(height, width, request["rows"] * width)
    sizes = shapes_of(weights.architecture, weights.scale, request["precision"])
    model = load_model(weights)
    _check(model)
    made, taken = functions(model, sizes, height, width), signatures(sizes, height, width, bands)
    for name, specs in taken.items():
        graph = optimize_graph(trace(made[name], specs))
        openvino.save_model(graph, Path(request["folder"]) / f"{name}.xml", compress_to_fp16=False)


def _check(model: Any) -> None:
    """NaN may be lost in OpenVINO, whose ReLU of NaN is zero: look for it before."""
    from vsrcli.inference.backend import require_finite

    for array in model.get_weights():
        require_finite(array)


if __name__ == "__main__":
    main()


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
