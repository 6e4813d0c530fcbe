"""Networks as ONNX files that carry everything a stream needs: one graph, and a manifest in its metadata.

    python -m vsrcli.inference.onnx_export < request.json

The graph of a network with a state takes the newest frame, the frame in the middle of the window, the queues
of features and, of a recurrent network, its hidden state and maybe feedback; it returns the upscaled middle
frame and what enters the next call. A window that is not full yet moves on by the queues alone: whoever calls
the graph then keeps hidden state and feedback as they were. Inside, the graph consists of the functions of
:mod:`vsrcli.inference.functions`; :mod:`vsrcli.inference.onnx_manifest` gets each of them back.

Keras runs in a child process, on its OpenVINO backend where that is installed: it starts in less time than
TensorFlow. The request (see :mod:`vsrcli.system.child`) is an object with ``weights`` and ``target``; the
answer is null.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vsrcli._version import __version__
from vsrcli.errors import EngineError
from vsrcli.inference.functions import (
    BORDER,
    NetworkShapes,
    functions,
    require_finite,
    shapes_of_model,
)
from vsrcli.inference.graph_cache import build_in_child
from vsrcli.inference.onnx_graph import FIRST, HEIGHT, LAST, WIDTH, GraphBuilder
from vsrcli.inference.onnx_manifest import MANIFEST_VERSION, manifest_fields, model_proto
from vsrcli.inference.onnx_operations import OPERATIONS
from vsrcli.models.imported import is_imported
from vsrcli.models.network_files import build_network
from vsrcli.models.onnx_files import MANIFEST_KEY
from vsrcli.models.weights import load_model, read_weights
from vsrcli.system.child import answer_request
from vsrcli.system.resources import disable_openvino_telemetry

_Tensor = tuple[str, tuple[int, ...], str]  # name, shape with the symbols' sides, order of axes


def build_onnx(source: Path, name: str, target: Path) -> None:
    """Write a network as an ONNX file with a manifest, in a child process.

    Args:
        source: a weight file, or somebody else's network in ``keras.ops``.
        name: of the network, for the message of an error.
        target: to write to.

    Raises:
        ModelError: the weight file is damaged or does not fit its card.
        EngineError: a package is missing, or an operation has no counterpart.
    """
    require_onnx()
    backend = {"KERAS_BACKEND": "openvino"} if _openvino_runs_keras() else {}
    request = {"weights": str(source), "target": str(target)}
    build_in_child(__name__, request, f"{name} cannot become ONNX", backend)


def require_onnx() -> None:
    """Raise EngineError if the package ``onnx`` is not installed."""
    if find_spec("onnx") is None:
        raise EngineError(
            "ONNX files need a package that is not installed: pip install 'vsrcli[onnxruntime]'"
        )


def main() -> None:
    """Handle the request on stdin."""
    answer_request(_build)


def export_model(
    model: Any,
    description: Mapping[str, Any],
    shapes: NetworkShapes | None = None,
    *,
    clips: bool = True,
) -> Any:
    """Return a built network as an ``onnx.ModelProto``.

    Args:
        model: from a ``build`` of :mod:`vsrcli.models`, or somebody else's in ``keras.ops``.
        description: what the manifest shall state besides names and shapes.
        shapes: of the network; by default as it states them.
        clips: see :func:`~vsrcli.inference.functions.functions`.

    Raises:
        EngineError: an operation has no counterpart.
    """
    from onnx import helper

    shapes = shapes or shapes_of_model(model)
    graph, plan = GraphBuilder(OPERATIONS), _plan(model, shapes)
    tensors: dict[str, _Tensor] = {}
    for name, (arguments, results) in plan.items():
        tensors.update({each[0]: each for each in (*arguments, *results)})
        graph.add_function(
            name, _function(model, shapes, name, clips), arguments, [(each[0], each[2]) for each in results]
        )
    inputs, outputs = _interface(shapes)
    content = {
        "format": MANIFEST_VERSION,
        **description,
        "vsr": __version__,
        "kind": shapes.kind,
        "scale": shapes.scale,
        "levels": shapes.levels,
        "width": shapes.width,
        "head": shapes.head,
        "queues": shapes.queues,
        **({"multiple": shapes.multiple} if shapes.multiple > 1 else {}),
        **({"aligned": True} if shapes.aligned else {}),
        "inputs": inputs,
        "outputs": outputs,
        "functions": {
            name: {"arguments": [each[0] for each in arguments], "results": [each[0] for each in results]}
            for name, (arguments, results) in plan.items()
        },
        "orders": {name: order for name, _, order in tensors.values()},
    }
    cuts = [name for name in tensors if name not in inputs and name not in outputs]
    proto = helper.make_graph(
        graph.nodes,
        str(content.get("name", "network")),
        [_value_info(tensors[name], shapes.scale) for name in inputs],
        [_value_info(tensors[name], shapes.scale) for name in outputs],
        graph.constants,
        value_info=[_value_info(tensors[name], shapes.scale) for name in cuts],
    )
    return model_proto(proto, {MANIFEST_KEY: json.dumps(content)})


def _plan(model: Any, shapes: NetworkShapes) -> dict[str, tuple[list[_Tensor], list[_Tensor]]]:
    """Return arguments and results of each function, in the order of computation."""
    scale, feedback_channels = shapes.scale, 3 * shapes.scale**2

    def features(name: str, channels: int) -> _Tensor:
        return name, (1, HEIGHT, WIDTH, channels), FIRST

    def frame(name: str, height: int = HEIGHT, width: int = WIDTH) -> _Tensor:
        return name, (1, height, width, 3), LAST

    result = frame("result", scale * HEIGHT, scale * WIDTH)
    if shapes.kind == "window":
        return {"upscale": ([("window", (1, 2 * shapes.levels + 1, HEIGHT, WIDTH, 3), LAST)], [result])}
    if shapes.kind == "stateful":
        results = [result, features("new_hidden", shapes.width)]
        return {"step": ([frame("frame"), features("hidden", shapes.width)], results)}
    queued = [
        features(f"queue{level}_{entry}", channels)
        for level, (length, channels) in enumerate(shapes.queues)
        for entry in range(length)
    ]
    newest = [features(f"newest{level}", channels) for level, (_, channels) in enumerate(shapes.queues)]
    merged, x = features("features", shapes.width), features("head", shapes.head)
    padded = frame("padded", HEIGHT + 2 * BORDER, WIDTH + 2 * BORDER)
    plan = {"advance": ([frame("frame"), *queued], [merged, *newest])}
    if shapes.kind == "recurrent":
        state, results = [features("hidden", shapes.width)], [result]
        if shapes.feedback:
            state.append(features("feedback", feedback_channels))
            results.append(features("new_feedback", feedback_channels))
        plan["step"] = ([merged, *state], [features("new_hidden", shapes.width), x])
    else:
        plan["trunk"] = ([merged], [x])
        results = [result]
    plan["pad"] = ([frame("centre")], [padded])
    plan["reconstruct"] = ([x, padded], results)
    return plan


def _interface(shapes: NetworkShapes) -> tuple[list[str], list[str]]:
    """Return the names of the graph's inputs and outputs."""
    if shapes.kind == "window":
        return ["window"], ["result"]
    if shapes.kind == "stateful":
        return ["frame", "hidden"], ["result", "new_hidden"]
    queued = [f"queue{level}_{i}" for level, (length, _) in enumerate(shapes.queues) for i in range(length)]
    newest = [f"newest{level}" for level in range(len(shapes.queues))]
    inputs, outputs = ["frame", "centre", *queued], ["result", *newest]
    if shapes.kind == "recurrent":
        state = ("hidden", "feedback") if shapes.feedback else ("hidden",)
        inputs, outputs = [*inputs, *state], [*outputs, *(f"new_{name}" for name in state)]
    return inputs, outputs


