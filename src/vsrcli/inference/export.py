"""A network's functions as OpenVINO graphs: run in a process of its own, which another one can throw away.

    python -m vsrcli.inference.export < request.json

Keras has a backend that builds OpenVINO graphs from ``keras.ops``, so the networks' own code is the only
description of them. A backend is chosen once for a process, and Keras takes seconds to start: hence a child
process, once for each network and frame size. TensorFlow is kept out of it.

The request is an object with ``weights``, ``height``, ``width``, ``rows`` (of a band), ``folder`` and
``precision``; the answer, one line on stdout, an object that is empty or has ``error`` (a class of
:mod:`vsrcli.errors`) and ``message``.
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

from vsrcli.errors import EngineError, VsrError
from vsrcli.inference.bands import plan_bands
from vsrcli.inference.parts import TensorSpec, functions, shapes_of, signatures
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

    from vsrcli.inference.surgery import optimize_graph

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
