"""Networks as ONNX files that carry everything a stream needs: one graph, and a manifest in its metadata.

    python -m vsrcli.inference.onnx_export < request.json

The graph of a network with a state takes the newest frame, the frame in the middle of the window, the queues
of features and, of a recurrent network, its hidden state and feedback; it returns the upscaled middle frame
and what enters the next call. A window that is not full yet moves on by the queues alone: whoever calls the
graph then keeps hidden state and feedback as they were. Inside, the graph consists of the functions of
:mod:`vsrcli.inference.functions`. The manifest names the arrays between them, so that
:func:`extract_function` gets each of them back, and streams, bands and resuming are those of the network
itself.

Keras runs in a child process, on its OpenVINO backend where that is installed: it starts in less time than
TensorFlow. The request is an object with ``weights`` and ``target``; the response is that of
:mod:`vsrcli.inference.openvino_export`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vsrcli._version import __version__
from vsrcli.errors import EngineError, ModelError, OutOfMemoryError, VsrError
from vsrcli.inference.functions import (
    BORDER,
    NetworkShapes,
    functions,
    require_finite,
    shapes_of_model,
)
from vsrcli.inference.onnx_graph import FIRST, HEIGHT, IR_VERSION, LAST, OPSET, WIDTH, GraphBuilder
from vsrcli.inference.onnx_operations import OPERATIONS
from vsrcli.models.architectures import architecture
from vsrcli.models.imported import ModelDescription, files_sha256, is_imported
from vsrcli.models.network_files import build_network
from vsrcli.models.weights import Weights, load_model, read_weights
from vsrcli.system.processes import run_process
from vsrcli.system.resources import disable_openvino_telemetry

MANIFEST_KEY = "vsr"  # in metadata_props
MANIFEST_VERSION = 1
_STATE_KINDS = ("cached", "recurrent")
_Tensor = tuple[str, tuple[int, ...], str]  # name, shape with the symbols' sides, order of axes


@dataclass(frozen=True)
class Manifest:
    """What an export states about its network.

    Attributes:
        content: the object as read.
        shapes: of the network.
        functions: name -> names of its arguments and of its results.
        orders: name of an array -> ``nchw`` or ``nhwc``.
    """

    content: Mapping[str, Any]
    shapes: NetworkShapes
    functions: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    orders: Mapping[str, str]


def parse_manifest(text: str) -> Manifest:
    """Return a manifest.

    Raises:
        ModelError: it is damaged, or of a later version.
    """
    try:
        content = json.loads(text)
        if content["format"] != MANIFEST_VERSION:
            raise ModelError(
                f"the file has a manifest of version {content['format']}, and vsr {__version__} reads "
                f"version {MANIFEST_VERSION}: use a newer vsr, or export it again"
            )
        if "architecture" in content:  # else a network of somebody else, in the cache
            _ = architecture_of(content), content["sha256"]
        queues = tuple((int(length), int(channels)) for length, channels in content["queues"])
        sizes = {name: int(content[name]) for name in ("scale", "levels", "width", "head")}
        named = {
            name: (tuple(each["arguments"]), tuple(each["results"]))
            for name, each in content["functions"].items()
        }
        shapes = NetworkShapes(str(content["kind"]), queues=queues, **sizes)
        return Manifest(content, shapes, named, dict(content["orders"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the file's manifest is damaged ({error}): export the network again") from error


def architecture_of(content: Mapping[str, Any]) -> Any:
    """Return the :class:`~vsrcli.models.architectures.Architecture` that a manifest names."""
    return architecture(str(content["architecture"])).with_sizes(content["options"])


def describe_export(path: Path, manifest: str) -> ModelDescription:
    """Describe an export of this program by its manifest, without running it.

    Args:
        path: of the file.
        manifest: as in the file's metadata.

    Raises:
        ModelError: the manifest is damaged.
    """
    parsed = parse_manifest(manifest)
    content, known = parsed.content, architecture_of(parsed.content)
    return ModelDescription(
        format="onnx",
        architecture=str(content["architecture"]),
        sha256=files_sha256(path),
        kind="functions",
        scale=parsed.shapes.scale,
        parameters=int(content.get("parameters", 0)),
        frames=2 * parsed.shapes.levels + 1,
        overlap=known.radius(),
        multiply_adds=known.multiply_adds(parsed.shapes.scale),
        bytes_per_pixel=known.bytes_per_pixel,
        licence=str(content.get("licence", "")),
        author=str(content.get("author", "")),
        source=f"{content.get('name', '')}, exported by vsr {content.get('vsr', '')}".strip(", "),
        summary=known.summary,
        manifest=manifest,
    )


def read_manifest(model: Any) -> str:
    """Return the manifest of an ``onnx.ModelProto``, or an empty string."""
    return next((each.value for each in model.metadata_props if each.key == MANIFEST_KEY), "")


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
    child = run_process(
        [sys.executable, "-m", __name__],
        input=json.dumps({"weights": str(source), "target": str(target)}),
        env={**os.environ, **backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    try:
        response = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        response = _failure(EngineError, f"the process that builds it ended with {child.returncode}")
    if response:
        error = getattr(import_module("vsrcli.errors"), response["error"])
        message = response["message"]
        if error is EngineError:
            message = f"{name} cannot become ONNX ({message}): use --engine keras"
        raise error(message, details=child.stderr[-2000:])


def require_onnx() -> None:
    """Raise EngineError if the package ``onnx`` is not installed."""
    if find_spec("onnx") is None:
        raise EngineError(
            "ONNX files need a package that is not installed: pip install 'vsrcli[onnxruntime]'"
        )


def main() -> None:
    """Handle the request on stdin."""
    request = json.loads(sys.stdin.read())
    response: dict[str, str] = {}
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no response
        try:
            _build(Path(request["weights"]), Path(request["target"]))
        except VsrError as error:
            response = _failure(type(error), str(error))
        except MemoryError:
            response = _failure(OutOfMemoryError, "not enough memory to build the network")
        except Exception as error:  # of Keras: the parent names the remedy
            reason = (str(error).splitlines() or [""])[0]
            response = _failure(EngineError, f"{type(error).__name__}: {reason}")
    print(json.dumps(response), flush=True)


def export_model(model: Any, description: Mapping[str, Any], shapes: NetworkShapes | None = None) -> Any:
    """Return a built network as an ``onnx.ModelProto``.

    Args:
        model: from a ``build`` of :mod:`vsrcli.models`, or somebody else's in ``keras.ops``.
        description: what the manifest shall state besides names and shapes.
        shapes: of the network; by default as it states them.

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
            name, _function(model, shapes, name), arguments, [(each[0], each[2]) for each in results]
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
    return _model_proto(proto, {MANIFEST_KEY: json.dumps(content)})


