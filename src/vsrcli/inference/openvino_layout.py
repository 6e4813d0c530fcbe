"""Winograd's layout of features for frames of any size: sizes and weights are inputs of the OpenVINO graph.

Only the process that writes graphs imports this (:mod:`vsrcli.inference.openvino_export`): it needs Keras on
its OpenVINO backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from keras import ops
from keras.src.backend.openvino.core import OpenVINOKerasTensor, get_ov_output
from openvino import opset13

from vsrcli.models.winograd import ROWS, WinogradLayout


@dataclass(frozen=True)
class FreeWinogradLayout(WinogradLayout):
    """:class:`~vsrcli.models.winograd.WinogradLayout` with tensors for what is a number there.

    Once a graph's sizes are set, constant folding leaves the graph that numbers would have given.

    Attributes:
        height, width: of the frame, integer scalars.
        kernels: of each layer, by its kernel's path, from
            :func:`~vsrcli.models.minimal_filtering.transform_kernel`.
    """

    height: Any
    width: Any
    kernels: Mapping[str, Any]

    def __call__(self, layer: Any, *parts: Any) -> Any:
        x = self.conv_transformed(self.kernels[layer.kernel.path], *parts)
        return self.zero_padding_rows(layer.activation(x + layer.bias))

    @cached_property
    def row_groups(self) -> Any:  # type: ignore[override]
        return (self.height + (ROWS - 1)) // ROWS

    def to_layout(self, x: Any) -> Any:
        channels = x.shape[-1]
        below = self.row_groups * ROWS - self.height
        pads = opset13.concat([_vector(0), _as_vector(below), _vector(0, 0)], 0)
        zero = opset13.constant(np.float32(0))
        x = _wrap(opset13.pad(get_ov_output(x), _vector(0, 0, 0, 0), pads, "constant", zero))
        x = ops.reshape(x, (self.row_groups, ROWS, self.width * channels))
        return ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, channels))

    def zero_padding_rows(self, x: Any) -> Any:
        return x * self._inside

    @cached_property
    def _inside(self) -> Any:
        """1 on the frame's pixels and 0 on those below it, (pixels, 1)."""
        numbers = [
            opset13.range(_scalar(0), get_ov_output(count), _scalar(1), "i32")
            for count in (_wrap(_scalar(ROWS)), self.row_groups)
        ]
        first = opset13.unsqueeze(numbers[0], _vector(1))
        rows = opset13.add(first, opset13.multiply(opset13.unsqueeze(numbers[1], _vector(0)), _scalar(ROWS)))
        inside = opset13.convert(opset13.less(rows, get_ov_output(self.height)), "f32")  # 6, row_groups
        shape = opset13.concat([_as_vector(self.row_groups * ROWS), _as_vector(self.width)], 0)
        mask = opset13.broadcast(opset13.reshape(inside, _vector(-1, 1), False), shape)
        return _wrap(opset13.reshape(mask, _vector(-1, 1), False))

    def _taps(self, kernels: Any, number: int, channels: slice) -> Any:
        first, last = _vector(number, channels.start), _vector(number + 1, channels.stop)
        return _wrap(opset13.slice(get_ov_output(kernels), first, last, _vector(1, 1), _vector(0, 2)))

    def _neighbour_rows(self, x: Any) -> tuple[Any, Any]:
        sixth = self.row_groups * self.width
        shape = opset13.concat([_as_vector(self.width), _vector(x.shape[-1])], 0)
        outside = _wrap(opset13.broadcast(opset13.constant(np.float32(0)), shape))
        above = [outside, _rows(x, (ROWS - 1) * sixth, ROWS * sixth - self.width)]
        below = [_rows(x, self.width, sixth), outside]
        return ops.concatenate(above, axis=0), ops.concatenate(below, axis=0)

    def _conv(self, x: Any, height: Any, kernel: Any) -> Any:
        # not by Keras, which would have to know the number of channels
        x = get_ov_output(ops.reshape(x, (1, height, self.width, x.shape[-1])))
        x = opset13.transpose(x, _vector(0, 3, 1, 2))
        taps = opset13.transpose(get_ov_output(kernel), _vector(3, 2, 0, 1))
        x = opset13.convolution(x, taps, [1, 1], [0, 0], [0, 0], [1, 1], "same_upper")
        return ops.reshape(_wrap(opset13.transpose(x, _vector(0, 2, 3, 1))), (-1, kernel.shape[-1]))


def _wrap(node: Any) -> Any:
    return OpenVINOKerasTensor(node.output(0))


@cache
def _scalar(value: int) -> Any:
    return opset13.constant(np.int32(value))


@cache
def _vector(*values: int) -> Any:
    return opset13.constant(np.array(values, np.int32))


def _as_vector(scalar: Any) -> Any:
    return opset13.unsqueeze(get_ov_output(scalar), _vector(0))


def _rows(x: Any, first: Any, last: Any) -> Any:
    """Return ``x[first:last]``."""
    return _wrap(opset13.slice(get_ov_output(x), _as_vector(first), _as_vector(last), _vector(1), _vector(0)))
