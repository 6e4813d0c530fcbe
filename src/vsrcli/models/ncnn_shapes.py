"""Sizes along an ncnn graph, as functions of a frame's size: so its factor and costs are known unrun."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from vsrcli.errors import ModelError
from vsrcli.models.ncnn_graph import NcnnGraph, NcnnLayer

MAX_SCALE = 8
_MAX_FACTOR, _MAX_OFFSET = 16, 4096  # of a blob's sides
_UNSET = -233  # ncnn's "to the end", "the rest"


@dataclass(frozen=True)
class Side:
    """A side of a blob: ``factor * side + offset``, of a frame's side."""

    factor: Fraction
    offset: int = 0

    def times(self, factor: Fraction) -> Side:
        """Return the side multiplied by a factor.

        Raises:
            ModelError: that is no whole number of pixels.
        """
        offset = self.offset * factor
        if offset.denominator != 1:
            raise ModelError(f"a side does not divide by {factor.denominator}")
        return Side(self.factor * factor, int(offset))

    def plus(self, pixels: int) -> Side:
        return replace(self, offset=self.offset + pixels)


@dataclass(frozen=True)
class Shape:
    """Of a blob. A constant's sides do not depend on the frame's.

    Attributes:
        channels, height, width: of the blob.
    """

    channels: int
    height: Side
    width: Side


@dataclass(frozen=True)
class GraphShapes:
    """What a network does to a frame's size.

    Attributes:
        by_blob: shapes by the name of a blob.
        scale, margin: ``result = scale * side - margin``.
        multiple: sides of frames are multiples of this.
        multiply_adds: per pixel of a frame.
    """

    by_blob: Mapping[str, Shape]
    scale: int
    margin: int
    multiple: int
    multiply_adds: int


def infer_shapes(graph: NcnnGraph) -> GraphShapes:
    """Follow the sizes from a frame of three colours to the result.

    Raises:
        ModelError: a layer does not fit, or the result is no frame of three colours, 1 to 8 times as large.
    """
    shapes: dict[str, Shape] = {}
    multiply_adds = Fraction(0)
    for layer in graph.layers:
        inputs = [shapes[name] for name in layer.inputs]
        try:
            if len(inputs) not in _INPUTS.get(layer.kind, (1,)):
                raise ModelError(f"it has {len(inputs)} inputs")
            outputs = _RULES.get(layer.kind, _same)(layer, inputs)
            if len(outputs) != len(layer.outputs):
                raise ModelError(f"it has {len(layer.outputs)} outputs")
            _check_limits(outputs)
        except (ModelError, ValueError) as error:
            raise ModelError(
                f"{str(graph.path)!r} cannot be used: layer {layer.name} ({layer.kind}): {error}"
            ) from error
        shapes.update(zip(layer.outputs, outputs, strict=True))
        if layer.kind.startswith("Convolution"):
            area = outputs[0].height.factor * outputs[0].width.factor
            multiply_adds += area * layer.integer(6)
    scale, margin = _check_result(graph, shapes[graph.output])
    factors = [side.factor for shape in shapes.values() for side in (shape.height, shape.width)]
    multiple = math.lcm(*(factor.denominator for factor in factors))
    return GraphShapes(shapes, scale, margin, multiple, round(multiply_adds))


def _check_limits(shapes: list[Shape]) -> None:
    """Raise ModelError if blobs are far larger than those of any network: they would take all memory."""
    for shape in shapes:
        for side in (shape.height, shape.width):
            if side.factor > _MAX_FACTOR or abs(side.offset) > _MAX_OFFSET:
                raise ModelError(f"it enlarges a frame by {float(side.factor):g}, {side.offset} pixels more")


def _check_result(graph: NcnnGraph, shape: Shape) -> tuple[int, int]:
    reason = ""
    height, width = shape.height, shape.width
    if shape.channels != 3:
        reason = f"its result has {shape.channels} channels, not three colours"
    elif height != width:
        reason = "it enlarges height and width differently"
    elif height.factor.denominator != 1 or not 1 <= height.factor <= MAX_SCALE:
        reason = f"it enlarges by {height.factor}: 1 to {MAX_SCALE}, in whole numbers, is possible"
    elif height.offset > 0:
        reason = f"its result is {height.offset} pixels larger than a multiple of the frame"
    if reason:
        raise ModelError(f"{str(graph.path)!r} cannot be used: {reason}")
    return int(height.factor), -height.offset