def extract_function(model: Any, manifest: Manifest, name: str) -> bytes:
    """Return one function of an export as an ONNX file of its own.

    Args:
        model: ``onnx.ModelProto`` of the export.
        manifest: of it.
        name: of the function.

    Raises:
        ModelError: the graph lacks an array that the manifest names.
    """
    from onnx import helper

    arguments, results = manifest.functions[name]
    producers = {output: node for node in model.graph.node for output in node.output}
    constants = {each.name: each for each in model.graph.initializer}
    needed: set[int] = set()
    used: set[str] = set()
    stack = list(results)
    while stack:
        array = stack.pop()
        if array in arguments or array in used or not array:
            continue
        used.add(array)
        if array in constants:
            continue
        if array not in producers:
            raise _changed_error(repr(array))
        node = producers[array]
        if id(node) not in needed:
            needed.add(id(node))
            stack += node.input
    infos = {each.name: each for each in (*model.graph.input, *model.graph.output, *model.graph.value_info)}
    try:
        graph = helper.make_graph(
            [node for node in model.graph.node if id(node) in needed],
            name,
            [infos[each] for each in arguments],
            [infos[each] for each in results],
            [each for key, each in constants.items() if key in used],
        )
    except KeyError as error:
        raise _changed_error(str(error)) from error
    return _model_proto(graph, {}).SerializeToString()


def _changed_error(array: str) -> ModelError:
    return ModelError(f"the file was changed since its export: {array} is missing; export it again")


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
        state = [features("hidden", shapes.width), features("feedback", feedback_channels)]
        plan["step"] = ([merged, *state], [features("new_hidden", shapes.width), x])
        results = [result, features("new_feedback", feedback_channels)]
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
    queued = [f"queue{level}_{i}" for level, (length, _) in enumerate(shapes.queues) for i in range(length)]
    newest = [f"newest{level}" for level in range(len(shapes.queues))]
    inputs, outputs = ["frame", "centre", *queued], ["result", *newest]
    if shapes.kind == "recurrent":
        inputs, outputs = [*inputs, "hidden", "feedback"], [*outputs, "new_hidden", "new_feedback"]
    return inputs, outputs


def _function(model: Any, shapes: NetworkShapes, name: str) -> Any:
    if name == "pad":
        from vsrcli.models.layers import pad_border

        return pad_border
    return functions(model, shapes, HEIGHT, WIDTH)[name]


def _value_info(tensor: _Tensor, scale: int) -> Any:
    from onnx import TensorProto, helper

    name, shape, order = tensor
    suffix = {"result": f"_x{scale}", "padded": "_padded"}.get(name, "")
    sides: list[Any] = [*shape[:-3], f"height{suffix}", f"width{suffix}", shape[-1]]
    if order == FIRST:
        sides = [sides[0], sides[-1], *sides[1:-1]]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)


def _model_proto(graph: Any, metadata: dict[str, str]) -> Any:
    from onnx import helper

    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="vsr",
        producer_version=__version__,
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, metadata)
    return model


def _build(source: Path, target: Path) -> None:
    if os.environ.get("KERAS_BACKEND") == "openvino":
        sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras works without; it takes seconds
        disable_openvino_telemetry()
    import onnx

    if is_imported(str(source)):
        model, description = build_network(source), {"name": source.stem}
        shapes = NetworkShapes("window", model.scale, levels=model.levels)
    else:
        weights = read_weights(source)
        model, description = load_model(weights), manifest_fields(weights)
        shapes = shapes_of_model(model)
        if shapes.kind == "window":
            shapes = NetworkShapes("window", weights.scale, levels=shapes.levels)
    for array in model.get_weights():
        require_finite(array)
    description = {**description, "parameters": sum(array.size for array in model.get_weights())}
    onnx.save(export_model(model, description, shapes), target)


def manifest_fields(weights: Weights) -> dict[str, Any]:
    """Return what a manifest states of a network's card."""
    card = weights.card
    kept = {key: card[key] for key in ("degradation", "licence", "author") if key in card}
    return {
        "name": weights.name,
        "architecture": card["architecture"],
        "options": dict(weights.architecture.options),
        "phase": card.get("phase", "centre"),
        "sha256": card["sha256"],
        **kept,
    }


def _openvino_runs_keras() -> bool:
    return all(find_spec(name) is not None for name in ("openvino", "scipy"))


def _failure(error: type[VsrError], message: str) -> dict[str, str]:
    return {"error": error.__name__, "message": message}


if __name__ == "__main__":
    main()
