"""DUF with 16, 28 and 52 layers, as its paper defines it.

Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling Filters Without Explicit Motion
Compensation", CVPR 2018, section 3 and the network tables of its supplement: 3D convolutions in densely
connected blocks over a window of seven frames; the last three blocks shorten time by two frames each.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from vsrcli.models.costs import DUF_DEPTHS, DUF_STEM, WINDOW
from vsrcli.models.layers import DynamicUpsampling, SubpixelConv, filter_layer

BN_EPSILON = 1e-3


def build(scale: int, *, depth: int = 16, phase: str = "centre") -> keras.Model:
    """Return the network with fresh random weights.

    Args:
        scale: 2, 3 or 4.
        depth: 16, 28 or 52 layers.
        phase: of the untrained filters, see :func:`~vsrcli.models.layers.interpolating_bias`.

    Returns:
        A Keras model from ``(B, 7, H, W, 3)`` in [0, 1] to the upscaled centre frame, ``(B, scale*H, scale*W,
        3)``, not clipped.
    """
    plan = DUF_DEPTHS[depth]
    frames = keras.Input((WINDOW, None, None, 3), name="frames")
    x = layers.Conv3D(DUF_STEM, (1, 3, 3), padding="same", name="stem")(frames)  # B, 7, H, W, 64
    for block in range(plan.full_window_blocks + 3):
        shortens = block >= plan.full_window_blocks
        y = layers.BatchNormalization(epsilon=BN_EPSILON, name=f"block{block}_bn1")(x)
        y = layers.Conv3D(x.shape[-1], 1, name=f"block{block}_reduce")(ops.relu(y))
        y = layers.BatchNormalization(epsilon=BN_EPSILON, name=f"block{block}_bn2")(y)
        y = ops.relu(y)
        if shortens:  # time is not padded: 7 -> 5 -> 3 -> 1, and the skip drops the outer frames
            y = ops.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
            x = x[:, 1:-1]
        padding = "valid" if shortens else "same"
        y = layers.Conv3D(plan.growth, 3, padding=padding, name=f"block{block}_grow")(y)
        x = ops.concatenate([x, y], axis=-1)  # B, T, H, W, C + growth
    x = layers.BatchNormalization(epsilon=BN_EPSILON, name="head_bn")(x)
    x = ops.relu(layers.Conv3D(256, (1, 3, 3), padding="same", name="head")(ops.relu(x)))
    x = ops.squeeze(x, axis=1)  # B, H, W, 256

    residual = ops.relu(layers.Conv2D(256, 1, name="residual1")(x))
    residual = SubpixelConv(3, scale, name="residual2", kernel_initializer="zeros")(residual)
    logits = ops.relu(layers.Conv2D(512, 1, name="filters1")(x))
    logits = filter_layer(scale, phase, "filters2", stddev=1e-3)(logits)
    upscaled = DynamicUpsampling(scale, dtype="float32")(frames[:, WINDOW // 2], logits, residual)
    return keras.Model(frames, upscaled, name=f"duf_{depth}l_x{scale}")
