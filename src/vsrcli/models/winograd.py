"""Convolutions with fewer multiplications: Winograd's minimal filtering, for ``keras.ops`` on OpenVINO.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. Along one axis, m outputs of a
filter with three taps take m + 2 products of weighted sums instead of 3m. The sums are passes over memory, so
it matters how features lie: see :class:`RowInterleaved`.

How a network's 3x3 convolutions are carried out: as they stand, or with fewer multiplications.

A network is written with a ``conv`` that takes a layer and features side by side, and does not care where
these lie: whatever else it does is done to single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from vsrcli.models.architectures import DUF_ROWS as ROWS

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


@cache
def winograd_matrices(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Winograd's F(m, 3): m outputs of a filter with three taps from m + 2 products.

    Returns:
        ``B (m+2, m+2)``, ``G (m+2, 3)``, ``A (m, m+2)``: ``A @ ((G @ taps) * (B @ inputs))`` is the
        correlation. By Toom and Cook's construction, from the values of polynomials at some points and at
        infinity; a single output is taken as it is defined.
    """
    if outputs == 1:
        return np.eye(3), np.eye(3), np.ones((1, 3))
    points = np.array(_POINTS[: outputs + 1])
    at_infinity = np.eye(3)[2:], np.eye(outputs)[outputs - 1 :]
    weights = np.concatenate([points[:, None] ** np.arange(3), at_infinity[0]])
    after = np.concatenate([points[:, None] ** np.arange(outputs), at_infinity[1]]).T
    # each output j is the sum over taps k of input j + k: linear equations for B
    system = np.einsum("ji,ik->jki", after, weights).reshape(3 * outputs, outputs + 2)
    wanted = np.zeros((outputs, 3, outputs + 2))
    for j in range(outputs):
        for k in range(3):
            wanted[j, k, j + k] = 1
    before = np.linalg.lstsq(system, wanted.reshape(3 * outputs, outputs + 2), rcond=None)[0]
    return np.round(before, 12), weights, after


def weighted_sum(terms: Sequence[Any], weights: np.ndarray) -> Any:
    """A weighted sum; None stands for zero."""
    used = [(x, float(weight)) for x, weight in zip(terms, weights, strict=True) if x is not None and weight]
    return plain_sum([x if weight == 1 else x * weight for x, weight in used]) if used else None


def plain_sum(terms: Sequence[Any]) -> Any:
    """A plain sum."""
    made = terms[0]
    for term in terms[1:]:
        made = made + term
    return made


