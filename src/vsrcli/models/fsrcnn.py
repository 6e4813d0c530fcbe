"""FSRCNN: a small network of single frames that enlarges by a transposed convolution at its end.

Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016, section 3.2:
features by 5x5, shrunk to few channels, several 3x3 mappings, expanded again, then a transposed convolution
of 9x9. The paper has brightness alone; here R', G' and B' enter and leave together. With the paper's sizes
(d, s, m) = (56, 12, 4), 24,683 parameters at every scale.

The layers are also the first part of :mod:`vsrcli.models.parallel`, under the same names, so that its
training can start from weights of this network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from vsrcli.models.layers import ChannelPrelu, Deconvolution, conv3x3

DECONVOLUTION = 9  # side of the last kernel, in pixels of the result


def fsrcnn_layers(
    scale: int, phase: str = "centre", *, width: int = 56, head: int = 12, blocks: int = 4
) -> list[Any]:
    """Return the layers, to be applied in order by :func:`enlarge`.

    Args:
        scale: 2, 3 or 4.
        phase: of the last layer, see :class:`~vsrcli.models.layers.Deconvolution`.
        width: channels of features, d in the paper.
        head: channels of the mappings, s.
        blocks: mappings, m.
    """
    small = keras.initializers.RandomNormal(stddev=1e-3)  # of the last layer, as in the paper
    convolutions = [
        layers.Conv2D(width, 5, padding="same", kernel_initializer="he_normal", name="feature"),
        layers.Conv2D(head, 1, kernel_initializer="he_normal", name="shrink"),
        *(conv3x3(head, f"map{i}") for i in range(blocks)),
        layers.Conv2D(width, 1, kernel_initializer="he_normal", name="expand"),
    ]
    pairs = [[layer, ChannelPrelu(name=f"{layer.name}_prelu")] for layer in convolutions]
    last = Deconvolution(
        3, DECONVOLUTION, scale, phase, kernel_initializer=small, dtype="float32", name="enlarge"
    )
    return [*(layer for pair in pairs for layer in pair), last]


def enlarge(enlarger: Sequence[Any], image):
    """Apply :func:`fsrcnn_layers`: ``(B, H, W, 3)`` -> ``(B, scale*H, scale*W, 3)`` float32."""
    for layer in enlarger:
        image = layer(image)
    return image


class Fsrcnn(keras.Model):
    """The network: ``(B, 1, H, W, 3)`` in [0, 1] -> ``(B, scale*H, scale*W, 3)`` float32, not clipped.

    Args:
        scale: 2, 3 or 4.
        phase, sizes: of :func:`fsrcnn_layers`.
    """

    levels, multiple = 0, 1

    def __init__(self, scale: int, *, phase: str = "centre", **sizes: int):
        super().__init__(name=f"fsrcnn_x{scale}")
        self.scale = scale
        self.enlarger = fsrcnn_layers(scale, phase, **sizes)

    def call(self, frames):
        return enlarge(self.enlarger, frames[:, 0])


def build(scale: int, **options: Any) -> Fsrcnn:
    """Return the network with fresh random weights, its variables created; options as of :class:`Fsrcnn`."""
    model = Fsrcnn(scale, **options)
    model(ops.zeros((1, 1, 4, 4, 3)))
    return model
