"""What networks of single frames that others have trained share, in ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vsrcli.errors import ModelError
from vsrcli.models.layers import depth_to_space, frame_size

Read = Callable[[str], np.ndarray]
"""Returns a tensor of the file by name, in PyTorch's layout: ``(outputs, inputs, rows, columns)``."""


class SingleImageNetwork(keras.Model):
    """Base: ``(B, 1, H, W, 3)`` R'G'B' in [0, 1] -> ``(B, scale*H, scale*W, 3)`` float32, not clipped.

    Frames enter in float32 whatever the policy, so that what is added to them keeps its precision.

    Attributes:
        scale: upscaling factor.
        multiple: sides are multiples of this.
        multiply_adds: per input pixel.
        levels: 0: one frame in.
    """

    def __init__(self, scale: int, *, multiple: int = 1, name: str) -> None:
        super().__init__(name=f"{name}_x{scale}", dtype="float32")
        self.scale, self.multiple, self.levels, self.multiply_adds = scale, multiple, 0, 0

    def __call__(self, frames, **options):  # what `call` raises, Keras makes several lines of
        for side in frames.shape[2:4]:
            if side is not None and side % self.multiple:
                raise ModelError(f"the network takes sides that are multiples of {self.multiple}, not {side}")
        return super().__call__(frames, **options)

    def call(self, frames):
        return self.upscale(frames[:, 0])

    def upscale(self, image):
        """Upscale frames ``(B, H, W, 3)``."""
        raise NotImplementedError

    def conv(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None,
        *,
        density: float = 1.0,
        strides: int = 1,
        **options: Any,
    ) -> layers.Conv2D:
        """Return a convolution that keeps the frame's size, with weights, and count its cost.

        Args:
            weight: ``(outputs, inputs, rows, columns)``.
            bias: ``(outputs,)``, or None.
            density: pixels that it computes per input pixel of the network.
            strides, options: of ``Conv2D``.
        """
        self.multiply_adds += int(weight.size * density)
        outputs, inputs, *size = weight.shape
        layer = layers.Conv2D(
            outputs,
            size,
            strides,
            padding="same",
            data_format="channels_last",
            use_bias=bias is not None,
            kernel_initializer="zeros",
            **options,
        )
        layer.build((None, None, None, inputs))
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        layer.set_weights([kernel] if bias is None else [kernel, bias])
        return layer


def pixel_shuffle(x, scale: int, frame=None):
    """Convert ``(B, H, W, C*scale**2)`` -> ``(B, scale*H, scale*W, C)`` in float32; the channels of a colour
    follow one another. A frame ``(B, H, W, C)`` is added, its pixels repeated."""
    (height, width), colors = frame_size(x), x.shape[-1] // scale**2
    x = ops.reshape(ops.cast(x, "float32"), (-1, height, width, colors, scale**2))
    if frame is not None:
        x = x + ops.expand_dims(frame, -1)
    return depth_to_space(x, scale)
