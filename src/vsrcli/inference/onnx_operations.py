"""The operations of ``keras.ops`` that networks consist of, as ONNX nodes.

:data:`OPERATIONS` has a converter for each class of Keras' operations: ``convert(graph, operation, shapes,
*arguments)`` appends nodes and returns the value, or a list of values. ``shapes`` are those of the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.onnx_graph import (
    _LARGEST,
    FIRST,
    LAST,
    GraphBuilder,
    Value,
    array_of,
    inverse,
    is_free,
    order_of,
)

Shape = tuple[int, ...]
Converter = Callable[..., Any]


def _unary(*kinds: str) -> Converter:
    def convert(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Any) -> Value:
        def make(name: str) -> str:
            for kind in kinds:
                name = graph.emit(kind, name)
            return name

        return graph.like(x, shapes[0], make)

    return convert


def _binary(kind: str) -> Converter:
    def convert(graph: GraphBuilder, operation: Any, shapes: list[Shape], x1: Any, x2: Any) -> Value:
        return binary(graph, kind, shapes[0], x1, x2)

    return convert


def binary(graph: GraphBuilder, kind: str, shape: Shape, *operands: Any) -> Value:
    """Append an operation on single elements of two arrays or numbers, which are broadcast."""
    rank = len(shape)
    values = [each for each in operands if isinstance(each, Value)]
    full = all(each.rank == rank for each in values)
    order = FIRST if full and rank > 2 and any(each.is_first for each in values) else LAST
    names = [
        graph.named(each, order) if isinstance(each, Value) else graph.constant(_ordered(each, rank, order))
        for each in operands
    ]
    return Value(shape, **{order: graph.emit(kind, *names)})


def _ordered(constant: Any, rank: int, order: str) -> np.ndarray:
    """Return a constant operand in an order of axes."""
    array = array_of(constant)
    if array.ndim == 0 or order == LAST:
        return array
    return array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order_of(rank, order))


def _scaled(graph: GraphBuilder, kind: str, x: Value, number: float) -> Value:
    return binary(graph, kind, x.shape, x, np.float32(number))


def _leaky_relu(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    alpha = float(operation.negative_slope)
    return graph.like(x, shapes[0], lambda name: graph.emit("LeakyRelu", name, alpha=alpha))


def _elu(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    return graph.like(x, shapes[0], lambda name: graph.emit("Elu", name, alpha=float(operation.alpha)))


def _silu(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    return graph.like(x, shapes[0], lambda name: graph.emit("Mul", name, graph.emit("Sigmoid", name)))


def _gelu(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    if operation.approximate:
        cubic = binary(graph, "Mul", x.shape, binary(graph, "Mul", x.shape, x, x), x)
        inner = binary(graph, "Add", x.shape, x, _scaled(graph, "Mul", cubic, 0.044715))
        inner = _scaled(graph, "Mul", inner, math.sqrt(2 / math.pi))
        bent = graph.like(inner, x.shape, lambda name: graph.emit("Tanh", name))
    else:
        inner = _scaled(graph, "Mul", x, math.sqrt(0.5))
        bent = graph.like(inner, x.shape, lambda name: graph.emit("Erf", name))
    return binary(graph, "Mul", x.shape, _scaled(graph, "Mul", x, 0.5), _scaled(graph, "Add", bent, 1.0))


def _clip(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    limits = [graph.constant(array_of(each)) for each in (operation.x_min, operation.x_max)]
    return graph.like(x, shapes[0], lambda name: graph.emit("Clip", name, *limits))


def _cast(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value, *_: Any, **__: Any) -> Value:
    return x  # everything is float32


def _power(graph: GraphBuilder, operation: Any, shapes: list[Shape], x1: Any, x2: Any) -> Value:
    return binary(graph, "Pow", shapes[0], x1, x2)


def _square(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    return binary(graph, "Mul", shapes[0], x, x)


def _softmax(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    name = graph.named(x, LAST)
    return Value(shapes[0], **{LAST: graph.emit("Softmax", name, axis=int(operation.axis))})


def _batch_norm(
    graph: GraphBuilder,
    operation: Any,
    shapes: list[Shape],
    x: Value,
    mean: Any,
    variance: Any,
    offset: Any = None,
    scale: Any = None,
) -> Value:
    factor = 1 / np.sqrt(array_of(variance).astype(np.float64) + operation.epsilon)
    factor = factor * (1 if scale is None else array_of(scale))
    shift = (0 if offset is None else array_of(offset)) - array_of(mean) * factor
    scaled = binary(graph, "Mul", x.shape, x, factor.astype(np.float32))
    return binary(graph, "Add", x.shape, scaled, shift.astype(np.float32))


def _pairs(value: Any, rank: int) -> list[int]:
    return [int(value)] * rank if isinstance(value, int) else [int(each) for each in value]


def _conv(graph: GraphBuilder, operation: Any, shapes: list[Shape], inputs: Value, kernel: Any) -> Value:
    weights = array_of(kernel)
    _require_channels_last(operation)
    spatial = weights.ndim - 2
    weights = weights.transpose(spatial + 1, spatial, *range(spatial))
    groups = inputs.shape[-1] // weights.shape[1]
    return _convolution(graph, operation, shapes[0], inputs, weights, groups)


def _depthwise_conv(
    graph: GraphBuilder, operation: Any, shapes: list[Shape], inputs: Value, kernel: Any
) -> Value:
    weights = array_of(kernel)  # rows, columns, channels, results of each
    _require_channels_last(operation)
    weights = weights.reshape(*weights.shape[:2], -1, 1).transpose(2, 3, 0, 1)
    return _convolution(graph, operation, shapes[0], inputs, weights, inputs.shape[-1])


def _convolution(
    graph: GraphBuilder, operation: Any, shape: Shape, x: Value, weights: np.ndarray, groups: int
) -> Value:
    spatial = weights.ndim - 2
    strides, dilations = _pairs(operation.strides, spatial), _pairs(operation.dilation_rate, spatial)
    settings: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    if operation.padding == "same":
        if any(each != 1 for each in strides):
            settings["auto_pad"] = "SAME_UPPER"
        else:
            total = [(side - 1) * step for side, step in zip(weights.shape[2:], dilations, strict=True)]
            settings["pads"] = [each // 2 for each in total] + [each - each // 2 for each in total]
    elif operation.padding != "valid":
        raise EngineError(f"a convolution's padding {operation.padding!r} has no counterpart in ONNX here")
    settings["kernel_shape"] = list(weights.shape[2:])
    return Value(
        shape, **{FIRST: graph.emit("Conv", graph.named(x, FIRST), graph.constant(weights), **settings)}
    )


def _require_channels_last(operation: Any) -> None:
    import keras

    if (operation.data_format or keras.config.image_data_format()) != "channels_last":
        raise EngineError("a convolution with channels first has no counterpart in ONNX here")


def _concatenate(graph: GraphBuilder, operation: Any, shapes: list[Shape], xs: Sequence[Any]) -> Value:
    return concatenate(graph, shapes[0], list(xs), operation.axis)


def concatenate(graph: GraphBuilder, shape: Shape, parts: list[Any], axis: int) -> Value:
    rank = len(shape)
    order = FIRST if rank > 2 and any(isinstance(x, Value) and x.is_first for x in parts) else LAST
    names = [
        graph.named(x, order)
        if isinstance(x, Value)
        else graph.constant(array_of(x).transpose(order_of(rank, order)))
        for x in parts
    ]
    return Value(shape, **{order: graph.emit("Concat", *names, axis=_axis(axis, rank, order))})


def _axis(axis: int, rank: int, order: str) -> int:
    """Return where an axis of Keras' is in an order."""
    return order_of(rank, order).index(axis % rank)


