"""3x3 convolutions by Winograd's minimal filtering, in ``keras.ops``, for OpenVINO.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. Along one axis,
F(m, 3) computes m outputs of a filter with three taps from m + 2 products of weighted sums instead of 3m. The
sums are passes over memory, so the order of features in memory matters.

A network takes its convolutions as an argument ``conv(layer, *parts)`` with features to be concatenated along
channels. :class:`FrameLayout` applies them as they are, :class:`WinogradLayout` by F(6, 3). Networks do not
depend on the layout, as everything else in them acts on single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from vsrcli.models.costs import DUF_ROWS as ROWS
from vsrcli.models.minimal_filtering import transform_kernel, winograd_matrices


def concat_conv(layer: Any, first: Any, *others: Any) -> Any:
    """Apply a Keras layer to parts concatenated along channels, ``(B, H, W, C)`` each."""
    return layer(ops.concatenate([first, *others], axis=-1) if others else first)


class FrameLayout:
    """Features as ``(B, H, W, C)`` everywhere. Same methods as :class:`WinogradLayout`."""

    __call__ = staticmethod(concat_conv)

    def to_layout(self, x: Any) -> Any:
        return x

    unpack = pack = to_frame = to_layout


@dataclass(frozen=True)
class WinogradLayout:
    """Features as ``(pixels, C)`` with interleaved rows, and convolutions by F(6, 3) along the height.

    A frame's rows 0, 6, 12, ... come first, then 1, 7, 13, ...: minimal filtering adds up every sixth row,
    and in this order these are six contiguous arrays, as are its results. Operations on single pixels are not
    affected. A frame is padded below to a multiple of six rows; the padding must be zero where a convolution
    reads beyond its row, see :meth:`zero_padding_rows`. Between functions features have the shape of a frame,
    ``(1, H', W, C)``, with H' being H rounded up to a multiple of six.

    OpenVINO has channels second in its shapes, but its convolutions want them last in memory, as they are
    here. So a transposition next to a convolution is free if on its other side there is only a reshape, which
    holds it in its place.

    Attributes:
        height, width: of the frame.
    """

    height: int
    width: int

    def __call__(self, layer: Any, *parts: Any) -> Any:
        """Apply a Keras layer to concatenated parts, ``(pixels, C)`` each -> ``(pixels, K)``."""
        kernel, bias = (np.asarray(ops.convert_to_numpy(each)) for each in layer.weights)
        return self.zero_padding_rows(layer.activation(self.conv(kernel, *parts) + bias))

    def unpack(self, features: Any) -> Any:
        """Reshape ``(1, H', W, C)`` -> ``(pixels, C)``."""
        return ops.reshape(features, (-1, features.shape[-1]))

    def pack(self, x: Any) -> Any:
        """Reshape ``(pixels, C)`` -> ``(1, H', W, C)``."""
        return ops.reshape(x, (1, -1, self.width, x.shape[-1]))

    @property
    def row_groups(self) -> int:
        """Number of groups of six rows."""
        return -(-self.height // ROWS)

    def to_layout(self, x: Any) -> Any:
        """Convert ``(1, H, W, C)`` or ``(1, H', W, C)``, rows in natural order -> ``(pixels, C)``."""
        x, channels = pad_rows(x), x.shape[-1]
        x = ops.reshape(x, (self.row_groups, ROWS, self.width * channels))
        return ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, channels))

    def to_frame(self, x: Any) -> Any:
        """Convert ``(pixels, C)`` -> ``(1, H', W, C)``, rows in natural order."""
        channels = x.shape[-1]
        x = ops.reshape(x, (ROWS, self.row_groups, self.width * channels))
        x = ops.transpose(x, (1, 0, 2))  # row_groups, 6, W*C
        return ops.reshape(x, (1, ROWS * self.row_groups, self.width, channels))

    def zero_padding_rows(self, x: Any) -> Any:
        """Set the rows below the frame to zero: ``(pixels, C)`` -> the same shape."""
        if self.height % ROWS == 0:
            return x
        below = np.arange(ROWS)[:, None] + ROWS * np.arange(self.row_groups) >= self.height  # 6, row_groups
        return x * np.repeat(~below.reshape(-1, 1), self.width, 0).astype(np.float32)

    def pointwise(self, x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
        """Apply a 1x1 convolution and ReLU: ``(pixels, C)`` -> ``(pixels, K)``."""
        return ops.relu(self._conv(x, ROWS * self.row_groups, kernel) + bias.astype(np.float32))

    def conv(self, kernel: np.ndarray, *parts: Any) -> Any:
        """Apply a 3x3 convolution with zero padding to concatenated parts, by F(6, 3) along the height.

        Weighted sums of rows are matrix products: each reads its features once, and OpenVINO has far less to
        compile than with sums written out. The rows above and below a group of six belong to other groups;
        they occur in the first and the last sum only, and are added there. Parts are not concatenated: adding
        up the convolutions of each takes less time than the copy.

        Args:
            kernel: ``(3, 3, C, K)``, with C the channels of all parts.
            parts: ``(pixels, C')`` each.

        Returns:
            ``(pixels, K)``.
        """
        return self.conv_transformed(transform_kernel(kernel, ROWS), *parts)

    def conv_transformed(self, kernels: Any, *parts: Any) -> Any:
        """Do the same with the kernel from :func:`~vsrcli.models.minimal_filtering.transform_kernel`."""
        _, _, after = winograd_matrices(ROWS)
        products: list[list[Any]] = [[] for _ in range(ROWS + 2)]
        start = 0
        for x in parts:
            channels = slice(start, start := start + x.shape[-1])
            for number, (terms, transformed) in enumerate(zip(products, self._input_sums(x), strict=True)):
                taps = self._taps(kernels, number, channels)
                terms.append(self._conv(transformed, self.row_groups, taps))
        return _matrix_sums(after, ops.concatenate([plain_sum(terms) for terms in products], axis=0))

    def _taps(self, kernels: Any, number: int, channels: slice) -> Any:
        """Return one of the eight kernels, of some input channels: (1, 3, C', K)."""
        return kernels[number, None, :, channels]

    def _input_sums(self, x: Any) -> list[Any]:
        """Return the eight weighted sums of rows that :meth:`conv` convolves, (pixels/6, C) each."""
        before, _, _ = winograd_matrices(ROWS)
        first, *inner, last = ops.split(_matrix_sums(before[:, 1:-1], x), ROWS + 2, axis=0)
        above, below = self._neighbour_rows(x)
        return [first + float(before[0, 0]) * above, *inner, last + float(before[-1, -1]) * below]

    def _neighbour_rows(self, x: Any) -> tuple[Any, Any]:
        """Return the rows above and below each group of six, (pixels/6, C) each."""
        sixth, outside = self.row_groups * self.width, ops.zeros((self.width, x.shape[-1]))
        if self.row_groups == 1:
            return outside, outside
        above = ops.concatenate([outside, x[(ROWS - 1) * sixth : -self.width]], axis=0)
        return above, ops.concatenate([x[self.width : sixth], outside], axis=0)

    def _conv(self, x: Any, height: int, kernel: np.ndarray) -> Any:
        """Apply a convolution with zero padding: ``(height*W, C)`` -> ``(height*W, K)``."""
        x = ops.reshape(x, (1, height, self.width, x.shape[-1]))
        x = ops.conv(x, kernel, padding="same", data_format="channels_last")
        return ops.reshape(x, (-1, kernel.shape[-1]))


def pad_rows(x: Any) -> Any:
    """Pad ``(1, H, W, C)`` below with zeros to a multiple of six rows."""
    below = -x.shape[1] % ROWS
    return ops.pad(x, ((0, 0), (0, below), (0, 0), (0, 0))) if below else x


def weighted_sum(terms: Sequence[Any], weights: np.ndarray) -> Any:
    """Return the weighted sum of arrays; None stands for zero, also in the result."""
    used = [(x, float(weight)) for x, weight in zip(terms, weights, strict=True) if x is not None and weight]
    return plain_sum([x if weight == 1 else x * weight for x, weight in used]) if used else None


def plain_sum(terms: Sequence[Any]) -> Any:
    """Return the sum of arrays; ``sum`` would begin with an addition to 0."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _matrix_sums(weights: np.ndarray, x: Any) -> Any:
    """Return n sums of m arrays, weighted by ``(n, m)``: ``(m*k, C)`` -> ``(n*k, C)``."""
    flat = ops.matmul(weights.astype(np.float32), ops.reshape(x, (weights.shape[1], -1)))
    return ops.reshape(flat, (-1, x.shape[-1]))
