"""How a network's 3x3 convolutions are carried out: as they stand, or with fewer multiplications.

A network is written with a ``conv`` that takes a layer and features side by side, and does not care where
these lie: whatever else it does is done to single pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from vsrcli.models.costs import DUF_ROWS as ROWS
from vsrcli.models.winograd import RowInterleaved


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
