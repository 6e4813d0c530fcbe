"""ncnn graphs as networks in ``keras.ops``: an interpreter of the layers, channels last.

The layers' arithmetic is that of ncnn: https://github.com/Tencent/ncnn/wiki/operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vsrcli.errors import ModelError
from vsrcli.models.layers import frame_size
from vsrcli.models.ncnn_graph import NcnnLayer, read_graph
from vsrcli.models.ncnn_shapes import (
    crop_ranges,
    infer_shapes,
    interpolation_factors,
    slice_lengths,
)

_NEAREST, _BILINEAR, _BICUBIC = 1, 2, 3  # kinds of interpolation
_CUBIC = -0.75  # ncnn's parameter of the bicubic kernel
_FEW_CHANNELS = 4


def build_ncnn(path: Path) -> keras.Model:
    """Build an ncnn network, see :func:`vsrcli.models.network_files.build_network`.

    Args:
        path: of the ``.param``; the ``.bin`` lies beside it.

    Raises:
        ModelError: see :func:`~vsrcli.models.ncnn_graph.read_graph`, or the sizes do not fit.
    """
    return NcnnNetwork(path)


class NcnnNetwork(keras.Model):
    """A network from ncnn's files: ``(B, 1, H, W, 3)`` -> ``(B, scale*H - margin, scale*W - margin, 3)``.

    Attributes:
        scale, margin, multiple, multiply_adds: see :class:`~vsrcli.models.ncnn_shapes.GraphShapes`.
        levels: 0: one frame in.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(**options)
        graph = read_graph(path)
        shapes = infer_shapes(graph)
        self.scale, self.margin, self.multiple = shapes.scale, shapes.margin, shapes.multiple
        self.multiply_adds, self.levels = shapes.multiply_adds, 0
        self._blobs = graph.input, graph.output
        self.steps = [_step(layer, [shapes.by_blob[name] for name in layer.inputs]) for layer in graph.layers]
        self._routes = [(layer.inputs, layer.outputs) for layer in graph.layers]
        last_uses = {name: number for number, layer in enumerate(graph.layers) for name in layer.inputs}
        self._unused = [
            [name for name in set(layer.inputs) if last_uses[name] == number]
            for number, layer in enumerate(graph.layers)
        ]

    def __call__(self, frames, **options):  # what `call` raises, Keras makes several lines of
        for side in frames.shape[2:4]:
            if side is not None and side % self.multiple:
                raise ModelError(f"the network takes sides that are multiples of {self.multiple}, not {side}")
        return super().__call__(frames, **options)

    def call(self, frames):
        source, result = self._blobs
        frame = frames[:, 0]
        blobs = {source: frame}
        for step, (inputs, outputs), unused in zip(self.steps, self._routes, self._unused, strict=True):
            if outputs == (source,):
                continue
            values = step(*(blobs[name] for name in inputs)) if inputs else step(frame)  # a constant
            blobs.update(zip(outputs, values if isinstance(values, list) else [values], strict=True))
            for name in unused:
                del blobs[name]
        return blobs[result]


class GraphConvolution(layers.Layer):
    """A convolution with ncnn's padding and activation."""

    def __init__(self, layer: NcnnLayer, **options: Any) -> None:
        super().__init__(**options)
        self.found = found = layer.convolution()
        self.activation = _activation(layer)
        self.value = layer.number(18)
        self.padding = [found.padding(axis) for axis in range(2)]
        whole = all(
            found.stride[axis] == 1 and before == after and before + after + 1 == found.extent(axis)
            for axis, (before, after) in enumerate(self.padding)
        )
        self.mode = "same" if whole and not self.value else "valid"
        shape = (found.outputs, found.inputs // found.groups, *found.kernel)
        kernel = layer.weights[0].reshape(shape).transpose(2, 3, 1, 0)  # rows, columns, in, out
        self.kernel = _weight(self, "kernel", kernel)
        self.bias = _weight(self, "bias", layer.weights[1]) if len(layer.weights) > 1 else None

    def call(self, x):
        if self.mode == "valid" and any(map(sum, self.padding)):
            x = ops.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=self.value)
        found = self.found
        step = found.stride[0] if found.stride[0] == found.stride[1] else found.stride
        settings = {"padding": self.mode, "data_format": "channels_last", "dilation_rate": found.dilation}
        if found.groups == 1:
            x = ops.conv(x, self.kernel, step, **settings)
        elif found.groups == found.inputs:
            kernel = ops.reshape(self.kernel, (*found.kernel, found.groups, -1))
            x = ops.depthwise_conv(x, kernel, step, **settings)
        else:
            parts = zip(*(ops.split(each, found.groups, axis=-1) for each in (x, self.kernel)), strict=True)
            x = ops.concatenate([ops.conv(*part, step, **settings) for part in parts], axis=-1)
        return self.activation(x if self.bias is None else x + self.bias)


