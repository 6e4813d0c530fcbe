"""The operations of ``keras.ops`` that networks consist of, as ONNX nodes.

:data:`OPERATIONS` has a converter for each class of Keras' operations: ``convert(graph, operation, shapes,
*arguments)`` appends nodes and returns the value, or a list of values. ``shapes`` are those of the results.
Those that only move numbers are in :mod:`vsrcli.inference.onnx_layout`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.onnx_graph import FIRST, LAST, GraphBuilder, Value, array_of, order_of
from vsrcli.inference.onnx_layout import LAYOUT_OPERATIONS, Converter, Shape, per_axis


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
    strides, dilations = per_axis(operation.strides, spatial), per_axis(operation.dilation_rate, spatial)
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


def _max_pool(graph: GraphBuilder, operation: Any, shapes: list[Shape], inputs: Value) -> Value:
    _require_channels_last(operation)
    spatial = inputs.rank - 2
    size = per_axis(operation.pool_size, spatial)
    strides = per_axis(operation.pool_size if operation.strides is None else operation.strides, spatial)
    if operation.padding != "valid":
        raise EngineError(f"a pooling's padding {operation.padding!r} has no counterpart in ONNX here")
    name = graph.emit("MaxPool", graph.named(inputs, FIRST), kernel_shape=size, strides=strides)
    return Value(shapes[0], **{FIRST: name})


def _require_channels_last(operation: Any) -> None:
    import keras

    if (operation.data_format or keras.config.image_data_format()) != "channels_last":
        raise EngineError("a convolution with channels first has no counterpart in ONNX here")


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
    "Conv": _conv,
    "ConvertToTensor": _cast,
    "DepthwiseConv": _depthwise_conv,
    "Divide": _binary("Div"),
    "Elu": _elu,
    "Exp": _unary("Exp"),
    "Gelu": _gelu,
    "LeakyRelu": _leaky_relu,
    "Log": _unary("Log"),
    "Matmul": _matmul,
    "Max": _reduction("ReduceMax"),
    "Maximum": _binary("Max"),
    "MaxPool": _max_pool,
    "Mean": _reduction("ReduceMean"),
    "Minimum": _binary("Min"),
    "Multiply": _binary("Mul"),
    "Negative": _unary("Neg"),
    "Power": _power,
    "ReLU": _activation_relu,
    "Relu": _unary("Relu"),
    "Relu6": _relu6,
    "Rsqrt": _reciprocal_root,
    "Sigmoid": _unary("Sigmoid"),
    "Silu": _silu,
    "Softmax": _softmax,
    "Softplus": _unary("Softplus"),
    "Sqrt": _unary("Sqrt"),
    "Square": _square,
    "Subtract": _binary("Sub"),
    "Sum": _reduction("ReduceSum"),
    "Tanh": _unary("Tanh"),
    "TrueDivide": _binary("Div"),
    **LAYOUT_OPERATIONS,
}
