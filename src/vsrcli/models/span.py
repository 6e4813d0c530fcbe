"""SPAN: blocks whose attention has no parameters.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024. Each 3x3
convolution was trained as a sum of 1x1 and 3x3 branches; they are merged here (section 3.3 there).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from keras import ops

from vsrcli.models.torch_layers import FixedConv, TorchNetwork, pixel_shuffle

_BLOCKS = 6
_MEAN = (0.4488, 0.4371, 0.4040)  # of the training pictures, in R'G'B'
_RANGE = 255.0


class Span(TorchNetwork):
    """The network; without a tensor ``no_norm`` frames are normalised."""

    def __init__(self, tensors: Mapping[str, np.ndarray], *, scale: int) -> None:
        super().__init__(tensors, scale=scale)
        self.normalized = "no_norm" not in tensors
        self.first = self._merged("conv_1")
        self.blocks = [
            [self._merged(f"block_{block}.c{number}_r") for number in (1, 2, 3)]
            for block in range(1, _BLOCKS + 1)
        ]
        self.second = self._merged("conv_2")
        self.join = self.conv("conv_cat")
        self.upsampler = self.conv("upsampler.0")

    def upscale(self, frame):
        x = frame
        if self.normalized:
            x = (x - ops.cast(np.array(_MEAN, np.float32), x.dtype)) * _RANGE
        features = self.first(x)
        x, results, inner = features, [], features
        for first, second, third in self.blocks:
            inner = ops.silu(first(x))
            y = third(ops.silu(second(inner)))
            x = (y + x) * (ops.sigmoid(y) - 0.5)
            results.append(x)
        joined = ops.concatenate([features, self.second(x), results[0], inner], axis=-1)
        return pixel_shuffle(self.upsampler(self.join(joined)), self.scale)

    def _merged(self, name: str) -> FixedConv:
        """Return the convolution of a block, its branches merged if the file has them."""
        tensors = self._tensors
        if f"{name}.sk.weight" not in tensors:
            return self.conv(f"{name}.eval_conv")
        kernels = [tensors[f"{name}.conv.{number}.weight"].astype(np.float64) for number in range(3)]
        biases = [tensors[f"{name}.conv.{number}.bias"].astype(np.float64) for number in range(3)]
        before, middle, after = kernels[0][:, :, 0, 0], kernels[1], kernels[2][:, :, 0, 0]
        kernel = np.einsum("om,mnyx,ni->oiyx", after, middle, before)
        bias = after @ (middle.sum(axis=(2, 3)) @ biases[0] + biases[1]) + biases[2]
        kernel[:, :, 1, 1] += tensors[f"{name}.sk.weight"][:, :, 0, 0]
        bias += tensors[f"{name}.sk.bias"]
        self.multiply_adds += kernel.size
        return FixedConv(kernel.astype(np.float32), bias.astype(np.float32))