def _stack(graph: GraphBuilder, operation: Any, shapes: list[Shape], xs: Sequence[Value]) -> Value:
    axis = operation.axis % len(shapes[0])
    axes = graph.constant([axis], np.int64)
    names = [graph.emit("Unsqueeze", graph.named(x, LAST), axes) for x in xs]
    return Value(shapes[0], **{LAST: graph.emit("Concat", *names, axis=axis)})


def _split(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> list[Value]:
    order = FIRST if x.is_first else LAST
    axis = _axis(operation.axis, x.rank, order)
    if any(is_free(shape[operation.axis]) for shape in shapes):
        raise EngineError("parts of a frame's side have no counterpart in ONNX here")
    lengths = graph.constant([shape[operation.axis] for shape in shapes], np.int64)
    names = graph.emit_many("Split", [graph.named(x, order), lengths], len(shapes), axis=axis)
    return [Value(shape, **{order: name}) for shape, name in zip(shapes, names, strict=True)]


def _reshape(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Any) -> Value:
    return reshape(graph, x, shapes[0])


def reshape(graph: GraphBuilder, x: Value, shape: Shape) -> Value:
    """Append a reshape; sides that stay where they are, and one other, need no computation."""
    target = [
        0 if i < x.rank and is_free(side) and x.shape[i] == side else side for i, side in enumerate(shape)
    ]
    unknown = [i for i, side in enumerate(target) if is_free(side)]
    if len(unknown) <= 1:
        for i in unknown:
            target[i] = -1
        name = graph.constant(target, np.int64)
    else:
        name = graph.sides(shape)
    return Value(shape, **{LAST: graph.emit("Reshape", graph.named(x, LAST), name)})


def _expand_dims(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    rank = len(shapes[0])
    axes = [operation.axis] if isinstance(operation.axis, int) else list(operation.axis)
    name = graph.constant([axis % rank for axis in axes], np.int64)
    return Value(shapes[0], **{LAST: graph.emit("Unsqueeze", graph.named(x, LAST), name)})


def _squeeze(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    axes = [i for i, side in enumerate(x.shape) if side == 1] if operation.axis is None else operation.axis
    axes = [axes] if isinstance(axes, int) else list(axes)
    name = graph.constant([axis % x.rank for axis in axes], np.int64)
    return Value(shapes[0], **{LAST: graph.emit("Squeeze", graph.named(x, LAST), name)})


def _transpose(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    axes = operation.axes or tuple(reversed(range(x.rank)))
    return _permuted(graph, x, shapes[0], tuple(int(axis) % x.rank for axis in axes))


def _swapaxes(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    axes = list(range(x.rank))
    one, other = operation.axis1 % x.rank, operation.axis2 % x.rank
    axes[one], axes[other] = axes[other], axes[one]
    return _permuted(graph, x, shapes[0], tuple(axes))


def _permuted(graph: GraphBuilder, x: Value, shape: Shape, axes: Shape) -> Value:
    if not x.is_first:
        return Value(shape, **{LAST: graph.emit("Transpose", graph.named(x, LAST), perm=axes)})
    stored = inverse(order_of(x.rank, FIRST))  # where each of Keras' axes is
    composed = tuple(stored[axis] for axis in axes)
    return Value(shape, **{LAST: graph.emit("Transpose", graph.named(x, FIRST), perm=composed)})


def _get_item(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value, key: Any) -> Value:
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if any(each is None for each in keys):
        raise EngineError("a new axis in an index has no counterpart in ONNX here")
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.rank - len(keys) + 1)
    order = FIRST if x.is_first else LAST
    name = graph.named(x, order)
    starts, ends, steps, axes, dropped = [], [], [], [], []
    for axis, each in enumerate(keys):
        stored = _axis(axis, x.rank, order)
        if isinstance(each, slice):
            if each == slice(None):
                continue
            start, end = each.start or 0, _LARGEST if each.stop is None else each.stop
            if end == x.shape[axis]:
                end = _LARGEST
        else:
            start, end = int(each), int(each) + 1 or _LARGEST
            dropped.append(stored)
        starts.append(start)
        ends.append(end)
        steps.append((each.step or 1) if isinstance(each, slice) else 1)
        axes.append(stored)
    if axes:
        bounds = [_bounds(graph, starts), _bounds(graph, ends)]
        name = graph.emit(
            "Slice", name, *bounds, graph.constant(axes, np.int64), graph.constant(steps, np.int64)
        )
    if not dropped:
        return Value(shapes[0], **{order: name})
    name = graph.emit("Squeeze", name, graph.constant(dropped, np.int64))
    kept = [axis for axis in order_of(x.rank, order) if _axis(axis, x.rank, order) not in dropped]
    if kept == sorted(kept):
        return Value(shapes[0], **{LAST: name})
    if len(kept) > 2 and kept == [sorted(kept)[i] for i in order_of(len(kept), FIRST)]:
        return Value(shapes[0], **{FIRST: name})
    axes_back = tuple(int(each) for each in np.argsort(kept))
    return Value(shapes[0], **{LAST: graph.emit("Transpose", name, perm=axes_back)})


def _bounds(graph: GraphBuilder, values: list[int]) -> str:
    if not any(is_free(each) and each != _LARGEST for each in values):
        return graph.constant(values, np.int64)
    parts = [graph.side(each) if each != _LARGEST else graph.constant([each], np.int64) for each in values]
    return graph.emit("Concat", *parts, axis=0)


def _pad(
    graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value, constant_values: Any = None
) -> Value:
    width = list(operation.pad_width)
    width = width * x.rank if len(width) == 1 else width
    order = FIRST if x.is_first else LAST
    ordered = [width[axis] for axis in order_of(x.rank, order)]
    pads = graph.constant([each[0] for each in ordered] + [each[1] for each in ordered], np.int64)
    modes = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
    if operation.mode not in modes:
        raise EngineError(f"padding {operation.mode!r} has no counterpart in ONNX here")
    inputs = [graph.named(x, order), pads]
    if operation.mode == "constant":
        inputs.append(graph.constant(array_of(constant_values or 0)))
    return Value(shapes[0], **{order: graph.emit("Pad", *inputs, mode=modes[operation.mode])})


def _take(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value, indices: Any) -> Value:
    if operation.axis is None:
        raise EngineError("taking from a flat array has no counterpart in ONNX here")
    name = graph.constant(array_of(indices), np.int64)
    axis = operation.axis % x.rank
    return Value(shapes[0], **{LAST: graph.emit("Gather", graph.named(x, LAST), name, axis=axis)})


def _reduction(kind: str) -> Converter:
    def convert(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
        axis = operation.axis
        axes = range(x.rank) if axis is None else [axis] if isinstance(axis, int) else axis
        name = graph.constant([each % x.rank for each in axes], np.int64)
        keep = int(bool(operation.keepdims))
        return Value(shapes[0], **{LAST: graph.emit(kind, graph.named(x, LAST), name, keepdims=keep)})

    return convert


def _matmul(graph: GraphBuilder, operation: Any, shapes: list[Shape], x1: Any, x2: Any) -> Value:
    names = [graph.named(x, LAST) if isinstance(x, Value) else graph.constant(array_of(x)) for x in (x1, x2)]
    return Value(shapes[0], **{LAST: graph.emit("MatMul", *names)})


def _repeat(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    """Append a resize by nearest neighbours: both axes of a frame in one, in ONNX's own order."""
    axis, times = operation.axis, operation.repeats
    if axis is None or not isinstance(times, int):
        raise EngineError("this repetition has no counterpart in ONNX here")
    order = FIRST if x.rank > 2 else LAST
    scales = np.ones(x.rank)
    scales[_axis(axis, x.rank, order)] = times
    name = graph.emit(
        "Resize",
        graph.named(x, order),
        "",
        graph.constant(scales),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return Value(shapes[0], **{order: name})


def _tile(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    repeats = _pairs(operation.repeats, x.rank)
    repeats = [1] * (x.rank - len(repeats)) + repeats
    return Value(
        shapes[0], **{LAST: graph.emit("Tile", graph.named(x, LAST), graph.constant(repeats, np.int64))}
    )


def _reciprocal_root(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    return graph.like(x, shapes[0], lambda name: graph.emit("Reciprocal", graph.emit("Sqrt", name)))


def _relu6(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    limits = [graph.constant(0.0), graph.constant(6.0)]
    return graph.like(x, shapes[0], lambda name: graph.emit("Clip", name, *limits))


def _activation_relu(graph: GraphBuilder, operation: Any, shapes: list[Shape], x: Value) -> Value:
    """Convert ``keras.activations.relu``."""
    if operation.threshold:
        raise EngineError("a ReLU with a threshold has no counterpart in ONNX here")
    if operation.negative_slope:
        x = _leaky_relu(graph, operation, shapes, x)
    elif operation.max_value is None:
        return graph.like(x, shapes[0], lambda name: graph.emit("Relu", name))
    else:
        x = graph.like(x, shapes[0], lambda name: graph.emit("Relu", name))
    return x if operation.max_value is None else binary(graph, "Min", shapes[0], x, operation.max_value)


OPERATIONS: dict[str, Converter] = {
    "Absolute": _unary("Abs"),
    "Abs": _unary("Abs"),
    "Add": _binary("Add"),
    "BatchNorm": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concatenate": _concatenate,
    "Conv": _conv,
    "ConvertToTensor": _cast,
    "DepthwiseConv": _depthwise_conv,
    "Divide": _binary("Div"),
    "Elu": _elu,
    "Exp": _unary("Exp"),
    "ExpandDims": _expand_dims,
    "Gelu": _gelu,
    "GetItem": _get_item,
    "LeakyRelu": _leaky_relu,
    "Log": _unary("Log"),
    "Matmul": _matmul,
    "Max": _reduction("ReduceMax"),
    "Maximum": _binary("Max"),
    "Mean": _reduction("ReduceMean"),
    "Minimum": _binary("Min"),
    "Multiply": _binary("Mul"),
    "Negative": _unary("Neg"),
    "Pad": _pad,
    "Power": _power,
    "ReLU": _activation_relu,
    "Relu": _unary("Relu"),
    "Relu6": _relu6,
    "Repeat": _repeat,
    "Reshape": _reshape,
    "Rsqrt": _reciprocal_root,
    "Sigmoid": _unary("Sigmoid"),
    "Silu": _silu,
    "Softmax": _softmax,
    "Softplus": _unary("Softplus"),
    "Split": _split,
    "Sqrt": _unary("Sqrt"),
    "Square": _square,
    "Squeeze": _squeeze,
    "Stack": _stack,
    "Subtract": _binary("Sub"),
    "Sum": _reduction("ReduceSum"),
    "Swapaxes": _swapaxes,
    "Take": _take,
    "Tanh": _unary("Tanh"),
    "Tile": _tile,
    "Transpose": _transpose,
    "TrueDivide": _binary("Div"),
}
