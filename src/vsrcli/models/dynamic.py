"""Dynamic upsampling filters: the output stage of the DUF family, in ``keras.ops``.

Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling Filters Without Explicit Motion
Compensation", CVPR 2018, section 3.1: for every low-resolution pixel the network predicts ``scale**2``
filters of 5x5 taps (softmax over the taps); each makes one of the output pixels that lie on it, and the same
filters act on R, G and B. A residual image, made by a second branch, is added after depth-to-space (section
3.2).
"""

from __future__ import annotations

import numpy as np
from keras import layers, ops

from vsrcli.models.costs import TAPS


def pad_edge(image, amount: int):
    """Repeat the border pixels of ``(B, H, W, C)`` outwards by ``amount``; works down to 1x1 on any
    backend."""
    rows = [image[:, :1]] * amount + [image] + [image[:, -1:]] * amount
    image = ops.concatenate(rows, axis=1)
    columns = [image[:, :, :1]] * amount + [image] + [image[:, :, -1:]] * amount
    return ops.concatenate(columns, axis=2)


def _size(image) -> tuple:
    """Height and width of ``(B, H, W, ...)``: numbers where they are known, tensors inside a traced
    function."""
    known, traced = image.shape[1:3], ops.shape(image)[1:3]
    return tuple(t if k is None else k for k, t in zip(known, traced, strict=True))


def neighbourhoods(image, taps: int = TAPS):
    """The ``taps`` x ``taps`` surroundings of every pixel: ``(B, H, W, C)`` -> ``(B, H, W, taps**2, C)``.

    Rows first: tap ``taps*i + j`` is the pixel ``i - taps//2`` below and ``j - taps//2`` to the right.
    Outside the frame the border repeats. (The authors pad with zeros, which darkens the outermost pixels.)
    """
    height, width = _size(image)
    padded = pad_edge(image, taps // 2)
    shifted = [padded[:, i : i + height, j : j + width] for i in range(taps) for j in range(taps)]
    return ops.stack(shifted, axis=3)


def depth_to_space(image, scale: int):
    """``(B, H, W, scale**2, C)`` -> ``(B, scale*H, scale*W, C)``; sub-pixel ``scale*i + j`` goes to row i,
    column j."""
    (height, width), channels = _size(image), image.shape[-1]
    image = ops.reshape(image, (-1, height, width, scale, scale, channels))
    image = ops.transpose(image, (0, 1, 3, 2, 4, 5))  # B, H, s, W, s, C
    return ops.reshape(image, (-1, height * scale, width * scale, channels))


def apply_filters(surroundings, logits, residual, scale: int):
    """Apply predicted filters to a frame and add the residual.

    Args:
        surroundings: ``(B, H, W, 25, 3)``: :func:`neighbourhoods` of the centre frame.
        logits: ``(B, H, W, scale**2 * 25)``, filters before the softmax, sub-pixel major.
        residual: ``(B, H, W, scale**2 * 3)``, sub-pixel major.
        scale: upsampling factor.

    Returns:
        ``(B, H, W, scale**2, 3)``, not clipped.
    """
    height, width = _size(surroundings)
    filters = ops.softmax(ops.reshape(logits, (-1, height, width, scale * scale, TAPS * TAPS)), axis=-1)
    filtered = ops.matmul(filters, surroundings)
    return filtered + ops.reshape(residual, (-1, height, width, scale * scale, 3))


def filter_and_shuffle(surroundings, logits, residual, scale: int):
    """:func:`apply_filters`, rearranged to high resolution: ``(B, scale*H, scale*W, 3)``, not clipped."""
    return depth_to_space(apply_filters(surroundings, logits, residual, scale), scale)


class DynamicUpsampling(layers.Layer):
    """:func:`filter_and_shuffle` as a layer, for networks written in Keras' functional style."""

    def __init__(self, scale: int, **options):
        super().__init__(**options)
        self.scale = scale

    def call(self, image, logits, residual):
        return filter_and_shuffle(neighbourhoods(image), logits, residual, self.scale)

    def compute_output_shape(self, image_shape, logits_shape, residual_shape):
        batch, height, width, channels = image_shape
        enlarged = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *enlarged, channels)


def interpolating_bias(scale: int, phase: str = "centre", sigma: float = 0.45) -> np.ndarray:
    """Bias for the filter layer that makes an untrained network an interpolator instead of noise.

    The logarithm of a Gaussian around each sub-pixel's own position; with a near-zero kernel the softmax of
    it is that Gaussian.

    Args:
        scale: upsampling factor.
        phase: ``centre`` (pixel centres of the two grids share the frame) or ``zero`` (LR pixel i lies on HR
            pixel ``scale*i``, the paper's protocol).
        sigma: width in low-resolution pixels.

    Returns:
        ``(scale**2 * 25,)`` float32, sub-pixel major.
    """
    shift = (scale - 1) / 2 if phase == "centre" else 0.0
    positions = (
        np.arange(scale) - shift
    ) / scale  # of each sub-pixel, in LR pixels from the LR pixel's centre
    offsets = np.arange(TAPS) - TAPS // 2
    one_axis = -((offsets[None] - positions[:, None]) ** 2) / (2 * sigma**2)  # s, taps
    both = one_axis[:, None, :, None] + one_axis[None, :, None, :]  # s, s, taps, taps
    return both.reshape(-1).astype(np.float32)
