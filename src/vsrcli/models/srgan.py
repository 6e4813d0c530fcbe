"""SR-ResNet, the generator of SRGAN.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR
2017, section 2.1.1 and figure 4: a 9x9 convolution with PReLU; 16 residual blocks of two 3x3 convolutions
with batch normalization and a PReLU between; a skip over all of them; one pixel shuffle of x2 (or x3) for
each factor, with PReLU; a 9x9 convolution at full size. 1,552,771 parameters at x4, of which 4,224 are
statistics of batch normalization. The paper trains it on MSE first, then with a discriminator:
``vsr train --adversarial --init`` does the second part, with this program's own discriminator and losses, and
with the statistics of the first part.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from vsrcli.models.layers import ChannelPrelu, conv3x3, sub_pixels


class SrResNet(keras.Model):
    """The network: ``(B, 1, H, W, 3)`` in [0, 1] -> ``(B, scale*H, scale*W, 3)`` float32, not clipped.

    Args:
        scale: 2, 3 or 4.
        width: channels.
        blocks: residual blocks.
        phase: unused: nothing here knows a grid of pixels before it is trained.
    """

    levels, multiple = 0, 1

    def __init__(self, scale: int, *, width: int = 64, blocks: int = 16, phase: str = "centre"):
        super().__init__(name=f"srgan_x{scale}")
        self.scale = scale
        self.first = layers.Conv2D(width, 9, padding="same", kernel_initializer="he_normal", name="first")
        self.first_prelu = ChannelPrelu(name="first_prelu")
        self.block_first = [conv3x3(width, f"block{i}_a", use_bias=False) for i in range(blocks)]
        self.block_second = [conv3x3(width, f"block{i}_b", use_bias=False) for i in range(blocks)]
        self.norms_first = [_norm(f"block{i}_a_bn") for i in range(blocks)]
        self.norms_second = [_norm(f"block{i}_b_bn") for i in range(blocks)]
        self.prelus = [ChannelPrelu(name=f"block{i}_prelu") for i in range(blocks)]
        self.body, self.body_norm = conv3x3(width, "body", use_bias=False), _norm("body_bn")
        self.factors = (3,) if scale == 3 else (2,) * (scale.bit_length() - 1)
        self.ups = [conv3x3(width * n * n, f"up{i}") for i, n in enumerate(self.factors)]
        self.up_prelus = [ChannelPrelu(name=f"up{i}_prelu") for i in range(len(self.factors))]
        self.colours = layers.Conv2D(3, 9, padding="same", dtype="float32", name="colours")

    def call(self, frames, training=None):
        first = x = self.first_prelu(self.first(frames[:, 0]))  # B, H, W, width
        blocks = zip(
            self.block_first, self.norms_first, self.prelus, self.block_second, self.norms_second, strict=True
        )
        for conv_a, norm_a, activation, conv_b, norm_b in blocks:
            x = x + norm_b(conv_b(activation(norm_a(conv_a(x)))))
        x = first + self.body_norm(self.body(x))
        for conv, activation, factor in zip(self.ups, self.up_prelus, self.factors, strict=True):
            x = activation(sub_pixels(conv(x), factor))
        return self.colours(x)


def _norm(name: str) -> layers.BatchNormalization:
    """Return a batch norm whose statistics follow a training of a thousand steps."""
    return layers.BatchNormalization(momentum=0.95, name=name)


def build(scale: int, **options: Any) -> SrResNet:
    """Return the network with fresh random weights, its variables created; options as of
    :class:`SrResNet`."""
    model = SrResNet(scale, **options)
    model(ops.zeros((1, 1, 4, 4, 3)))
    return model
