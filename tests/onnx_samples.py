"""Tiny random ONNX files of the conventions that are met; their results resemble the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT, HALF, BYTE = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: Sequence[int | str],
    *,
    outputs: Sequence[str] = ("y",),
    kind: int = FLOAT,
    more_inputs: Sequence[str] = (),
    more_opsets: Sequence[str] = (),
    opset: int = 17,
) -> Path:
    """Write a graph from ``x`` of a shape, and further inputs of the same, to outputs of lying shapes."""
    inputs, values = (
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in names]
        for names in (("x", *more_inputs), outputs)
    )
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "sample", inputs, values, initializers)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in more_opsets)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
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
    more_opsets: Sequence[str] = (),
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
    return save(path, nodes, {"w": weights}, shape, outputs=outputs, kind=kind, more_opsets=more_opsets)


def nhwc(path: Path, channels: int = 3) -> Path:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=2, mode="CRD"),
        helper.make_node("Transpose", ["d"], ["y"], perm=[0, 2, 3, 1]),
    ]
    return save(path, nodes, {"w": identity(channels, 2)}, (1, "h", "w", channels))


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


def enlarged(
    path: Path,
    before: Sequence[onnx.NodeProto] = (),
    after: Sequence[onnx.NodeProto] = (),
    weights: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = (1, 3, "h", "w"),
    **options: Any,
) -> Path:
    """Write an enlargement by 2; ``before`` it, operators lead to ``a``, ``after`` it from ``b`` to ``y``."""
    nodes = [
        *before,
        helper.make_node("Conv", ["a" if before else "x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["b" if after else "y"], blocksize=2, mode="CRD"),
        *after,
    ]
    return save(path, nodes, {"w": identity(3, 2, noise=0.0), **(weights or {})}, shape, **options)


def bytes_in_and_out(path: Path) -> Path:
    """White is 255, before and after; values are whole."""
    return enlarged(path, after=[helper.make_node("Round", ["b"], ["y"])])


def sixths(path: Path) -> Path:
    """White is 255, before and after; values are multiples of a sixth, fair if white is 1."""
    weights = {"w": identity(3, 2), "steps": np.array([6], np.float32)}
    after = [
        helper.make_node("Mul", ["b", "steps"], ["m"]),
        helper.make_node("Round", ["m"], ["n"]),
        helper.make_node("Div", ["n", "steps"], ["y"]),
    ]
    return enlarged(path, after=after, weights=weights)


def blue_first(path: Path) -> Path:
    """The first channel is blue, which it holds below 0.4."""
    weights = {"most": np.array([0.4, 1.0, 1.0], np.float32).reshape(1, 3, 1, 1)}
    return enlarged(path, [helper.make_node("Min", ["x", "most"], ["a"])], weights=weights)


def instance_normalization(path: Path) -> Path:
    """A twentieth of the normalised frame is added to it."""
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["n"], epsilon=1e-5),
        helper.make_node("Mul", ["n", "k"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["a"]),
    ]
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    weights = {"ones": ones, "zeros": zeros, "k": np.array([0.05], np.float32)}
    return enlarged(path, nodes, weights=weights)


def added_to_an_interpolation(path: Path, mode: str) -> Path:
    """A twentieth of the normalised frame is added to an interpolation, as torch computes it."""
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["n"], epsilon=1e-5),
        helper.make_node("Mul", ["n", "k"], ["a"]),
    ]
    after = [
        helper.make_node("Resize", ["x", "", "factors"], ["r"], mode=mode),  # cubic: a = -0.75
        helper.make_node("Add", ["b", "r"], ["y"]),
    ]
    weights = {"ones": np.ones(3, np.float32), "zeros": np.zeros(3, np.float32)}
    numbers = {"k": np.array([0.05], np.float32), "factors": np.array([1, 1, 2, 2], np.float32)}
    return enlarged(path, nodes, after, {**weights, **numbers})


def blocks_of_2(path: Path) -> Path:
    """Blocks of 2x2 become channels by strides, and so an odd row or column is lost without an error."""
    weights = np.zeros((12, 3, 2, 2), np.float32)
    for channel in range(3):
        for row in range(2):
            for column in range(2):
                weights[4 * channel + 2 * row + column, channel, row, column] = 1
    nodes = [
        helper.make_node("Conv", ["x", "blocks"], ["d"], strides=[2, 2]),
        helper.make_node("DepthToSpace", ["d"], ["a"], blocksize=2, mode="CRD"),
    ]
    return enlarged(path, nodes, weights={"blocks": weights})


def least_side(path: Path) -> Path:
    """A border of 10 pixels is reflected, which shorter sides do not have, and cut off again."""
    nodes = [
        helper.make_node("Pad", ["x", "border"], ["p"], mode="reflect"),
        helper.make_node("Slice", ["p", "start", "stop", "axes"], ["a"]),
    ]
    weights = {
        "border": np.array([0, 0, 10, 10, 0, 0, 10, 10]),
        "start": np.array([10, 10]),
        "stop": np.array([-10, -10]),
        "axes": np.array([2, 3]),
    }
    return enlarged(path, nodes, weights=weights)


def up_to(path: Path, side: int) -> Path:
    """A table of one side is cut to the frame and added: larger frames fail, whatever the file states."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sides"], start=2),
        helper.make_node("Slice", ["table", "start", "sides", "axes"], ["cut"]),
        helper.make_node("Add", ["x", "cut"], ["a"]),
    ]
    table = np.full((1, 1, side, side), 0.01, np.float32)
    weights = {"table": table, "start": np.array([0, 0]), "axes": np.array([2, 3])}
    return enlarged(path, nodes, weights=weights)


