"""DUF-R: dynamic upsampling filters from a window of frames and a recurrent state.

The window is DUF-S's: each frame encoded once, merged over time by valid convolutions. In addition, a hidden
state and the previous output enter every step, so that detail of long ago can still be used. Sajjadi et al.,
"Frame-Recurrent Video Super-Resolution", CVPR 2018, fed the previous output back; Fuoli et al., "Efficient
Video Super-Resolution through Recurrent Latent Space Propagation" (RLSP), ICCVW 2019, added a hidden state
and left out motion compensation. The output stage is DUF's (Jo et al., CVPR 2018).

The default networks have the hidden state alone: trained for long, they are as good without the previous
output, which takes a fifth of their time (docs/decisions/0024-no-feedback.md). Older weights have it.

One step, for frame t, with three levels::

    frames t-3 .. t+3 --------------- encode, fuse ---+
    hidden state of t-1 ------------------- recall ---+-- blocks -- hidden state of t -- head -- filters,
    residual feedback: output of t-1 minus frame --- recall ---+

A network with a recurrent state only learns for long as if it had single images (docs/experiments.md): its
state is noise at first, so it learns to ignore it. A window gives the state useful content from the start,
and the recall, which begins near zero, can only add to that.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vsrcli.models.layers import (
    FeatureModel,
    SubpixelConv,
    apply_dynamic_filters,
    bicubic_upsample,
    conv3x3,
    filter_layer,
    frame_size,
    interleave,
    pad_border,
)
from vsrcli.models.winograd import concat_conv

STATE_LIMIT = 16.0  # clips the hidden state to +-16, so that it cannot diverge on any video


class DufR(FeatureModel):
    """The network.

    Args:
        scale: 2, 3 or 4.
        width: channels of features and of the hidden state.
        levels: valid temporal convolutions; the window has ``2*levels + 1`` frames.
        blocks: residual blocks of a step.
        head: channels before the two output branches.
        filters: use dynamic filters. Otherwise the residual is added to a bicubic interpolation: filters cost
            more than all other layers of a narrow network together.
        feedback: the previous output enters every step, too.
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
        feedback: bool = True,
        phase: str = "centre",
    ):
        super().__init__(name=f"duf_r_x{scale}")
        self.scale, self.width, self.levels, self.blocks, self.head_width = scale, width, levels, blocks, head
        self.phase, self.has_feedback = phase, feedback
        # small kernels: the recall and every residual block start close to doing nothing
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.encoder = conv3x3(width, "encode", activation="relu")
        self.fusions = [conv3x3(width, f"fuse{level}") for level in range(levels)]
        self.recall = conv3x3(width, "recall", near_zero)
        self.first = [conv3x3(width, f"block{i}_a", activation="relu") for i in range(blocks)]
        self.second = [conv3x3(width, f"block{i}_b", near_zero) for i in range(blocks)]
        self.head = conv3x3(head, "head", activation="relu")
        self.filters = filter_layer(scale, phase) if filters else None
        self.residual = SubpixelConv(
            3, scale, sub_pixels_first=not filters, name="residual", kernel_initializer="zeros"
        )

    def empty_state(self, batch: int, height: int, width: int) -> tuple:
        """Return the recurrent state before a shot's first frame: ``hidden`` (B, H, W, width) in the
        network's compute type, and ``feedback`` (B, H, W, 3*scale**2) float32, or None without."""
        hidden = ops.zeros((batch, height, width, self.width), self.recall.compute_dtype)
        shape = batch, height, width, 3 * self.scale**2
        return hidden, ops.zeros(shape, "float32") if self.has_feedback else None

    def step(self, features, hidden, feedback=None, conv=concat_conv):
        """Compute the new hidden state from the window and the recurrent state of the previous frame.

        Args:
            features: ``(B, H, W, width)`` from the last :meth:`fuse`.
            hidden, feedback: see :meth:`empty_state`.

        Returns:
            ``hidden``, ``(B, H, W, width)`` within ``STATE_LIMIT`` of zero, and features for
            :meth:`reconstruct`, ``(B, H, W, head)``.
        """
        hidden = self.remember(features, hidden, feedback, conv)
        return hidden, conv(self.head, hidden)

    def remember(self, features, hidden, feedback=None, conv=concat_conv):
        """Compute the new hidden state alone, see :meth:`step`."""
        recalled = (hidden,) if feedback is None else (hidden, ops.cast(feedback, hidden.dtype))
        x = features + conv(self.recall, *recalled)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + conv(second, conv(first, x))
        return ops.clip(x, -STATE_LIMIT, STATE_LIMIT)

    def reconstruct(self, x, padded):
        """Apply the output stage. Each pixel is independent, so any band of rows can be computed alone.

        Args:
            x: ``(B, H, W, head)`` from :meth:`step`.
            padded: ``(B, H+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.

        Returns:
            ``(B, H, W, scale**2, 3)`` float32, not clipped: the upscaled frame before
            :func:`~vsrcli.models.layers.interleave`.
        """
        if self.filters is None:
            return bicubic_upsample(padded, self.scale, self.phase) + self.residual(x)
        return ops.swapaxes(apply_dynamic_filters(padded, self.filters(x), self.residual(x)), 3, 4)

    def feedback(self, sub_pixels, frame):
        """Return the feedback for the next step: the difference of an upscaled frame from its input frame.

        Args:
            sub_pixels: ``(B, H, W, scale**2, 3)`` from :meth:`reconstruct`.
            frame: the input frame, ``(B, H, W, 3)``.

        Returns:
            ``(B, H, W, 3*scale**2)`` float32 in [-1, 1].
        """
        difference = sub_pixels - ops.expand_dims(ops.cast(frame, "float32"), 3)  # B, H, W, s*s, 3
        flat = ops.reshape(difference, (-1, *frame_size(difference), 3 * self.scale**2))
        return ops.clip(flat, -1.0, 1.0)

    def call(self, frames):
        """Upscale a sequence from an empty state: ``(B, T, H, W, 3)`` in [0, 1] ->
        ``(B, T - 2*levels, scale*H, scale*W, 3)``, not clipped."""
        _, _, height, width, _ = frames.shape
        merged = ops.unstack(self.merge_time(frames), axis=1)
        centres = ops.unstack(frames, axis=1)[self.levels :]
        hidden, feedback = self.empty_state(ops.shape(frames)[0], height, width)
        if not self.has_feedback:
            return self._upscale_together(merged, centres, hidden)
        results = []
        for x, centre in zip(merged, centres, strict=False):  # B, H, W, width and B, H, W, 3
            hidden, features = self.step(x, hidden, feedback)
            sub_pixels = self.reconstruct(features, pad_border(ops.cast(centre, "float32")))
            feedback = self.feedback(sub_pixels, centre)
            results.append(interleave(sub_pixels, self.scale))
        return ops.stack(results, axis=1)

    def _upscale_together(self, merged, centres, hidden):
        """Run the steps one by one, and head and output stage once for all frames: few large layers take less
        time than many small ones."""
        _, height, width, _ = hidden.shape
        moments = []
        for x in merged:
            hidden = self.remember(x, hidden)
            moments.append(hidden)
        together = ops.reshape(ops.stack(moments, axis=1), (-1, height, width, self.width))
        frames = ops.reshape(ops.stack(centres[: len(merged)], axis=1), (-1, height, width, 3))
        padded = pad_border(ops.cast(frames, "float32"))
        result = interleave(self.reconstruct(self.head(together), padded), self.scale)
        return ops.reshape(result, (-1, len(merged), self.scale * height, self.scale * width, 3))


def build(scale: int, **options: Any) -> DufR:
    """Return the network with fresh random weights, its variables created; options as of :class:`DufR`."""
    model = DufR(scale, **options)
    model(ops.zeros((1, 2 * model.levels + 1, 4, 4, 3)))
    return model