def interpolation_factors(layer: NcnnLayer) -> tuple[Fraction, Fraction]:
    """Return the factors of rows and columns of an ``Interp`` layer."""
    factors = (layer.number(1, 1.0), layer.number(2, 1.0))
    if layer.integer(3) or layer.integer(4) or layer.integer(5):
        raise ModelError("it resizes to a fixed size")
    if layer.integer(6):
        raise ModelError("it aligns corners, which no tile can do")
    rows, columns = (Fraction(factor).limit_denominator(64) for factor in factors)
    if min(rows, columns) <= 0 or max(rows, columns) > 64:
        raise ModelError(f"it resizes by {factors[0]:g} and {factors[1]:g}")
    return rows, columns


def crop_ranges(layer: NcnnLayer, shape: Shape) -> tuple[tuple[int, int | None], ...]:
    """Return first and last of channels, rows and columns of a ``Crop`` layer with one input.

    An end is None or counts from the end where it is negative, as in Python's slices.
    """
    starts, ends, axes = layer.array(9), layer.array(10), layer.array(11)
    ranges: list[tuple[int, int | None]] = [(0, None)] * 3
    if starts and ends:
        for axis, start, end in zip(axes or range(len(starts)), starts, ends, strict=True):
            last = None if end in (_UNSET, 0) or end >= 2**30 else int(end)
            ranges[int(axis) % 3] = (0 if start == _UNSET else int(start), last)
        return tuple(ranges)
    for axis, (offset, size, rest) in enumerate(((2, 5, 8), (1, 4, 7), (0, 3, 6))):
        start, length, end = layer.integer(offset), layer.integer(size), layer.integer(rest)
        fixed = length not in (0, _UNSET)
        ranges[axis] = (start, start + length if fixed else -end if end else None)
    return tuple(ranges)


