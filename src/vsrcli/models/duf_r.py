"""DUF-R: dynamic upsampling filters from a window of frames and a state that remembers the film.

The window is DUF-S's: each frame encoded once, merged over time by valid convolutions. On top of it a hidden
state and the previous output return in every step, so that what a pixel looked like long ago can still be
used. Sajjadi et al., "Frame-Recurrent Video Super-Resolution", CVPR 2018, fed the previous output back; Fuoli
et al., "Efficient Video Super-Resolution through Recurrent Latent Space Propagation" (RLSP), ICCVW 2019,
added a hidden state and left out motion compensation. The output stage is DUF's (Jo et al., CVPR 2018).

One step, for frame t, with three levels::

    frames t-3 .. t+3 -- encode, fuse -- seen --+
    hidden state of t-1 ------------- recall ---+-- blocks -- hidden state of t -- head -- filters, residual
    output of t-1 minus its frame --- recall ---+

A network with nothing but a state learns for long as if it saw single images (docs/training.md): first its
state is noise, so it learns not to look at it. A window gives it something worth remembering from the start,
and the recall, which begins near zero, can only add to that.
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

__all__ = ["LIMIT", "DufR", "build", "macs", "radius"]

LIMIT = 16.0  # of the hidden state, both ways: whatever the film, it cannot run away


class DufR(keras.Model):
    """The network. Sequences and streams share its layers, so they give the same pictures.

    Args:
        scale: 2, 3 or 4.
        width: channels of features and of the hidden state.
        levels: valid temporal convolutions; the window has ``2*levels + 1`` frames.
        blocks: residual blocks of a step.
        head: channels before the two output branches.
        filters: whether there are dynamic filters. Without them the residual is added to a bicubic picture:
            they cost more than all the rest of a narrow network.
        phase: where the untrained filters point, see :func:`~vsrcli.models.layers.interpolating_bias`.
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
        """The state before the first frame of a shot: ``hidden`` (B, H, W, width) in the network's compute
        type, ``painted`` (B, H, W, 3*scale**2) float32; both zeros."""
        hidden = ops.zeros((batch, height, width, self.width), self.recall.compute_dtype)
        return hidden, ops.zeros((batch, height, width, 3 * self.scale**2), "float32")

    def encode(self, frames):
        """Features of single frames: ``(B, H, W, 3)`` -> ``(B, H, W, width)``."""
        return self.encoder(frames)

    def fuse(self, level: int, before, here, after, conv=concat_conv):
        """A valid temporal convolution: three neighbours' features, ``(B, H, W, width)`` each, to one."""
        return ops.relu(conv(self.fusions[level], before, here, after) + here)

    def step(self, seen, hidden, painted, conv=concat_conv):
        """What the window shows, and the state of the frame before, to the new state.

        Args:
            seen: ``(B, H, W, width)`` from the last :meth:`fuse`.
            hidden, painted: see :meth:`empty_state`.

        Returns:
            ``hidden``, ``(B, H, W, width)`` within ``MAX_DIFFERENCE`` of zero, and features for :meth:`paint`,
            ``(B, H, W, head)``.
        """
        x = seen + conv(self.recall, hidden, ops.cast(painted, hidden.dtype))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + conv(second, conv(first, x))
        hidden = ops.clip(x, -LIMIT, LIMIT)
        return hidden, conv(self.head, hidden)

    def reconstruct(self, x, around):
        """The output stage: each pixel by itself, so that any rows may be painted apart from the others.

        Args:
            x: ``(B, H, W, head)`` from :meth:`step`.
            around: ``(B, H+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.

        Returns:
            ``(B, H, W, 3, scale**2)`` float32, not clipped: the picture before depth-to-space.
        """
        if self.filters is None:
            return bicubic_upsample(around, self.scale, self.phase) + self.residual(x)
        return apply_dynamic_filters(around, self.filters(x), self.residual(x))

    def feedback(self, depth, here):
        """What the next step is given of a picture: its difference from the frame that it was made of.

        Args:
            depth: from :meth:`paint`.
            here: the frame, ``(B, H, W, 3)``.

        Returns:
            ``painted``, ``(B, H, W, 3*scale**2)`` float32 in [-1, 1].
        """
        difference = depth - ops.expand_dims(ops.cast(here, "float32"), 4)
        height, width = difference.shape[1:3]
        flat = ops.reshape(ops.swapaxes(difference, 3, 4), (-1, height, width, 3 * self.scale**2))
        return ops.clip(flat, -1.0, 1.0)

    def call(self, frames):
        """A sequence from an empty state: ``(B, T, H, W, 3)`` in [0, 1] ->
        ``(B, T - 2*levels, scale*H, scale*W, 3)``, not clipped."""
        _, time, height, width, _ = frames.shape
        flat = (-1, height, width)
        x = ops.reshape(self.encode(ops.reshape(frames, (*flat, 3))), (-1, time, height, width, self.width))
        for level in range(self.levels):
            steps = x.shape[1] - 2
            parts = [ops.reshape(x[:, i : i + steps], (*flat, self.width)) for i in range(3)]
            x = ops.reshape(self.fuse(level, *parts), (-1, steps, height, width, self.width))
        hidden, painted = self.empty_state(ops.shape(frames)[0], height, width)
        pictures = []
        for t in range(time - 2 * self.levels):
            here = frames[:, t + self.levels]
            hidden, features = self.step(x[:, t], hidden, painted)
            depth = self.reconstruct(features, pad_border(ops.cast(here, "float32")))
            painted = self.feedback(depth, here)
            pictures.append(depth_to_space(depth, self.scale))
        return ops.stack(pictures, axis=1)


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
    """The network with fresh random weights, its variables created.

    Args:
        scale: 2, 3 or 4.
        width, levels, blocks, head, filters: see :class:`DufR`; tests use tiny sizes.
        phase: ``centre`` or ``zero``: where the untrained filters point.
    """
    model = DufR(scale, width=width, levels=levels, blocks=blocks, head=head, filters=filters, phase=phase)
    model(ops.zeros((1, 2 * levels + 1, 4, 4, 3)))
    return model
