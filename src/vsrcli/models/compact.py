"""Compact (SRVGGNetCompact): a row of convolutions whose result is added to the enlarged frame.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV
Workshops 2021, whose program has it for fast models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from vsrcli.models.single_image import Read, SingleImageNetwork, pixel_shuffle


class Compact(SingleImageNetwork):
    """The network.

    Args:
        read: returns a tensor by the names of the original.
        scale: upscaling factor.
        convolutions: between the first and the last one.
    """

    def __init__(self, read: Read, *, scale: int, convolutions: int) -> None:
        super().__init__(scale, name="compact")
        self.convolutions, self.activations = [], []
        for number in range(convolutions + 1):
            layer = f"body.{2 * number}"
            self.convolutions.append(self.conv(read(f"{layer}.weight"), read(f"{layer}.bias")))
            self.activations.append(PRelu(read(f"body.{2 * number + 1}.weight")))
        last = f"body.{2 * convolutions + 2}"
        self.last = self.conv(read(f"{last}.weight"), read(f"{last}.bias"))

    def upscale(self, image):
        x = image
        for conv, activation in zip(self.convolutions, self.activations, strict=True):
            x = activation(conv(x))  # B, H, W, channels
        return pixel_shuffle(self.last(x), self.scale, image)


class PRelu(layers.Layer):
    """Negative values times a slope, for each channel or one for all."""

    def __init__(self, slopes: np.ndarray, **options: Any) -> None:
        super().__init__(**options)
        self.slopes = self.add_weight(shape=slopes.shape, name="slopes", initializer="zeros")
        self.slopes.assign(slopes)

    def call(self, x):
        return ops.relu(x) - self.slopes * ops.relu(-x)  # OpenVINO makes one operation of this


build = Compact
