"""Tiny random ONNX files of the conventions that are met; their results resemble the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: Sequence[int | str],
    *,
    outputs: Sequence[str] = ("y",),
    kind: int = FLOAT,
) -> Path:
    """Write a graph from ``x`` of a shape to outputs of lying shapes."""
    values = [helper.make_tensor_value_info(name, kind, list(shape)) for name in outputs]
    graph = helper.make_graph(
        list(nodes),
        "sample",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        values,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def identity(
    inputs: int, scale: int, *, first: int = 0, colors: int = 3, noise: float = 0.003, dtype: str = "float32"
) -> np.ndarray:
    """Return 3x3 weights that repeat ``colors`` channels from ``first`` on, for a pixel shuffle."""
    random = np.random.default_rng(3)
    weights = random.normal(0, noise, (colors * scale**2, inputs, 3, 3))
    for channel in range(colors):
        weights[channel * scale**2 : (channel + 1) * scale**2, first + channel, 1, 1] += 1
    return weights.astype(dtype)


def upscaler(
    path: Path,
    scale: int = 2,
    *,
    shape: Sequence[int | str] = (1, 3, "width", "height"),
    inputs: int = 3,
    first: int = 0,
    colors: int = 3,
    pads: int = 1,
    kind: int = FLOAT,
    noise: float = 0.003,
    outputs: Sequence[str] = ("y",),
) -> Path:
    """Write a convolution and a pixel shuffle."""
    weights = identity(
        inputs, scale, first=first, colors=colors, noise=noise, dtype="float16" if kind == HALF else "float32"
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[pads] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=scale, mode="CRD"),
    ]
    nodes += [helper.make_node("Sigmoid", ["y"], [name]) for name in outputs if name != "y"]
    return save(path, nodes, {"w": weights}, shape, outputs=outputs, kind=kind)


def nhwc(path: Path) -> Path:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=2, mode="CRD"),
        helper.make_node("Transpose", ["d"], ["y"], perm=[0, 2, 3, 1]),
    ]
    return save(path, nodes, {"w": identity(3, 2)}, (1, "h", "w", 3))


def multiple_of_4(path: Path) -> Path:
    """A residue at a quarter of the size, which is added: other sizes than multiples of 4 fail."""
    random = np.random.default_rng(4)
    down = random.normal(0, 0.01, (4, 3, 4, 4)).astype("float32")
    up = random.normal(0, 0.01, (4, 3, 4, 4)).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "down"], ["a"], strides=[4, 4]),
        helper.make_node("ConvTranspose", ["a", "up"], ["b"], strides=[4, 4]),
        helper.make_node("Add", ["x", "b"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    return save(path, nodes, {"down": down, "up": up, "w": identity(3, 2)}, (1, 3, "h", "w"))


def five_dimensions(path: Path) -> Path:
    nodes = [
        helper.make_node("Squeeze", ["x", "zero"], ["f"]),
        helper.make_node("Gather", ["f", "centre"], ["g"], axis=0),
        helper.make_node("Conv", ["g", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    weights = {"w": identity(3, 2), "zero": np.array([0]), "centre": np.array([1])}
    return save(path, nodes, weights, (1, 3, 3, "h", "w"))


def whole_frames(path: Path) -> Path:
    """The frame's mean is added to it."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Mul", ["m", "k"], ["n"]),
        helper.make_node("Add", ["x", "n"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    return save(path, nodes, {"k": np.array([0.08], np.float32), "w": identity(3, 2)}, (1, 3, "h", "w"))


def noisy(path: Path) -> Path:
    return upscaler(path, noise=1.0)


SAMPLES: dict[str, tuple[Callable[[Path], Path], dict[str, object]]] = {
    "x1": (lambda p: upscaler(p, 1), {"scale": 1}),
    "x2": (lambda p: upscaler(p, 2), {"scale": 2, "multiple": 1, "layout": "nchw", "overlap": 8}),
    "x3": (lambda p: upscaler(p, 3), {"scale": 3}),
    "x4": (lambda p: upscaler(p, 4), {"scale": 4}),
    "half_fp32": (lambda p: upscaler(p, kind=HALF), {"dtype": "float16", "scale": 2}),
    "nhwc": (nhwc, {"layout": "nhwc", "scale": 2}),
    "multiple": (multiple_of_4, {"multiple": 4, "min_side": 4, "scale": 2}),
    "valid": (lambda p: upscaler(p, pads=0), {"margin": 4, "scale": 2}),
    "frames": (
        lambda p: upscaler(p, inputs=9, first=3, shape=("b", 9, "h", "w")),
        {"kind": "frames", "frames": 3},
    ),
    "frames_5d": (five_dimensions, {"kind": "frames", "frames": 3, "layout": "ntchw"}),
    "luma": (lambda p: upscaler(p, inputs=1, colors=1, shape=(1, 1, "h", "w")), {"kind": "luma"}),
    "fixed": (lambda p: upscaler(p, shape=(1, 3, 32, 32)), {"fixed_size": (32, 32), "scale": 2}),
    "sigma": (lambda p: upscaler(p, outputs=("y", "sigma")), {"output_name": "y", "scale": 2}),
    "whole": (whole_frames, {"whole_frames": True}),
}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "noise_plane": (lambda p: upscaler(p, inputs=4, shape=(1, 4, "h", "w")), "4 channels"),
    "rife": (lambda p: upscaler(p, inputs=8, shape=(1, 8, "h", "w")), "like RIFE"),
    "first_frame": (lambda p: upscaler(p, inputs=9, shape=(1, 9, "h", "w")), "resemble"),
    "noisy": (noisy, "resemble"),
}