class GraphPReLU(layers.Layer):
    """Negative values times a slope, for each channel or for all."""

    def __init__(self, layer: NcnnLayer, **options: Any) -> None:
        super().__init__(**options)
        self.slope = _weight(self, "slope", layer.weights[0])

    def call(self, x):
        return ops.relu(x) - self.slope * ops.relu(-x)  # OpenVINO makes one operation of this


class GraphConstant(layers.Layer):
    """An array that the file holds: ``(1, rows, columns, channels)``."""

    def __init__(self, layer: NcnnLayer, **options: Any) -> None:
        super().__init__(**options)
        width, height, channels = (layer.integer(key) for key in (0, 1, 2))
        if not height and not channels:
            width, channels = 1, width
        planes = layer.weights[0].reshape(max(channels, 1), max(height, 1), max(width, 1))
        self.array = _weight(self, "array", planes.transpose(1, 2, 0)[None])

    def call(self, frame):
        return ops.convert_to_tensor(self.array)


class GraphInterpolation(layers.Layer):
    """Resizing by fixed factors: a convolution that computes all results of a period of the grids."""

    def __init__(self, layer: NcnnLayer, channels: int, **options: Any) -> None:
        super().__init__(**options)
        kind = layer.integer(0)
        self.factors = interpolation_factors(layer)
        self.channels = channels
        self.repeats = kind == _NEAREST and all(factor.denominator == 1 for factor in self.factors)
        if not self.repeats:
            (rows, self.rows_pad), (columns, self.columns_pad) = (_taps(each, kind) for each in self.factors)
            both = rows[:, None, :, None] * columns[None, :, None, :]  # taps, taps, s, s
            self.kernel = both.reshape(*both.shape[:2], 1, -1).astype(np.float32)

    def call(self, x):
        rows, columns = self.factors
        if self.repeats:
            for axis, factor in ((1, rows), (2, columns)):
                x = x if factor == 1 else ops.repeat(x, int(factor), axis=axis)
            return x
        x = _pad_edge(_pad_edge(x, 1, *self.rows_pad), 2, *self.columns_pad)
        step = rows.denominator, columns.denominator
        kernel = ops.cast(self.kernel, x.dtype)
        if self.channels <= _FEW_CHANNELS and step[0] == step[1]:
            x = ops.depthwise_conv(
                x, ops.tile(kernel, (1, 1, self.channels, 1)), step[0], data_format="channels_last"
            )
        else:  # channel by channel, in one batch
            (height, width), channels = frame_size(x), self.channels
            x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, height, width, 1))
            x = ops.conv(x, kernel, step, padding="valid", data_format="channels_last")
            (height, width), sub_pixels = frame_size(x), kernel.shape[-1]
            x = ops.transpose(ops.reshape(x, (-1, channels, height, width, sub_pixels)), (0, 2, 3, 1, 4))
            x = ops.reshape(x, (-1, height, width, channels * sub_pixels))
        return _depth_to_space(x, rows.numerator, columns.numerator)


