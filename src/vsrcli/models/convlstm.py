"""A recurrent residual network: ConvLSTM modules behind residual blocks.

Lim and Lee, "Deep Recurrent ResNet for Video Super-Resolution", APSIPA 2017: every frame goes through a
residual network, whose features ConvLSTM modules remember and join with those of earlier frames; a pixel
shuffle enlarges. What the paper's figures leave open is chosen to cost about as much as ``duf-r-s``: 32
channels, five residual blocks without batch normalization, two modules, what they give added to the frame's
features, and the result to a bicubic interpolation. 251,920 parameters at x4.

One step, for frame t::

    frame -- first -- blocks --+---------------------+-- last -- + bicubic
                               +-- ConvLSTM x 2 -----+
                                   states of t-1

A result depends on its frame and on all earlier ones, not on later ones: nothing is late.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vsrcli.models.layers import (
    SubpixelConv,
    bicubic_upsample,
    conv3x3,
    convlstm_step,
    interleave,
    pad_border,
)


class RecurrentResNet(keras.Model):
    """The network.

    Args:
        scale: 2, 3 or 4.
        width: channels of features and of each state.
        blocks: residual blocks.
        cells: ConvLSTM modules.
        phase: of the bicubic interpolation, see :func:`~vsrcli.models.layers.interpolating_bias`.
    """

    levels = 0

    def __init__(
        self, scale: int, *, width: int = 32, blocks: int = 5, cells: int = 2, phase: str = "centre"
    ):
        super().__init__(name=f"convlstm_x{scale}")
        self.scale, self.width, self.phase = scale, width, phase
        self.state_channels = 2 * cells * width
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.first = conv3x3(width, "first", activation="relu")
        self.block_first = [conv3x3(width, f"block{i}_a", activation="relu") for i in range(blocks)]
        self.block_second = [conv3x3(width, f"block{i}_b", near_zero) for i in range(blocks)]
        self.on_input = [conv3x3(4 * width, f"cell{i}_input", "glorot_normal") for i in range(cells)]
        self.on_hidden = [
            conv3x3(4 * width, f"cell{i}_hidden", "glorot_normal", use_bias=False) for i in range(cells)
        ]
        self.last = conv3x3(width, "last", activation="relu")
        self.residual = SubpixelConv(
            3, scale, sub_pixels_first=True, name="residual", kernel_initializer="zeros"
        )

    def empty_state(self, batch: Any, height: int, width: int):
        """Return the state before a shot's first frame: zeros, see :meth:`step`."""
        return ops.zeros((batch, height, width, self.state_channels), "float32")

    def step(self, frame, state):
        """Upscale the next frame.

        Args:
            frame: ``(B, H, W, 3)`` in [0, 1].
            state: ``(B, H, W, 2*cells*width)`` float32: hidden state and cell of each module.

        Returns:
            The upscaled frame, ``(B, scale*H, scale*W, 3)`` float32, not clipped; and the new state.
        """
        x = self.first(frame)
        for first, second in zip(self.block_first, self.block_second, strict=True):
            x = x + second(first(x))
        parts, states, y = ops.split(state, 2 * len(self.on_input), axis=-1), [], x
        for number, (on_input, on_hidden) in enumerate(zip(self.on_input, self.on_hidden, strict=True)):
            hidden, cell = convlstm_step(on_input, on_hidden, y, (parts[2 * number], parts[2 * number + 1]))
            states += [hidden, cell]
            y = ops.cast(hidden, x.dtype)
        residual = self.residual(self.last(x + y))  # B, H, W, s*s, 3
        padded = pad_border(ops.cast(frame, "float32"))
        upscaled = interleave(bicubic_upsample(padded, self.scale, self.phase) + residual, self.scale)
        return upscaled, ops.concatenate(states, axis=-1)

    def call(self, frames):
        """Upscale a sequence from an empty state: ``(B, T, H, W, 3)`` in [0, 1] -> ``(B, T, scale*H,
        scale*W, 3)``, not clipped."""
        state = self.empty_state(ops.shape(frames)[0], *frames.shape[2:4])
        results = []
        for frame in ops.unstack(frames, axis=1):
            upscaled, state = self.step(frame, state)
            results.append(upscaled)
        return ops.stack(results, axis=1)


def build(scale: int, **options: Any) -> RecurrentResNet:
    """Return the network with fresh random weights, its variables created; options as of
    :class:`RecurrentResNet`."""
    model = RecurrentResNet(scale, **options)
    model(ops.zeros((1, 2, 4, 4, 3)))
    return model