def _function(model: Any, shapes: NetworkShapes, name: str, clips: bool) -> Any:
    if name == "pad":
        from vsrcli.models.layers import pad_border

        return pad_border
    return functions(model, shapes, clips=clips)[name]


def _value_info(tensor: _Tensor, scale: int) -> Any:
    from onnx import TensorProto, helper

    name, shape, order = tensor
    suffix = {"result": f"_x{scale}", "padded": "_padded"}.get(name, "")
    sides: list[Any] = [*shape[:-3], f"height{suffix}", f"width{suffix}", shape[-1]]
    if order == FIRST:
        sides = [sides[0], sides[-1], *sides[1:-1]]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)


def _build(request: dict[str, Any]) -> None:
    source, target = Path(request["weights"]), Path(request["target"])
    if os.environ.get("KERAS_BACKEND") == "openvino":
        sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras works without; it takes seconds
        disable_openvino_telemetry()
    import onnx

    imported = is_imported(str(source))
    if imported:
        model, description = build_network(source), {"name": source.stem}
        shapes = NetworkShapes("window", model.scale, levels=model.levels)
    else:
        weights = read_weights(source)
        model, description = load_model(weights), manifest_fields(weights)
        shapes = shapes_of_model(model)
        if shapes.kind == "window":
            shapes = replace(shapes, scale=weights.scale, aligned=weights.architecture.aligned)
    for array in model.get_weights():
        require_finite(array)
    description = {**description, "parameters": sum(array.size for array in model.get_weights())}
    onnx.save(export_model(model, description, shapes, clips=not imported), target)  # see ImportedBackend


def _openvino_runs_keras() -> bool:
    return all(find_spec(name) is not None for name in ("openvino", "scipy"))


if __name__ == "__main__":
    main()