def _step(layer: NcnnLayer, shapes: Sequence[Any]) -> Callable[..., Any]:
    """Return what a layer computes: from its inputs to its output, or to a list of several."""
    kind = layer.kind
    if kind in ("Convolution", "ConvolutionDepthWise"):
        return GraphConvolution(layer)
    if kind == "PReLU":
        return GraphPReLU(layer)
    if kind == "MemoryData":
        return GraphConstant(layer)
    if kind == "Interp":
        return GraphInterpolation(layer, shapes[0].channels)
    if kind in ("Split", "Input", "Noop", "Dropout"):
        count = len(layer.outputs)
        return lambda x: [x] * count
    if kind == "Concat":
        return lambda *values: ops.concatenate(values, axis=-1)
    if kind == "Slice":
        edges = np.cumsum(slice_lengths(layer, shapes[0].channels))[:-1]
        return lambda x: list(ops.split(x, [int(edge) for edge in edges], axis=-1))
    if kind == "Crop":
        return _crop(layer, shapes)
    if kind == "PixelShuffle":
        factor, order = layer.integer(0, 1), layer.integer(1)
        return lambda x: _depth_to_space(x, factor, factor, sub_pixels_first=bool(order))
    if kind == "Reorg":
        factor, order = layer.integer(0, 1), layer.integer(1)
        return lambda x: _space_to_depth(x, factor, sub_pixels_first=bool(order))
    if kind == "Padding":
        return _padding(layer)
    if kind == "BinaryOp":
        return _binary(layer)
    if kind == "Eltwise":
        return _eltwise(layer)
    if kind == "UnaryOp":
        return _UNARY[layer.integer(0)]
    factory = _ACTIVATIONS[kind]
    return factory(*(layer.number(key, default) for key, default in enumerate(factory.__defaults__ or ())))


def _weight(layer: layers.Layer, name: str, array: np.ndarray) -> Any:
    weight = layer.add_weight(shape=array.shape, name=name, initializer="zeros", trainable=False)
    weight.assign(np.ascontiguousarray(array))
    return weight


def _binary(layer: NcnnLayer) -> Callable[..., Any]:
    function = _BINARY[layer.integer(0)]
    if layer.integer(1):
        scalar = layer.number(2)
        return lambda x: function(x, ops.cast(scalar, x.dtype))
    return function


def _eltwise(layer: NcnnLayer) -> Callable[..., Any]:
    kind = layer.integer(0)
    factors = [float(each) for each in layer.array(1)] or [1.0] * len(layer.inputs)
    function = (ops.multiply, ops.add, ops.maximum)[kind]

    def compute(*values: Any) -> Any:
        if kind == 1:
            values = tuple(x if f == 1 else x * f for x, f in zip(values, factors, strict=True))
        total = values[0]
        for value in values[1:]:
            total = function(total, value)
        return total

    return compute


def _crop(layer: NcnnLayer, shapes: Sequence[Any]) -> Callable[..., Any]:
    if len(layer.inputs) == 2:

        def crop_to(x: Any, like: Any) -> Any:
            height, width = frame_size(like)
            return x[:, :height, :width]

        return crop_to
    (first, last), (top, bottom), (left, right) = crop_ranges(layer, shapes[0])
    return lambda x: x[:, top:bottom, left:right, first:last]


def _padding(layer: NcnnLayer) -> Callable[..., Any]:
    top, bottom, left, right = (layer.integer(key) for key in range(4))
    kind, value = layer.integer(4), layer.number(5)
    amounts = ((0, 0), (top, bottom), (left, right), (0, 0))
    if kind == 0:
        return lambda x: ops.pad(x, amounts, constant_values=value)
    if kind == 1:
        return lambda x: _pad_edge(_pad_edge(x, 1, top, bottom), 2, left, right)
    return lambda x: ops.pad(x, amounts, mode="reflect")


def _pad_edge(x: Any, axis: int, before: int, after: int) -> Any:
    if not before and not after:
        return x
    first, last = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
    return ops.concatenate([first] * before + [x] + [last] * after, axis=axis)


