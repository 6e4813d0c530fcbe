"""SR-U-Net and RUNet: a contracting and an expanding path that end at twice or four times the size.

Ronneberger et al., "U-Net", MICCAI 2015: two 3x3 convolutions, then max pooling, several times; back up by
transposed convolutions of 2x2, each joined with the features of its size on the way down. An upscaling layer
more than there are poolings makes the result larger than the input: the SR-U-Net of a course project (64x64
-> 128x128, on Vimeo-90K). A second one makes it x4. What the project does not state is chosen: 32 channels at
full size, twice as many at each of three poolings, no batch normalization, and no interpolated frame that is
added: 1,931,331 parameters at x2.

With ``residual`` the blocks of the contracting path are residual ones, as in Hu et al., "RUNet: A Robust UNet
Architecture for Image Super-Resolution", CVPR Workshops 2019: 1,974,915 parameters. Their network takes
frames that are enlarged already; this one is the SR-U-Net in all else, so that the two can be compared.

Sides that are no multiple of ``2**poolings`` are padded by repeating the last row and column, and the result
is cropped. A tile gives the result of the whole frame where it begins at such a multiple.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from vsrcli.models.layers import conv3x3, sub_pixels


class UNet(keras.Model):
    """The network: ``(B, 1, H, W, 3)`` in [0, 1] -> ``(B, scale*H, scale*W, 3)`` float32, not clipped.

    Args:
        scale: 2 or 4.
        width: channels at the frame's size.
        poolings: times that the size is halved.
        residual: blocks of the contracting path are residual.
        phase: unused: nothing here knows a grid of pixels before it is trained.
    """

    levels = 0

    def __init__(
        self, scale: int, *, width: int = 32, poolings: int = 3, residual: bool = False, phase: str = "centre"
    ):
        super().__init__(name=f"unet_x{scale}")
        self.scale, self.poolings, self.multiple = scale, poolings, 2**poolings
        widths = [width * 2**level for level in range(poolings + 1)]
        self.down_first = [conv3x3(n, f"down{i}_a", activation="relu") for i, n in enumerate(widths)]
        self.down_second = [conv3x3(n, f"down{i}_b") for i, n in enumerate(widths)]
        self.shortcuts = [layers.Conv2D(n, 1, name=f"down{i}_skip") for i, n in enumerate(widths) if residual]
        self.enlargers = [_deconvolution(n, f"up{i}") for i, n in enumerate(widths[:-1])]
        self.up_first = [conv3x3(n, f"up{i}_a", activation="relu") for i, n in enumerate(widths[:-1])]
        self.up_second = [conv3x3(n, f"up{i}_b", activation="relu") for i, n in enumerate(widths[:-1])]
        doublings = scale.bit_length() - 1
        self.upscalers = [_deconvolution(width, f"upscale{i}") for i in range(doublings)]
        self.colours = conv3x3(3, "colours", "glorot_normal", dtype="float32")

    def call(self, frames):
        height, width = frames.shape[2:4]
        x = pad_to_multiple(frames[:, 0], self.multiple)  # B, H', W', 3
        skipped = []
        for level in range(self.poolings + 1):
            x = self._contract(level, ops.max_pool(x, 2) if level else x)
            skipped.append(x)  # B, H'/2**level, W'/2**level, width * 2**level
        for level in reversed(range(self.poolings)):
            x = ops.relu(sub_pixels(self.enlargers[level](x), 2))
            x = ops.concatenate([skipped[level], x], axis=-1)
            x = self.up_second[level](self.up_first[level](x))
        for layer in self.upscalers:
            x = ops.relu(sub_pixels(layer(x), 2))
        x = self.colours(x)
        rows, columns = self.scale * height, self.scale * width
        return x if tuple(x.shape[1:3]) == (rows, columns) else x[:, :rows, :columns]

    def _contract(self, level: int, x):
        y = self.down_second[level](self.down_first[level](x))
        return ops.relu(y + self.shortcuts[level](x) if self.shortcuts else y)


def pad_to_multiple(image, multiple: int):
    """Repeat the last row and column until both sides are multiples, ``(B, H', W', C)``."""
    below, beside = (-side % multiple for side in image.shape[1:3])
    if below:
        image = ops.concatenate([image] + [image[:, -1:]] * below, axis=1)
    if beside:
        image = ops.concatenate([image] + [image[:, :, -1:]] * beside, axis=2)
    return image


def _deconvolution(filters: int, name: str) -> layers.Conv2D:
    """Return a transposed convolution of 2x2 in steps of two, before :func:`sub_pixels`: the same sums."""
    return layers.Conv2D(4 * filters, 1, kernel_initializer="he_normal", name=name)


def build(scale: int, **options: Any) -> UNet:
    """Return the network with fresh random weights, its variables created; options as of :class:`UNet`."""
    model = UNet(scale, **options)
    model(ops.zeros((1, 1, model.multiple, model.multiple, 3)))
    return model