def slice_lengths(layer: NcnnLayer, channels: int) -> list[int]:
    """Return the channels of each output of a ``Slice`` layer."""
    count = len(layer.outputs)
    if layer.integer(1) not in (0, -3):
        raise ModelError("it slices rows or columns")
    if indices := layer.array(2):
        edges = [0, *(int(each) % channels for each in indices), channels]
        lengths = [last - first for first, last in pairwise(edges)]
    else:
        lengths, rest = [], channels
        for number, length in enumerate(layer.array(0)):
            lengths.append(rest // (count - number) if length == _UNSET else int(length))
            rest -= lengths[-1]
    if len(lengths) != count or sum(lengths) != channels or min(lengths) < 1:
        raise ModelError(f"it slices {channels} channels into {lengths}")
    return lengths


def _input(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    if layer.integer(2, 3) not in (0, 3):
        raise ModelError(f"the network takes {layer.integer(2)} channels, not three colours")
    return [Shape(3, Side(Fraction(1)), Side(Fraction(1)))]


def _same(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    return inputs * len(layer.outputs)


def _convolution(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    found = layer.convolution()
    if shape.channels != found.inputs:
        raise ModelError(f"it takes {found.inputs} channels and gets {shape.channels}")
    if layer.integer(9) not in range(7):
        raise ModelError(f"it has an activation of the unknown kind {layer.integer(9)}")
    sides = []
    for axis, side in enumerate((shape.height, shape.width)):
        stride = found.stride[axis]
        if found.pads[axis][0] < 0 and stride != 1:
            raise ModelError("its padding depends on the size")
        offset = side.offset + sum(found.padding(axis)) - found.extent(axis)
        sides.append(Side(side.factor / stride, offset // stride + 1))
    return [Shape(found.outputs, *sides)]


def _constant(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    width, height, channels = (layer.integer(key) for key in (0, 1, 2))
    if not height and not channels:  # one dimension: a value for each channel
        width, channels = 1, width
    sides = [Side(Fraction(0), max(side, 1)) for side in (height, width)]
    return [Shape(max(channels, 1), *sides)]


def _arithmetic(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    """Return the shape that two or more inputs have or, each 1 long where they differ, are repeated to."""
    if layer.kind == "BinaryOp":
        if layer.integer(0) not in range(12):
            raise ModelError(f"it computes the unknown operation {layer.integer(0)}")
        if bool(layer.integer(1)) != (len(inputs) == 1):
            raise ModelError(f"it has {len(inputs)} inputs")
    elif layer.integer(0) not in (0, 1, 2) or len(layer.array(1)) not in (0, len(inputs)):
        raise ModelError(f"it computes the unknown operation {layer.integer(0)}")
    return [
        Shape(
            _joined([shape.channels for shape in inputs], 1),
            _joined([shape.height for shape in inputs], Side(Fraction(0), 1)),
            _joined([shape.width for shape in inputs], Side(Fraction(0), 1)),
        )
    ]


def _joined(values: list, one):
    longer = {value for value in values if value != one}
    if len(longer) > 1:
        raise ModelError("its inputs have different sizes")
    return next(iter(longer), one)


def _concat(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    if layer.integer(0) not in (0, -3):
        raise ModelError("it joins rows or columns")
    if len({(shape.height, shape.width) for shape in inputs}) != 1:
        raise ModelError("its inputs have different sizes")
    return [replace(inputs[0], channels=sum(shape.channels for shape in inputs))]


def _interpolate(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    rows, columns = interpolation_factors(layer)
    if layer.integer(0) not in (1, 2, 3):
        raise ModelError(f"it resizes in the unknown way {layer.integer(0)}")
    return [Shape(shape.channels, shape.height.times(rows), shape.width.times(columns))]


def _pixel_shuffle(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    factor = layer.integer(0, 1)
    if factor < 1 or shape.channels % factor**2:
        raise ModelError(f"it cannot shuffle {shape.channels} channels by {factor}")
    sides = [side.times(Fraction(factor)) for side in (shape.height, shape.width)]
    return [Shape(shape.channels // factor**2, *sides)]


def _pixel_unshuffle(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    factor = layer.integer(0, 1)
    if factor < 1:
        raise ModelError(f"it has the step {factor}")
    sides = [side.times(Fraction(1, factor)) for side in (shape.height, shape.width)]
    return [Shape(shape.channels * factor**2, *sides)]


def _pad(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    top, bottom, left, right = (layer.integer(key) for key in range(4))
    if min(top, bottom, left, right) < 0 or layer.integer(7) or layer.integer(8) or layer.integer(6):
        raise ModelError("it pads in a way that vsr does not know")
    if layer.integer(4) not in (0, 1, 2):
        raise ModelError(f"it pads in the unknown way {layer.integer(4)}")
    return [Shape(shape.channels, shape.height.plus(top + bottom), shape.width.plus(left + right))]


def _crop(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    if len(inputs) == 2:  # to the size of the second
        if layer.integer(0) or layer.integer(1) or layer.integer(2):
            raise ModelError("it crops at an offset")
        return [inputs[1]]
    (shape,) = inputs
    channels, rows, columns = crop_ranges(layer, shape)
    kept = len(range(shape.channels)[slice(*channels)])
    if kept < 1:
        raise ModelError("it leaves no channel")
    return [Shape(kept, _cropped(shape.height, rows), _cropped(shape.width, columns))]


def _cropped(side: Side, kept: tuple[int, int | None]) -> Side:
    start, end = kept
    if start < 0 or (end is not None and end > 0):
        raise ModelError("it crops to a fixed size")
    return side.plus((end or 0) - start)


def _slice(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    (shape,) = inputs
    return [replace(shape, channels=length) for length in slice_lengths(layer, shape.channels)]


def _prelu(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    if layer.integer(0) not in (1, inputs[0].channels):
        raise ModelError(f"it has {layer.integer(0)} slopes for {inputs[0].channels} channels")
    return _same(layer, inputs)


def _unary(layer: NcnnLayer, inputs: list[Shape]) -> list[Shape]:
    if layer.integer(0) not in (0, 1, 4, 5, 6, 7, 8, 15, 16):
        raise ModelError(f"it computes the unknown function {layer.integer(0)}")
    return _same(layer, inputs)


_MANY = range(1, 1000)
_INPUTS = {
    "Input": (0,),
    "MemoryData": (0,),
    "BinaryOp": (1, 2),
    "Eltwise": _MANY,
    "Concat": _MANY,
    "Crop": (1, 2),
}
_RULES: dict[str, Callable[[NcnnLayer, list[Shape]], list[Shape]]] = {
    "Input": _input,
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "MemoryData": _constant,
    "BinaryOp": _arithmetic,
    "Eltwise": _arithmetic,
    "Concat": _concat,
    "Interp": _interpolate,
    "PixelShuffle": _pixel_shuffle,
    "Reorg": _pixel_unshuffle,
    "Padding": _pad,
    "Crop": _crop,
    "Slice": _slice,
    "PReLU": _prelu,
    "UnaryOp": _unary,
}
