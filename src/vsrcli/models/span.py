"""SPAN: blocks of three convolutions that weigh their result by a symmetric function of itself.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR Workshops 2024. In
training every convolution is a 1x1 convolution plus a row of three; :func:`fuse` makes one of them.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from vsrcli.models.recognition import SPAN_BLOCKS, SPAN_CONVOLUTIONS
from vsrcli.models.single_image import Read, SingleImageNetwork, pixel_shuffle

# Constants of the paper's program, which no file has: colours' means in DIV2K, and the range.
MEAN = (0.4488, 0.4371, 0.4040)
RANGE = 255.0


class Span(SingleImageNetwork):
    """The network.

    Args:
        read: returns a tensor by the names of the original.
        scale: upscaling factor.
        normalised: whether the colours' means are subtracted from the frame and its range is 255.
    """

    def __init__(self, read: Read, *, scale: int, normalised: bool) -> None:
        super().__init__(scale, name="span")
        self.normalised = normalised
        fused = {name: read_fused(read, name) for name in SPAN_CONVOLUTIONS}
        if normalised:
            weight, bias = fused["conv_1"]
            fused["conv_1"] = weight * np.float32(RANGE), bias
        self.first = self.conv(*fused["conv_1"])
        self.blocks = [
            [self.conv(*fused[f"block_{block}.c{number}_r"]) for number in (1, 2, 3)]
            for block in range(1, SPAN_BLOCKS + 1)
        ]
        self.body = self.conv(*fused["conv_2"])
        self.merge = self.conv(read("conv_cat.weight"), read("conv_cat.bias"))
        last = read("upsampler.0.weight"), read("upsampler.0.bias")
        self.last = self.conv(*last, dtype="float32")

    def upscale(self, image):
        first = self.first(image - np.array(MEAN, np.float32) if self.normalised else image)
        outputs, inner = [first], first
        for conv1, conv2, conv3 in self.blocks:
            inner = ops.silu(conv1(outputs[-1]))
            x = conv3(ops.silu(conv2(inner)))
            outputs.append((x + outputs[-1]) * (ops.sigmoid(x) - 0.5))
        parts = [first, self.body(outputs[-1]), outputs[1], inner]
        x = self.merge(ops.concatenate(parts, axis=-1))  # B, H, W, channels
        return pixel_shuffle(self.last(x), self.scale)


def read_fused(read: Read, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a convolution, stored fused or as trained."""
    try:
        return read(f"{name}.eval_conv.weight"), read(f"{name}.eval_conv.bias")
    except KeyError:
        rows = [(read(f"{name}.conv.{i}.weight"), read(f"{name}.conv.{i}.bias")) for i in range(3)]
        return fuse(rows, read(f"{name}.sk.weight"), read(f"{name}.sk.bias"))


def fuse(
    row: list[tuple[np.ndarray, np.ndarray]], side_weight: np.ndarray, side_bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 3x3 convolution that equals a row of convolutions plus a 1x1 convolution.

    Args:
        row: weights and biases of convolutions of 1x1, 3x3 and 1x1.
        side_weight, side_bias: of the convolution beside it.
    """
    (before, bias1), (middle, bias2), (after, bias3) = (
        (weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in row
    )
    before, after = before[:, :, 0, 0], after[:, :, 0, 0]
    weight = np.einsum("ab,bcyx,cd->adyx", after, middle, before, optimize=True)
    bias = after @ (middle.sum((2, 3)) @ bias1 + bias2) + bias3
    weight[:, :, 1, 1] += side_weight[:, :, 0, 0]
    return weight.astype(np.float32), (bias + side_bias).astype(np.float32)


build = Span
