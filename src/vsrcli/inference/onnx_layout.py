"""The operations of ``keras.ops`` that join, cut, move and repeat numbers, as ONNX nodes.

For the converters in :data:`LAYOUT_OPERATIONS` see :mod:`vsrcli.inference.onnx_operations`. Axes are Keras';
where an array's are in another order in memory, nodes are made for that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.inference.onnx_graph import (
    FIRST,
    LARGEST,
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


def per_axis(value: Any, rank: int) -> list[int]:
    """Return a setting for each axis, of one for all or one for each."""
    return [int(value)] * rank if isinstance(value, int) else [int(each) for each in value]


def _concatenate(graph: GraphBuilder, operation: Any, shapes: list[Shape], xs: Sequence[Any]) -> Value:
    rank = len(shapes[0])
    order = FIRST if rank > 2 and any(isinstance(x, Value) and x.is_first for x in xs) else LAST
    names = [
        graph.named(x, order)
        if isinstance(x, Value)
        else graph.constant(array_of(x).transpose(order_of(rank, order)))
        for x in xs
    ]
    return Value(shapes[0], **{order: graph.emit("Concat", *names, axis=_axis(operation.axis, rank, order))})


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
    """Append a reshape; sides that stay where they are, and one other, need no computation."""
    shape = shapes[0]
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
            start, end = each.start or 0, LARGEST if each.stop is None else each.stop
            if end == x.shape[axis]:
                end = LARGEST
        else:
            start, end = int(each), int(each) + 1 or LARGEST
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
    if not any(is_free(each) and each != LARGEST for each in values):
        return graph.constant(values, np.int64)
    parts = [graph.side(each) if each != LARGEST else graph.constant([each], np.int64) for each in values]
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
    repeats = per_axis(operation.repeats, x.rank)
    repeats = [1] * (x.rank - len(repeats)) + repeats
    return Value(
        shapes[0], **{LAST: graph.emit("Tile", graph.named(x, LAST), graph.constant(repeats, np.int64))}
    )


LAYOUT_OPERATIONS: dict[str, Converter] = {
    "Concatenate": _concatenate,
    "ExpandDims": _expand_dims,
    "GetItem": _get_item,
    "Pad": _pad,
    "Repeat": _repeat,
    "Reshape": _reshape,
    "Split": _split,
    "Squeeze": _squeeze,
    "Stack": _stack,
    "Swapaxes": _swapaxes,
    "Take": _take,
    "Tile": _tile,
    "Transpose": _transpose,
}