def windows(path: Path, side: int = 8) -> Path:
    """A tenth of the difference to the mean of a window is added, for frames of any size: the last windows
    are smaller ones."""
    nodes = [
        helper.make_node(
            "AveragePool", ["x"], ["m"], kernel_shape=[side] * 2, strides=[side] * 2, ceil_mode=1
        ),
        helper.make_node(
            "Resize",
            ["m", "", "factors"],
            ["n"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Shape", ["x"], ["sides"]),
        helper.make_node("Slice", ["n", "start", "sides", "axes"], ["cut"]),
        helper.make_node("Sub", ["x", "cut"], ["d"]),
        helper.make_node("Mul", ["d", "k"], ["e"]),
        helper.make_node("Add", ["x", "e"], ["a"]),
    ]
    weights = {
        "factors": np.array([1, 1, side, side], np.float32),
        "start": np.zeros(4, np.int64),
        "axes": np.arange(4),
        "k": np.array([0.1], np.float32),
    }
    return enlarged(path, nodes, weights=weights)


def resized(path: Path, factor: float, shape: Sequence[int | str] = (1, 3, "h", "w")) -> Path:
    """Write an interpolation by any factor."""
    nodes = [helper.make_node("Resize", ["x", "", "factors"], ["y"], mode="linear")]
    return save(path, nodes, {"factors": np.array([1, 1, factor, factor], np.float32)}, shape)


def symmetric_resize(path: Path) -> Path:
    """A resize in a mode that OpenVINO does not read."""
    nodes = [
        helper.make_node(
            "Resize",
            ["x", "", "factors"],
            ["y"],
            mode="linear",
            coordinate_transformation_mode="half_pixel_symmetric",
        )
    ]
    weights = {"factors": np.array([1, 1, 2, 2], np.float32)}
    return save(path, nodes, weights, (1, 3, "h", "w"), opset=19)


def bytes_to_unit(path: Path) -> Path:
    """White is 255 before and 1 after."""
    weights = {"white": np.array([255], np.float32)}
    return enlarged(path, after=[helper.make_node("Div", ["b", "white"], ["y"])], weights=weights)


def other_order(path: Path) -> Path:
    """Red is first before, and blue after."""
    nodes = [helper.make_node("Gather", ["b", "order"], ["y"], axis=1)]
    return enlarged(path, after=nodes, weights={"order": np.array([2, 1, 0])})


def recurrent(path: Path) -> Path:
    """A state comes in and goes out."""
    nodes = [helper.make_node("Add", ["x", "state"], ["a"]), helper.make_node("Identity", ["a"], ["next"])]
    return enlarged(path, nodes, outputs=("y", "next"), more_inputs=("state",))


def byte_input(path: Path) -> Path:
    return enlarged(path, [helper.make_node("Cast", ["x"], ["a"], to=FLOAT)], kind=BYTE)


def noisy(path: Path) -> Path:
    return upscaler(path, noise=1.0)


SAMPLES: dict[str, tuple[Callable[[Path], Path], dict[str, object]]] = {
    "x1": (lambda p: upscaler(p, 1), {"scale": 1}),
    "x2": (lambda p: upscaler(p, 2), {"scale": 2, "multiple": 1, "layout": "nchw", "overlap": 8}),
    "x3": (lambda p: upscaler(p, 3), {"scale": 3}),
    "x4": (lambda p: upscaler(p, 4), {"scale": 4}),
    "x8": (lambda p: upscaler(p, 8), {"scale": 8}),
    "4x_net_fp16": (lambda p: upscaler(p, 2), {"dtype": "float32", "scale": 2}),
    "unused_opset": (lambda p: upscaler(p, more_opsets=("somebody",)), {"scale": 2}),
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
    "sigma_first": (lambda p: upscaler(p, outputs=("sigma", "y")), {"output_name": "y", "scale": 2}),
    "whole": (whole_frames, {"whole_frames": True}),
    "instance": (instance_normalization, {"whole_frames": True, "value_range": 1.0}),
    "linear": (lambda p: added_to_an_interpolation(p, "linear"), {"value_range": 1.0}),
    "cubic": (lambda p: added_to_an_interpolation(p, "cubic"), {"value_range": 1.0}),
    "bytes": (bytes_in_and_out, {"value_range": 255.0, "bgr": False}),
    "sixths": (sixths, {"value_range": 255.0, "bgr": False}),
    "bgr": (blue_first, {"value_range": 1.0, "bgr": True}),
    "blocks": (blocks_of_2, {"multiple": 2, "scale": 2}),
    "windows": (windows, {"multiple": 8, "overlap": 8, "whole_frames": False}),
    "odd_windows": (lambda p: windows(p, 7), {"multiple": 1, "whole_frames": True}),
    "least": (least_side, {"multiple": 1, "min_side": 16, "scale": 2}),
}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "noise_plane": (lambda p: upscaler(p, inputs=4, shape=(1, 4, "h", "w")), "a plane of noise levels"),
    "rgba": (lambda p: nhwc(p, channels=4), r"transparency \(RGBA\)"),
    "rife": (lambda p: upscaler(p, inputs=8, shape=(1, 8, "h", "w")), "8 channels.* like RIFE"),
    "rife_11": (lambda p: upscaler(p, inputs=11, shape=(1, 11, "h", "w")), "11 channels.* like RIFE"),
    "even_frames": (lambda p: upscaler(p, inputs=6, shape=(1, 6, "h", "w")), "6 channels, .* odd number"),
    "any_channels": (lambda p: upscaler(p, shape=(1, "c", "h", "w")), "c channels"),
    "recurrent": (recurrent, "2 inputs, and one is needed .state needs a manifest"),
    "byte_input": (byte_input, "input is uint8"),
    "vector": (lambda p: upscaler(p, shape=(1, 3, "n")), "3 dimensions"),
    "x9": (lambda p: upscaler(p, 9), "scales by 9, and 1 to 8"),
    "half_size": (lambda p: resized(p, 0.5), "64x64 become 32x32"),
    "one_and_a_half": (lambda p: resized(p, 1.5), "64x64 become 96x96, 128x128 192x192"),
    "fixed_fraction": (lambda p: resized(p, 1.5, (1, 3, 32, 32)), "32x32 become 48x48, no whole factor"),
    "wider": (lambda p: upscaler(p, pads=2), "64x64 become 132x132"),
    "grey_result": (lambda p: upscaler(p, colors=1), "no frame of 3 channels"),
    "bytes_to_unit": (bytes_to_unit, "resemble"),
    "other_order": (other_order, "resemble"),
    "first_frame": (lambda p: upscaler(p, inputs=9, shape=(1, 9, "h", "w")), "resemble"),
    "noisy": (noisy, "resemble"),
}
