"""What networks from PyTorch's files share, in ``keras.ops``: channels last, tensors named as in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vsrcli.models.layers import _size, depth_to_space


class TorchNetwork(keras.Model):
    """Base of networks on single frames: ``(B, 1, H, W, 3)`` -> ``(B, scale*H, scale*W, 3)``, not clipped.

    Args:
        tensors: weights by name.
        scale: upscaling factor.

    Attributes:
        levels: 0: one frame in.
        multiple: sides of a frame are multiples of this.
        multiply_adds: per pixel of a frame; adds up while subclasses make their convolutions.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], *, scale: int, multiple: int = 1) -> None:
        super().__init__()
        self.scale, self.multiple, self.levels, self.multiply_adds = scale, multiple, 0, 0
        self._tensors: Any = dict(tensors)

    def conv(self, name: str, pixels: float = 1.0) -> FixedConv:
        """Return the convolution of this name.

        Args:
            name: of its tensors, without ``.weight`` and ``.bias``.
            pixels: of its result, for each pixel of a frame.
        """
        kernel = self._tensors[f"{name}.weight"]
        self.multiply_adds += round(pixels * kernel.size)
        return FixedConv(kernel, self._tensors.get(f"{name}.bias"))

    def call(self, frames):
        return self.upscale(frames[:, 0])

    def upscale(self, frame):
        """Upscale a frame ``(B, H, W, 3)``."""
        raise NotImplementedError


class FixedConv(layers.Layer):
    """A convolution that keeps the size; its weights come from a file.

    Args:
        kernel: (out, in, rows, columns).
        bias: (out,), or None.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None) -> None:
        super().__init__()
        if kernel.ndim != 4 or (bias is not None and bias.shape != kernel.shape[:1]):
            raise ValueError(f"a convolution of {kernel.shape}")
        self.kernel = fixed_weight(self, "kernel", kernel.transpose(2, 3, 1, 0))
        self.bias = None if bias is None else fixed_weight(self, "bias", bias)

    def call(self, x):
        x = ops.conv(x, self.kernel, padding="same", data_format="channels_last")
        return x if self.bias is None else x + self.bias


class FixedPRelu(layers.Layer):
    """Negative values times a slope for each channel, from a file."""

    def __init__(self, slope: np.ndarray) -> None:
        super().__init__()
        self.slope = fixed_weight(self, "slope", slope.reshape(-1))

    def call(self, x):
        return ops.relu(x) - self.slope * ops.relu(-x)  # OpenVINO makes one operation of this


def fixed_weight(layer: layers.Layer, name: str, array: np.ndarray) -> Any:
    """Return a weight of a layer with this content."""
    weight = layer.add_weight(shape=array.shape, name=name, initializer="zeros", trainable=False)
    weight.assign(np.ascontiguousarray(array))
    return weight


def pixel_shuffle(x, scale: int):
    """Convert ``(B, H, W, C*scale**2)``, channels first within a colour, -> ``(B, scale*H, scale*W, C)``."""
    height, width = _size(x)
    channels = x.shape[-1] // scale**2
    return depth_to_space(ops.reshape(x, (-1, height, width, channels, scale**2)), scale)


def pixel_unshuffle(x, scale: int):
    """Invert :func:`pixel_shuffle`; sides are multiples of ``scale``."""
    height, width = (side // scale for side in _size(x))
    channels = x.shape[-1]
    x = ops.reshape(x, (-1, height, scale, width, scale, channels))
    x = ops.transpose(x, (0, 1, 3, 5, 2, 4))  # B, H, W, C, s, s
    return ops.reshape(x, (-1, height, width, channels * scale**2))


def double_nearest(x):
    """Double the size by repeating pixels."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
