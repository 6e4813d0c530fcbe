"""DUF-R: dynamic upsampling filters from a window of frames and a recurrent state.

The window is DUF-S's: each frame encoded once, merged over time by valid convolutions. In addition, a hidden
state and the previous output enter every step, so that detail of long ago can still be used. Sajjadi et al.,
"Frame-Recurrent Video Super-Resolution", CVPR 2018, fed the previous output back; Fuoli et al., "Efficient
Video Super-Resolution through Recurrent Latent Space Propagation" (RLSP), ICCVW 2019, added a hidden state
and left out motion compensation. The output stage is DUF's (Jo et al., CVPR 2018).

One step, for frame t, with three levels::

    frames t-3 .. t+3 --------------- encode, fuse ---+
    hidden state of t-1 ------------------- recall ---+-- blocks -- hidden state of t -- head -- filters,
    residual feedback: output of t-1 minus frame --- recall ---+

A network with a recurrent state only learns for long as if it had single images (docs/training.md): its state
is noise at first, so it learns to ignore it. A window gives the state useful content from the start, and the
recall, which begins near zero, can only add to that.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from vsrcli.models.architectures import TAPS
from vsrcli.models.architectures import duf_r_macs as macs
from vsrcli.models.architectures import duf_r_radius as radius
from vsrcli.models.layers import (
    SubpixelConv,
    apply_dynamic_filters,
    bicubic_upsample,
    depth_to_space,
    interpolating_bias,
    pad_border,
)
from vsrcli.models.winograd import concat_conv

__all__ = ["STATE_LIMIT", "DufR", "build", "macs", "radius"]

STATE_LIMIT = 16.0  # clips the hidden state to +-16, so that it cannot diverge on any video


class DufR(keras.Model):
    """The network. Training on sequences and streaming use the same layers, so they give the same results.

    Args:
        scale: 2, 3 or 4.
        width: channels of features and of the hidden state.
        levels: valid temporal convolutions; the window has ``2*levels + 1`` frames.
        blocks: residual blocks of a step.
        head: channels before the two output branches.
        filters: use dynamic filters. Otherwise the residual is added to a bicubic interpolation: filters cost
            more than all other layers of a narrow network together.
        phase: of the untrained filters, see :func:`~vsrcli.models.layers.interpolating_bias`.
    """

    def __init__(
        self,
        scale: int,
        *,
        width: int = 44,
        levels: int = 3,
        blocks: int = 3,
        head: int = 56,
        filters: bool = True,
        phase: str = "centre",
    ):
        super().__init__(name=f"duf_r_x{scale}")
        self.scale, self.width, self.levels, self.blocks, self.head_width = scale, width, levels, blocks, head
        self.phase = phase

        def conv(filters: int, size: int, name: str, **options) -> layers.Conv2D:
            options.setdefault("kernel_initializer", "he_normal")
            return layers.Conv2D(filters, size, padding="same", name=name, **options)

        # small kernels: the recall and every residual block start close to doing nothing
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.encoder = conv(width, 3, "encode", activation="relu")
        self.fusions = [conv(width, 3, f"fuse{level}") for level in range(levels)]
        self.recall = conv(width, 3, "recall", kernel_initializer=near_zero)
        self.first = [conv(width, 3, f"block{i}_a", activation="relu") for i in range(blocks)]
        self.second = [conv(width, 3, f"block{i}_b", kernel_initializer=near_zero) for i in range(blocks)]
        self.head = conv(head, 3, "head", activation="relu")
        self.filters = None
        if filters:
            self.filters = SubpixelConv(
                TAPS * TAPS,
                scale,
                name="filters",
                kernel_initializer=keras.initializers.RandomNormal(stddev=1e-2),
                bias_initializer=keras.initializers.Constant(interpolating_bias(scale, phase)),  # type: ignore[arg-type]
            )
        self.residual = SubpixelConv(3, scale, name="residual", kernel_initializer="zeros")

    def empty_state(self, batch: int, height: int, width: int) -> tuple:
        """Return the recurrent state before the first frame of a shot, all zeros.

        Returns:
            ``hidden`` (B, H, W, width) in the network's compute type, and ``feedback`` (B, H, W, 3*scale**2)
            float32.
        """
        hidden = ops.zeros((batch, height, width, self.width), self.recall.compute_dtype)
        return hidden, ops.zeros((batch, height, width, 3 * self.scale**2), "float32")

    def encode(self, frames):
        """Compute features of single frames: ``(B, H, W, 3)`` -> ``(B, H, W, width)``."""
        return self.encoder(frames)

    def fuse(self, level: int, previous, current, following, conv=concat_conv):
        """Merge features of three neighbours, ``(B, H, W, width)`` each, by a valid temporal convolution."""
        return ops.relu(conv(self.fusions[level], previous, current, following) + current)

    def step(self, features, hidden, feedback, conv=concat_conv):
        """Compute the new hidden state from the window and the recurrent state of the previous frame.

        Args:
            features: ``(B, H, W, width)`` from the last :meth:`fuse`.
            hidden, feedback: see :meth:`empty_state`.

        Returns:
            ``hidden``, ``(B, H, W, width)`` within ``STATE_LIMIT`` of zero, and features for
            :meth:`reconstruct`, ``(B, H, W, head)``.
        """
        x = features + conv(self.recall, hidden, ops.cast(feedback, hidden.dtype))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + conv(second, conv(first, x))
        hidden = ops.clip(x, -STATE_LIMIT, STATE_LIMIT)
        return hidden, conv(self.head, hidden)

    def reconstruct(self, x, padded):
        """Apply the output stage. Each pixel is independent, so any band of rows can be computed alone.

        Args:
            x: ``(B, H, W, head)`` from :meth:`step`.
            around: ``(B, H+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.

        Returns:
            ``(B, H, W, 3, scale**2)`` float32, not clipped: the upscaled frame before depth-to-space.
        """
        if self.filters is None:
            return bicubic_upsample(padded, self.scale, self.phase) + self.residual(x)
        return apply_dynamic_filters(padded, self.filters(x), self.residual(x))

    def feedback(self, sub_pixels, frame):
        """Return the feedback for the next step: the difference of an upscaled frame from its input frame.

        Args:
            sub_pixels: ``(B, H, W, 3, scale**2)`` from :meth:`reconstruct`.
            frame: the input frame, ``(B, H, W, 3)``.

        Returns:
            ``(B, H, W, 3*scale**2)`` float32 in [-1, 1].
        """
        difference = sub_pixels - ops.expand_dims(ops.cast(frame, "float32"), 4)  # B, H, W, 3, s*s
        height, width = difference.shape[1:3]
        flat = ops.reshape(ops.swapaxes(difference, 3, 4), (-1, height, width, 3 * self.scale**2))
        return ops.clip(flat, -1.0, 1.0)

    def call(self, frames):
        """Upscale a sequence from an empty state: ``(B, T, H, W, 3)`` in [0, 1] ->
        ``(B, T - 2*levels, scale*H, scale*W, 3)``, not clipped."""
        _, time, height, width, _ = frames.shape
        flat = (-1, height, width)
        x = self.encode(ops.reshape(frames, (*flat, 3)))  # B*T, H, W, width
        x = ops.reshape(x, (-1, time, height, width, self.width))
        for level in range(self.levels):
            steps = x.shape[1] - 2
            parts = [ops.reshape(x[:, i : i + steps], (*flat, self.width)) for i in range(3)]
            x = ops.reshape(self.fuse(level, *parts), (-1, steps, height, width, self.width))
        hidden, feedback = self.empty_state(ops.shape(frames)[0], height, width)
        results = []
        for t in range(time - 2 * self.levels):
            centre = frames[:, t + self.levels]  # B, H, W, 3
            hidden, features = self.step(x[:, t], hidden, feedback)
            sub_pixels = self.reconstruct(features, pad_border(ops.cast(centre, "float32")))
            feedback = self.feedback(sub_pixels, centre)
            results.append(depth_to_space(sub_pixels, self.scale))
        return ops.stack(results, axis=1)


def build(
    scale: int,
    *,
    width: int = 44,
    levels: int = 3,
    blocks: int = 3,
    head: int = 56,
    filters: bool = True,
    phase: str = "centre",
) -> DufR:
    """Return the network with fresh random weights, its variables created.

    Args:
        scale: 2, 3 or 4.
        width, levels, blocks, head, filters: see :class:`DufR`; tests use tiny sizes.
        phase: ``centre`` or ``zero``, of the untrained filters.
    """
    model = DufR(scale, width=width, levels=levels, blocks=blocks, head=head, filters=filters, phase=phase)
    model(ops.zeros((1, 2 * levels + 1, 4, 4, 3)))
    return model
