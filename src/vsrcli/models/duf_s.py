"""DUF-S: dynamic upsampling filters at a cost that two CPU cores can bear.

From DUF (Jo et al., CVPR 2018) it has a window of seven frames without motion compensation, 5x5 dynamic
upsampling filters and a residual. Different from DUF, every frame is encoded once, in two dimensions, and
three *valid* temporal convolutions shorten time 7 -> 5 -> 3 -> 1. A valid convolution reads the same three
features wherever the window stands, so each result is computed once and serves every window that contains it:
a stream evaluates each layer once per frame, where DUF-16L computes its full window anew.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vsrcli.models.costs import DUF_S_LEVELS as LEVELS
from vsrcli.models.costs import WINDOW
from vsrcli.models.layers import (
    FeatureModel,
    SubpixelConv,
    apply_dynamic_filters,
    conv3x3,
    depth_to_space,
    filter_layer,
    pad_border,
)
from vsrcli.models.winograd import concat_conv


class DufS(FeatureModel):
    """The network.

    Args:
        scale: 2, 3 or 4.
        width: feature channels.
        blocks: residual blocks after the temporal convolutions.
        head: channels before the two output branches.
        phase: of the untrained filters, see :func:`~vsrcli.models.layers.interpolating_bias`.
    """

    def __init__(
        self, scale: int, *, width: int = 48, blocks: int = 3, head: int = 64, phase: str = "centre"
    ):
        super().__init__(name=f"duf_s_x{scale}")
        self.scale, self.width, self.blocks, self.head_width = scale, width, blocks, head
        self.encoder = conv3x3(width, "encode", activation="relu")
        self.fusions = [conv3x3(width, f"fuse{level}") for level in range(LEVELS)]
        self.first = [conv3x3(width, f"block{i}_a", activation="relu") for i in range(blocks)]
        # small second convolutions: every residual block starts close to the identity
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.second = [conv3x3(width, f"block{i}_b", near_zero) for i in range(blocks)]
        self.head = conv3x3(head, "head", activation="relu")
        self.filters = filter_layer(scale, phase)
        self.residual = SubpixelConv(3, scale, name="residual", kernel_initializer="zeros")

    def trunk(self, features, conv=concat_conv):
        """Apply the residual blocks and the head: ``(B, H, W, width)`` -> ``(B, H, W, head)``."""
        x = features
        for first, second in zip(self.first, self.second, strict=True):
            x = x + conv(second, conv(first, x))
        return conv(self.head, x)

    def reconstruct(self, x, padded):
        """Apply the output stage. Each pixel is independent, so any band of rows can be computed alone.

        Args:
            x: ``(B, H, W, head)`` from :meth:`trunk`.
            padded: ``(B, H+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.

        Returns:
            ``(B, scale*H, scale*W, 3)`` float32, not clipped.
        """
        sub_pixels = apply_dynamic_filters(padded, self.filters(x), self.residual(x))  # B, H, W, 3, s*s
        return depth_to_space(sub_pixels, self.scale)

    def call(self, frames):
        """Upscale every window of a sequence: ``(B, T, H, W, 3)`` in [0, 1] -> ``(B, T-6, scale*H, scale*W,
        3)``, not clipped.

        With T = 7 this is the windowed network; longer sequences train several windows at the cost of little
        more than one.
        """
        _, time, height, width, _ = frames.shape
        flat = (-1, height, width)
        x = self.merge_time(frames)
        steps = time - WINDOW + 1
        centre = ops.reshape(frames[:, LEVELS : LEVELS + steps], (*flat, 3))
        padded = pad_border(ops.cast(centre, "float32"))  # B*(T-6), H+4, W+4, 3
        y = self.reconstruct(self.trunk(ops.reshape(x, (*flat, self.width))), padded)
        return ops.reshape(y, (-1, steps, height * self.scale, width * self.scale, 3))


def build(scale: int, **options: Any) -> DufS:
    """Return the network with fresh random weights, its variables created; options as of :class:`DufS`."""
    model = DufS(scale, **options)
    model(ops.zeros((1, WINDOW, 4, 4, 3)))
    return model
