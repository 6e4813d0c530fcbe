"""Graphs of a network for frames of any size and any weights, and what becomes of them for one size.

A template is the graph of one function of :mod:`vsrcli.inference.functions` in OpenVINO's format, with free
sides and with the weights as inputs, so that it depends on the sizes of the network's layers alone. Those of
the shipped networks come with the program, the others are built once and cached: to set sizes and weights
takes neither Keras nor the network's code.

:mod:`vsrcli.inference.openvino_shipping` writes the file of the shipped ones.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import ModelError
from vsrcli.inference.functions import BFLOAT16, FLOAT32, TensorSpec, require_finite
from vsrcli.inference.graph_cache import Files
from vsrcli.inference.int8_ranges import Ranges
from vsrcli.inference.openvino_export import ARRAYS, HEIGHT, TRANSFORMED, WIDTH
from vsrcli.inference.openvino_passes import optimize_graph, with_bfloat16_features
from vsrcli.inference.openvino_quantization import quantize_graph, show_inputs
from vsrcli.models.costs import DUF_ROWS
from vsrcli.models.imported import ImportedModel
from vsrcli.models.minimal_filtering import transform_kernel
from vsrcli.models.weights import Weights

SHIPPED = Path(__file__).with_name("openvino_templates.zip")
OUTPUT_STAGE = "reconstruct"  # softmax and the sum of frames: always in float32, as on Keras
KINDS = ("cached", "recurrent")  # of networks that have templates
_SAFE_MAGNITUDE = 33  # power of ten, far from float32's and bfloat16's largest, 38
_FIRST_MAGNITUDE = 2  # of frames and states: both stay below 100
INDEX = "index.json"  # of the shipped file: ``code``, ``templates`` (members of each) and ``bf16``


@dataclass(frozen=True)
class Variant:
    """How a network's functions compute.

    Attributes:
        dtype: of features that they take and return, ``float32`` or ``bfloat16``.
        ranges: for eight bits, in all functions but the output stage; None: none.
        shows_inputs: see :func:`~vsrcli.inference.openvino_quantization.show_inputs`; likewise.
    """

    dtype: str = FLOAT32
    ranges: Ranges | None = None
    shows_inputs: bool = False


class NetworkGraphs:
    """A network's graphs for frames of any size.

    Args:
        weights: of the network.
        files: its templates, from :func:`~vsrcli.inference.openvino_export.export_templates`.
        core: an ``openvino.Core``.

    Raises:
        ModelError: the weights do not fit the network that their card names.
        NonFiniteError: they hold NaN or infinity; OpenVINO's ReLU would turn NaN into zero.

    Attributes:
        stays_finite: no feature can become infinite or NaN, whatever the frames, see :func:`_magnitude`.
    """

    def __init__(self, weights: Weights, files: Files, core: Any) -> None:
        self._files, self._core = files, core
        self._arrays, magnitude = _read_arrays(weights, json.loads(files[ARRAYS]))
        self.stays_finite = magnitude < _SAFE_MAGNITUDE

    def graph(
        self,
        name: str,
        arguments: tuple[TensorSpec, ...],
        height: int,
        width: int,
        variant: Variant | None = None,
    ) -> Any:
        """Return a function as an ``openvino.Model`` for frames of one size.

        Args:
            name: of the function.
            arguments: their shapes, from :func:`~vsrcli.inference.functions.signatures`.
            height, width: of the frame.
            variant: how it computes; None: in float32.

        Raises:
            EngineError: a convolution has no range.
        """
        from openvino import opset13

        graph = self._core.read_model(model=self._files[f"{name}.xml"], weights=self._files[f"{name}.bin"])
        values = {**self._arrays, HEIGHT: np.int32(height), WIDTH: np.int32(width)}
        for parameter in graph.get_parameters():
            value = values.get(parameter.get_friendly_name())
            if value is not None:
                constant = opset13.constant(value)
                constant.set_friendly_name(parameter.get_friendly_name())
                parameter.output(0).replace(constant.output(0))
                graph.remove_parameter(parameter)
        graph.reshape({number: list(spec.shape) for number, spec in enumerate(arguments)})
        graph, variant = optimize_graph(graph), variant or Variant()
        if variant.dtype == BFLOAT16:
            graph = with_bfloat16_features(graph)
        if name == OUTPUT_STAGE:
            return graph
        if variant.ranges is not None:
            quantize_graph(graph, variant.ranges, queues=name == "advance")
        return show_inputs(graph) if variant.shows_inputs else graph


def _read_arrays(weights: Weights, shapes: Mapping[str, list[int]]) -> tuple[dict[str, np.ndarray], float]:
    """Read a weight file's arrays for the templates' inputs, and their :func:`_magnitude`; see
    :class:`NetworkGraphs`."""
    import h5py

    arrays: dict[str, np.ndarray] = {}
    plain_arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(weights.path) as file:
            stored: list[str] = []
            file.visititems(lambda name, item: stored.append(name) if hasattr(item, "shape") else None)
            expected = {name.removeprefix(TRANSFORMED): shape for name, shape in shapes.items()}
            if sorted(stored) != sorted(expected):
                raise ValueError(f"{len(stored)} arrays instead of {len(expected)}, or other ones")
            for name in shapes:
                plain = name.removeprefix(TRANSFORMED)
                array = np.asarray(file[plain], np.float32)
                if list(array.shape) != expected[plain]:
                    raise ValueError(f"{plain} has the shape {array.shape}, not {tuple(expected[plain])}")
                plain_arrays[plain] = require_finite(array)
                arrays[name] = transform_kernel(array, DUF_ROWS) if name.startswith(TRANSFORMED) else array
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{str(weights.path)!r} does not fit {weights.architecture.name}: {reason}; "
            "fetch it and its card again"
        ) from error
    return arrays, _magnitude(list(plain_arrays.values()))


def _magnitude(arrays: Sequence[np.ndarray]) -> float:
    """Return a power of ten that no feature of DUF-S and DUF-R exceeds.

    A layer's sums are at most its inputs' largest value times a kernel's absolute values, added up, and a
    bias; a residual block adds its input. Layer after layer, each factor at least one, this bounds them all.
    It is never near the truth, but it is proof, for weights as training leaves them.
    """
    flat = [np.abs(each).reshape(-1, each.shape[-1]) for each in arrays if each.ndim > 1]
    kernels = np.array([each.sum(axis=0, dtype=np.float64).max() for each in flat])
    bias = max((float(np.abs(each).max()) for each in arrays if each.ndim == 1), default=0.0)
    return _FIRST_MAGNITUDE + float(np.sum(np.log10(1 + kernels + bias)))


def template_key(weights: Weights, row_multiple: int) -> dict[str, object]:
    """Return what a network's templates depend on, besides code and versions.

    Args:
        weights: any of the network.
        row_multiple: see :class:`~vsrcli.inference.functions.NetworkShapes`.
    """
    return {
        "module": weights.architecture.module,
        "options": dict(sorted(weights.architecture.options.items())),
        "scale": weights.scale,
        "phase": str(weights.card.get("phase", "centre")),
        "rows": row_multiple,
    }


def shipped_templates(key: Mapping[str, object]) -> Files | None:
    """Return templates that come with the program; None if there are none for this network, or if the code
    has changed since they were made."""
    index = _shipped()
    if index.get("code") != template_code() or (members := index["templates"].get(key_name(key))) is None:
        return None
    with zipfile.ZipFile(SHIPPED) as archive:
        return {name: archive.read(member) for name, member in members.items()}


def shipped_psnr(weights: Weights | ImportedModel) -> float | None:
    """Return the PSNR in dB of bf16 against fp32 of shipped weights, from
    :func:`~vsrcli.inference.precision.psnr_between` on an x86 processor; None for others."""
    return _shipped().get("bf16", {}).get(weights.card.get("sha256"))


@cache
def _shipped() -> dict[str, Any]:
    """Return the shipped file's index; empty if there is none."""
    try:
        with zipfile.ZipFile(SHIPPED) as archive:
            return json.loads(archive.read(INDEX))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


@cache
def template_code() -> list[str]:
    """Return the hashes of the code that templates are made from."""
    here, models = Path(__file__).parent, Path(__file__).parents[1] / "models"
    names = ("duf_r", "duf_s", "layers", "minimal_filtering", "winograd")
    code = [models / f"{name}.py" for name in names]
    code += [here / f"{name}.py" for name in ("functions", "openvino_export", "openvino_layout")]
    return [_digest(path.read_bytes().replace(b"\r\n", b"\n")) for path in code]


def key_name(key: Mapping[str, object]) -> str:
    return _digest(json.dumps(key, sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]