@dataclass(frozen=True)
class RowInterleaved:
    """Features as ``(pixels, C)``, every sixth row of a frame side by side, and convolutions of them.

    The frame's rows 0, 6, 12, ... come first, then 1, 7, 13, ...: where minimal filtering adds up every sixth
    row, these are six arrays that lie in memory as they are, and so are its results. What is done to single
    pixels does not mind. A frame has rows added until six divide their number; they must be zero where a
    convolution looks beyond its row, see :meth:`masked`.

    OpenVINO keeps channels second, in its shapes; in memory its convolutions want them last, as they are
    here. So a transposition beside a convolution costs nothing, if what is on its other side is nothing but
    a reshape, which holds it in its place.

    Attributes:
        height, width: of the frame.
    """

    height: int
    width: int

    @property
    def tiles(self) -> int:
        """Times six rows."""
        return -(-self.height // ROWS)

    def interleave(self, x: Any) -> Any:
        """``(1, 6*tiles, W, C)``, the rows in their natural order -> ``(pixels, C)``."""
        channels = x.shape[-1]
        x = ops.reshape(x, (self.tiles, ROWS, self.width * channels))
        return ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, channels))

    def deinterleave(self, x: Any) -> Any:
        """:meth:`order` undone."""
        channels = x.shape[-1]
        x = ops.reshape(x, (ROWS, self.tiles, self.width * channels))
        x = ops.transpose(x, (1, 0, 2))
        return ops.reshape(x, (1, ROWS * self.tiles, self.width, channels))

    def zero_padding_rows(self, x: Any) -> Any:
        """Zeros below the frame."""
        if self.height % ROWS == 0:
            return x
        below = np.arange(ROWS)[:, None] + ROWS * np.arange(self.tiles) >= self.height  # 6, tiles
        return x * np.repeat(~below.reshape(-1, 1), self.width, 0).astype(np.float32)

    def pointwise(self, x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
        """A convolution of single pixels, and ReLU."""
        return ops.relu(self._conv(x, ROWS * self.tiles, kernel) + bias.astype(np.float32))

    def conv(self, kernel: np.ndarray, *parts: Any) -> Any:
        """A 3x3 convolution that keeps the size, by F(6, 3) along the height, of parts side by side.

        Weighted sums of sixths are products of matrices: each goes over its features once, and OpenVINO has
        far less to compile than in sums written out. The rows above and below six belong to others; they are
        of use in the first and the last sum only, and added there. Parts are not put side by side: adding up
        what convolutions make of each costs less than the copy.

        Args:
            kernel: ``(3, 3, C, K)``, C being the channels of all parts.
            parts: ``(pixels, C')`` each.
        """
        _, weights, after = winograd_matrices(ROWS)
        kernels = np.tensordot(weights, kernel, 1)[:, None].astype(np.float32)  # 8, 1, 3, C, K
        products: list[list[Any]] = [[] for _ in kernels]
        start = 0
        for x in parts:
            channels = slice(start, start := start + x.shape[-1])
            for made, each, taps in zip(products, self._sums(x), kernels, strict=True):
                made.append(self._conv(each, self.tiles, taps[:, :, channels]))
        return _weighted(after, ops.concatenate([plain_sum(made) for made in products], axis=0))

    def _sums(self, x: Any) -> list[Any]:
        """What the convolutions of :meth:`conv` act on: eight of (pixels/6, C)."""
        before, _, _ = winograd_matrices(ROWS)
        first, *inner, last = ops.split(_weighted(before[:, 1:-1], x), ROWS + 2, axis=0)
        above, below = self._beside(x)
        return [first + float(before[0, 0]) * above, *inner, last + float(before[-1, -1]) * below]

    def _beside(self, x: Any) -> tuple[Any, Any]:
        """The rows above and below each six, (pixels/6, C) each."""
        sixth, outside = self.tiles * self.width, ops.zeros((self.width, x.shape[-1]))
        if self.tiles == 1:
            return outside, outside
        above = ops.concatenate([outside, x[(ROWS - 1) * sixth : -self.width]], axis=0)
        return above, ops.concatenate([x[self.width : sixth], outside], axis=0)

    def _conv(self, x: Any, height: int, kernel: np.ndarray) -> Any:
        """A convolution of ``(height*W, C)`` that keeps the size."""
        x = ops.reshape(x, (1, height, self.width, x.shape[-1]))
        x = ops.conv(x, kernel, padding="same", data_format="channels_last")
        return ops.reshape(x, (-1, kernel.shape[-1]))


def _weighted(weights: np.ndarray, x: Any) -> Any:
    """``(n, m)`` weights of m parts of ``(pixels, C)`` -> n sums."""
    flat = ops.matmul(weights.astype(np.float32), ops.reshape(x, (weights.shape[1], -1)))
    return ops.reshape(flat, (-1, x.shape[-1]))


def concat_conv(layer: Any, first: Any, *others: Any) -> Any:
    """A layer as Keras applies it to parts side by side, ``(B, H, W, C)`` each."""
    return layer(ops.concatenate([first, *others], axis=-1) if others else first)


class FrameLayout:
    """Features lie as frames do, ``(B, H, W, C)``, everywhere. :class:`WinogradLayout` has the same methods."""

    __call__ = staticmethod(concat_conv)

    def to_layout(self, x: Any) -> Any:
        return x

    unpack = pack = to_frame = to_layout


class WinogradLayout:
    """F(6, 3) along the height, on features that lie as :class:`~vsrcli.models.winograd.RowInterleaved`.

    Features are zero in the rows that were added below a frame. Between functions they have the shape of a
    frame, ``(1, H', W, C)``, H' being H rounded up to a multiple of six.

    Args:
        height, width: of the frames.
    """

    def __init__(self, height: int, width: int) -> None:
        self._rows = RowInterleaved(height, width)

    def __call__(self, layer: Any, *parts: Any) -> Any:
        """Parts, ``(pixels, C)`` each, and what comes of them."""
        kernel, bias = (np.asarray(ops.convert_to_numpy(each)) for each in layer.weights)
        return self._rows.zero_padding_rows(layer.activation(self._rows.conv(kernel, *parts) + bias))

    def to_layout(self, x: Any) -> Any:
        """``(1, H, W, C)`` -> ``(pixels, C)``."""
        below = -x.shape[1] % ROWS
        return self._rows.interleave(ops.pad(x, ((0, 0), (0, below), (0, 0), (0, 0))) if below else x)

    def unpack(self, features: Any) -> Any:
        """``(1, H', W, C)`` -> ``(pixels, C)``."""
        return ops.reshape(features, (-1, features.shape[-1]))

    def pack(self, x: Any) -> Any:
        """``(pixels, C)`` -> ``(1, H', W, C)``."""
        return ops.reshape(x, (1, -1, self._rows.width, x.shape[-1]))

    def to_frame(self, x: Any) -> Any:
        """``(pixels, C)`` -> ``(1, H', W, C)``, the rows in their natural order."""
        return self._rows.deinterleave(x)
