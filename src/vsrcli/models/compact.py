"""Compact, or SRVGGNetCompact: 3x3 convolutions and PReLU, and the frame itself added to the sub-pixels.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCVW 2021;
the authors published it with that network's faster models.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from keras import ops

from vsrcli.models.layers import _size, depth_to_space
from vsrcli.models.torch_layers import FixedPRelu, TorchNetwork


class Compact(TorchNetwork):
    """The network; tensors ``body.0`` to ``body.N``: even ones are convolutions, odd ones PReLU.

    Odd ones without a tensor are LeakyReLU with slope 0.1 or ReLU, which a file does not tell: they are
    refused.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], *, scale: int) -> None:
        super().__init__(tensors, scale=scale)
        last = max(int(name.split(".")[1]) for name in tensors)
        self.convs = [self.conv(f"body.{number}") for number in range(0, last + 1, 2)]
        self.activations = [FixedPRelu(tensors[f"body.{number}.weight"]) for number in range(1, last, 2)]

    def upscale(self, frame):
        x = frame
        for conv, activation in zip(self.convs[:-1], self.activations, strict=True):
            x = activation(conv(x))
        x = self.convs[-1](x)  # B, H, W, 3*s*s
        height, width = _size(x)
        sub_pixels = ops.reshape(x, (-1, height, width, 3, self.scale**2))
        nearest = ops.expand_dims(ops.cast(frame, x.dtype), -1)  # B, H, W, 3, 1
        return depth_to_space(sub_pixels + nearest, self.scale)
