"""DUF-S: dynamic upsampling filters at a cost that two CPU cores can bear.

From DUF (Jo et al., CVPR 2018) it has a window of seven frames without motion compensation, 5x5 dynamic
upsampling filters and a residual. Different from DUF, every frame is encoded once, in two dimensions, and
three *valid* temporal convolutions shorten time 7 -> 5 -> 3 -> 1. A valid convolution reads the same three
features wherever the window stands, so each result is computed once and serves every window that contains it:
a stream evaluates each layer once per frame, where DUF-16L computes its full window anew.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from vsrcli.models.architectures import DUF_S_LEVELS as LEVELS
from vsrcli.models.architectures import TAPS, WINDOW
from vsrcli.models.architectures import duf_s_macs as macs
from vsrcli.models.architectures import duf_s_radius as radius
from vsrcli.models.layers import (
    SubpixelConv,
    apply_dynamic_filters,
    depth_to_space,
    interpolating_bias,
    pad_border,
)
from vsrcli.models.winograd import concat_conv

__all__ = ["LEVELS", "WINDOW", "DufS", "build", "macs", "radius"]


class DufS(keras.Model):
    """The network. Training on windows and streaming use the same layers, so they give the same results.

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

        def conv(filters: int, size: int, name: str, **options) -> layers.Conv2D:
            options.setdefault("kernel_initializer", "he_normal")
            return layers.Conv2D(filters, size, padding="same", name=name, **options)

        self.encoder = conv(width, 3, "encode", activation="relu")
        self.fusions = [conv(width, 3, f"fuse{level}") for level in range(LEVELS)]
        self.first = [conv(width, 3, f"block{i}_a", activation="relu") for i in range(blocks)]
        # small second convolutions: every residual block starts close to the identity
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.second = [conv(width, 3, f"block{i}_b", kernel_initializer=near_zero) for i in range(blocks)]
        self.head = conv(head, 3, "head", activation="relu")
        self.filters = SubpixelConv(
            TAPS * TAPS,
            scale,
            name="filters",
            kernel_initializer=keras.initializers.RandomNormal(stddev=1e-2),
            bias_initializer=keras.initializers.Constant(interpolating_bias(scale, phase)),  # type: ignore[arg-type]
        )
        self.residual = SubpixelConv(3, scale, name="residual", kernel_initializer="zeros")

    def encode(self, frames):
        """Compute features of single frames: ``(B, H, W, 3)`` -> ``(B, H, W, width)``."""
        return self.encoder(frames)

    def fuse(self, level: int, previous, current, following, conv=concat_conv):
        """Merge features of three neighbours, ``(B, H, W, width)`` each, by a valid temporal convolution."""
        return ops.relu(conv(self.fusions[level], previous, current, following) + current)

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
            around: ``(B, H+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.

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
        x = self.encode(ops.reshape(frames, (*flat, 3)))  # B*T, H, W, width
        x = ops.reshape(x, (-1, time, height, width, self.width))
        for level in range(LEVELS):
            steps = x.shape[1] - 2
            parts = [ops.reshape(x[:, i : i + steps], (*flat, self.width)) for i in range(3)]
            x = ops.reshape(self.fuse(level, *parts), (-1, steps, height, width, self.width))
        steps = time - WINDOW + 1
        centre = ops.reshape(frames[:, LEVELS : LEVELS + steps], (*flat, 3))
        padded = pad_border(ops.cast(centre, "float32"))  # B*(T-6), H+4, W+4, 3
        y = self.reconstruct(self.trunk(ops.reshape(x, (*flat, self.width))), padded)
        return ops.reshape(y, (-1, steps, height * self.scale, width * self.scale, 3))


def build(scale: int, *, width: int = 48, blocks: int = 3, head: int = 64, phase: str = "centre") -> DufS:
    """Return the network with fresh random weights, its variables created.

    Args:
        scale: 2, 3 or 4.
        width, blocks, head: see :class:`DufS`; tests use tiny sizes.
        phase: ``centre`` or ``zero``, of the untrained filters.
    """
    model = DufS(scale, width=width, blocks=blocks, head=head, phase=phase)
    model(ops.zeros((1, WINDOW, 4, 4, 3)))
    return model