def _depth_to_space(x: Any, rows: int, columns: int, *, sub_pixels_first: bool = False) -> Any:
    """Convert ``(B, H, W, C*rows*columns)`` -> ``(B, rows*H, columns*W, C)``; the sub-pixels of a channel
    follow one another, or the channels of a sub-pixel."""
    (height, width), channels = frame_size(x), x.shape[-1] // (rows * columns)
    if sub_pixels_first:
        x = ops.reshape(x, (-1, height, width, rows, columns, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    else:
        x = ops.reshape(x, (-1, height, width, channels, rows, columns))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
    return ops.reshape(x, (-1, height * rows, width * columns, channels))


def _space_to_depth(x: Any, factor: int, *, sub_pixels_first: bool = False) -> Any:
    """Invert :func:`_depth_to_space` with equal factors."""
    (height, width), channels = frame_size(x), x.shape[-1]
    height, width = height // factor, width // factor
    x = ops.reshape(x, (-1, height, factor, width, factor, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5) if sub_pixels_first else (0, 1, 3, 5, 2, 4))
    return ops.reshape(x, (-1, height, width, channels * factor**2))


def _taps(factor: Fraction, kind: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return weights of one axis (taps, results), and the pixels to repeat before and after the picture.

    Every ``factor.denominator`` pixels, from the same taps, give ``factor.numerator`` results.
    """
    results, pixels = factor.numerator, factor.denominator
    weights: list[dict[int, float]] = []
    for number in range(results):
        if kind == _NEAREST:
            weights.append({number * pixels // results: 1.0})
            continue
        position = (number + 0.5) * pixels / results - 0.5
        first = math.floor(position)
        fraction = position - first
        values = _cubic_weights(fraction) if kind == _BICUBIC else [1 - fraction, fraction]
        start = first - 1 if kind == _BICUBIC else first
        weights.append({start + i: value for i, value in enumerate(values)})
    before = max(0, -min(min(each) for each in weights))
    after = max(0, max(max(each) for each in weights) - (pixels - 1))
    table = np.zeros((before + pixels + after, results))
    for number, each in enumerate(weights):
        for tap, value in each.items():
            table[before + tap, number] = value
    return table, (before, after)


def _cubic_weights(fraction: float) -> list[float]:
    """Return the weights of four pixels, the second of which lies ``fraction`` before the position."""

    def near(x: float) -> float:
        return (_CUBIC + 2) * x**3 - (_CUBIC + 3) * x**2 + 1

    def far(x: float) -> float:
        return _CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)

    return [far(1 + fraction), near(fraction), near(1 - fraction), far(2 - fraction)]


def _activation(layer: NcnnLayer) -> Callable[[Any], Any]:
    """Return the activation at the end of a convolution."""
    kinds = ("Noop", "ReLU", "ReLU", "Clip", "Sigmoid", "Mish", "HardSwish")
    factory, values = _ACTIVATIONS[kinds[layer.integer(9)]], layer.array(10)
    return factory(*values[: len(factory.__defaults__ or ())])


def _leaky_relu(slope: float = 0.0) -> Callable[[Any], Any]:
    return (lambda x: ops.leaky_relu(x, slope)) if slope else ops.relu


def _hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Callable[[Any], Any]:
    return lambda x: ops.clip(alpha * x + beta, 0.0, 1.0)


def _hard_swish(alpha: float = 0.2, beta: float = 0.5) -> Callable[[Any], Any]:
    return lambda x: x * ops.clip(alpha * x + beta, 0.0, 1.0)


_ACTIVATIONS: dict[str, Callable[..., Callable[[Any], Any]]] = {
    "Noop": lambda: lambda x: x,
    "ReLU": _leaky_relu,
    "Clip": lambda low=-3.4e38, high=3.4e38: lambda x: ops.clip(x, low, high),
    "Sigmoid": lambda: ops.sigmoid,
    "Swish": lambda: ops.silu,
    "Mish": lambda: lambda x: x * ops.tanh(ops.softplus(x)),
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "GELU": lambda fast=0: lambda x: ops.gelu(x, approximate=bool(fast)),
    "TanH": lambda: ops.tanh,
    "ELU": lambda alpha=0.1: lambda x: ops.elu(x, alpha),
}
_UNARY: dict[int, Callable[[Any], Any]] = {
    0: ops.abs,
    1: ops.negative,
    4: ops.square,
    5: ops.sqrt,
    6: ops.rsqrt,
    7: ops.exp,
    8: ops.log,
    15: lambda x: 1 / x,
    16: ops.tanh,
}
_BINARY: dict[int, Callable[[Any, Any], Any]] = {
    0: ops.add,
    1: ops.subtract,
    2: ops.multiply,
    3: ops.divide,
    4: ops.maximum,
    5: ops.minimum,
    6: ops.power,
    7: lambda a, b: b - a,
    8: lambda a, b: b / a,
    9: lambda a, b: ops.power(b, a),
    10: ops.arctan2,
    11: lambda a, b: ops.arctan2(b, a),
}
