"""Export of a network's functions as OpenVINO graphs, in a child process.

    python -m vsrcli.inference.openvino_export < request.json

Keras has a backend that builds OpenVINO graphs from ``keras.ops``, so the networks' own code is their only
description. A process has one Keras backend, and Keras takes seconds to start: hence a child process. It runs
without TensorFlow.

Networks that encode each frame once are exported as templates, once for all frame sizes and all weights
(:mod:`vsrcli.inference.openvino_templates`); the others for one size, with their weights. A request (see
:mod:`vsrcli.system.child`) is an object with ``folder`` and either ``architecture``, ``options``, ``scale``,
``phase`` and ``precision``, or ``weights``, ``height``, ``width``, ``rows`` (of a band) and ``precision``.
The answer is null.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.inference.functions import (
    NetworkShapes,
    TensorSpec,
    functions,
    plan_bands,
    require_finite,
    shapes_of,
    shapes_of_model,
    signatures,
)
from vsrcli.inference.graph_cache import build_in_child
from vsrcli.inference.openvino_passes import fold_constants, optimize_graph
from vsrcli.models.architectures import architecture
from vsrcli.models.costs import DUF_ROWS
from vsrcli.models.imported import ImportedModel, is_imported
from vsrcli.models.minimal_filtering import transform_kernel
from vsrcli.models.network_files import build_network
from vsrcli.models.weights import Weights, load_model, read_weights
from vsrcli.system.child import answer_request
from vsrcli.system.files import temporary_folder
from vsrcli.system.resources import disable_openvino_telemetry

HEIGHT, WIDTH = "height", "width"  # inputs of a template: the frame's sides
TRANSFORMED = "transformed "  # before the name of an array: its kernel for Winograd's filtering
ARRAYS = "arrays.json"  # shapes of the weight file's arrays, by the names of a template's inputs
_FRAME = 4  # sides that signatures are taken of; a template's are free


def export_templates(weights: Weights, precision: str, folder: Path) -> None:
    """Write the templates of a network: ``NAME.xml`` and ``NAME.bin`` for each function, and ``ARRAYS``.

    Args:
        weights: any of the network; they are not read.
        precision: to compute in later, which decides how features are stored.
        folder: to write to.

    Raises:
        EngineError: the child process could not build them.
    """
    known = weights.architecture
    request = {
        "architecture": known.name,
        "options": dict(known.options),
        "scale": weights.scale,
        "phase": str(weights.card.get("phase", "centre")),
    }
    _export({**request, "precision": precision}, weights.name, folder)


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
    _export({**request, "precision": precision}, weights.name, folder)


def _export(request: Mapping[str, Any], name: str, folder: Path) -> None:
    request = {**request, "folder": str(folder)}
    build_in_child(__name__, request, f"OpenVINO cannot take {name}", {"KERAS_BACKEND": "openvino"})


def main() -> None:
    """Handle the request on stdin."""
    answer_request(_build)


def _build(request: dict[str, Any]) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras works without; it takes seconds
    disable_openvino_telemetry()
    if "architecture" in request:
        _build_templates(request)
    else:
        _build_graphs(request)


def _build_templates(request: dict[str, Any]) -> None:
    known, folder = (
        architecture(request["architecture"]).with_sizes(request["options"]),
        Path(request["folder"]),
    )
    model = known.build(request["scale"], phase=request["phase"])
    shapes = shapes_of(known, request["scale"], request["precision"])
    arrays, used = _array_names(model), {}
    for name, arguments in signatures(shapes, _FRAME, _FRAME, plan_bands(_FRAME, _FRAME)).items():
        graph, inputs = _trace_template(model, shapes, name, arguments, arrays)
        _save(fold_constants(graph), folder, name)
        used |= inputs
    (folder / ARRAYS).write_text(json.dumps(used, sort_keys=True), encoding="utf-8")


def _array_names(model: Any) -> dict[str, str]:
    """Return the name in a weight file of each variable, by its path. Overwrites the weights."""
    import h5py

    for number, variable in enumerate(model.weights):
        variable.assign(np.full(variable.shape, number, np.float32))
    names: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names[model.weights[int(np.asarray(item).flat[0])].path] = name

    with temporary_folder() as folder:
        path = folder / "numbered.weights.h5"
        model.save_weights(path)
        with h5py.File(path) as file:
            file.visititems(visit)
    return names


def _trace_template(
    model: Any,
    shapes: NetworkShapes,
    name: str,
    arguments: tuple[TensorSpec, ...],
    arrays: Mapping[str, str],
) -> tuple[Any, dict[str, list[int]]]:
    """Return a function's template, and the shapes of the arrays that it needs by the names of its inputs."""
    import keras
    import openvino
    from keras.src.backend.openvino.core import OpenVINOKerasTensor, get_ov_output
    from openvino import opset13

    from vsrcli.inference.openvino_layout import FreeWinogradLayout

    def tensor(parameter: Any) -> Any:
        return OpenVINOKerasTensor(parameter.output(0))

    weights = {
        arrays[variable.path]: opset13.parameter(list(variable.shape), np.float32, name=arrays[variable.path])
        for variable in model.weights
    }
    shapes_by_input = {arrays[variable.path]: list(variable.shape) for variable in model.weights}
    layout, sides = None, {}
    if shapes.row_multiple > 1:
        sides = {side: opset13.parameter([], np.int32, name=side) for side in (HEIGHT, WIDTH)}
        kernels = {}
        for variable in model.weights:
            if tuple(variable.shape[:2]) == (3, 3):
                array = TRANSFORMED + arrays[variable.path]
                shape = transform_kernel(np.zeros(variable.shape), DUF_ROWS).shape
                weights[array] = opset13.parameter(list(shape), np.float32, name=array)
                shapes_by_input[array] = list(variable.shape)
                kernels[variable.path] = tensor(weights[array])
        layout = FreeWinogradLayout(tensor(sides[HEIGHT]), tensor(sides[WIDTH]), kernels)
    free = [
        opset13.parameter(openvino.PartialShape([1, -1, -1, spec.shape[-1]]), np.float32)
        for spec in arguments
    ]
    given = [(variable, tensor(weights[arrays[variable.path]])) for variable in model.weights]
    with keras.StatelessScope(state_mapping=given):
        outputs = functions(model, shapes, layout)[name](*map(tensor, free))
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    results: Any = [opset13.result(get_ov_output(output)) for output in outputs]
    inputs = {key: node for key, node in {**weights, **sides}.items() if node.output(0).get_target_inputs()}
    graph = openvino.Model(results, [*free, *inputs.values()])  # type: ignore[misc] # see trace
    return graph, {key: shapes_by_input[key] for key in inputs if key in weights}


def _build_graphs(request: dict[str, Any]) -> None:
    path, height, width = Path(request["weights"]), request["height"], request["width"]
    bands = plan_bands(height, width, request["rows"] * width)
    imported = is_imported(str(path))
    if imported:
        model = build_network(path)
        shapes = shapes_of_model(model)
    else:
        weights = read_weights(path)
        model = load_model(weights)
        shapes = shapes_of(weights.architecture, weights.scale, request["precision"])
    for array in model.get_weights():  # OpenVINO's ReLU turns NaN into zero, so check before
        require_finite(array)
    by_name = functions(model, shapes, clips=not imported)  # see ImportedBackend
    for name, arguments in signatures(shapes, height, width, bands).items():
        _save(optimize_graph(trace(by_name[name], arguments)), Path(request["folder"]), name)


def _save(graph: Any, folder: Path, name: str) -> None:
    import openvino

    openvino.save_model(graph, folder / f"{name}.xml", compress_to_fp16=False)


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


if __name__ == "__main__":
    main()
