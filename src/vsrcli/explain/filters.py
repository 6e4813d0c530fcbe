"""Dynamic upsampling filters: what they are at a pixel, and how wide and in which direction they reach.

Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling Filters Without Explicit Motion
Compensation", CVPR 2018, section 3.1: every pixel of the result is a weighted mean of 5x5 pixels of the
middle frame, with weights that the network predicts for it; a residual is added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsrcli.models.costs import TAPS


@dataclass(frozen=True, eq=False)
class FilterShapes:
    """Moments of the filters of each pixel of the result, float32 (s*H, s*W).

    Attributes:
        spread: root of the second central moment, in source pixels: 0 copies one pixel.
        angle: direction of the longer axis in radians, 0 to pi, from the right, downwards.
        elongation: how much longer it is: 0 for a round filter, 1 for a line.
        shift_x, shift_y: where the filter's centre lies, less where the pixel of the result lies, in source
            pixels to the right and downwards.
    """

    spread: np.ndarray
    angle: np.ndarray
    elongation: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return filters from what the network's layer gives: ``(H, W, 25, s*s)``, sums over the taps are 1."""
    exponentials = np.exp(np.clip(logits, -40.0, 40.0))  # as models/layers.py does
    return exponentials / exponentials.sum(axis=2, keepdims=True)


def apply_filters(filters: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the filtered picture ``(s*H, s*W, 3)`` of a frame ``(H, W, 3)`` with its filters."""
    height, width = frame.shape[:2]
    edge = TAPS // 2
    padded = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    total = np.zeros((height, width, 3, filters.shape[3]), np.float32)
    for tap in range(TAPS * TAPS):
        row, column = divmod(tap, TAPS)
        source = padded[row : row + height, column : column + width]
        total += source[..., None] * filters[:, :, tap, None]
    return to_picture(total)


def to_picture(sub_pixels: np.ndarray) -> np.ndarray:
    """Rearrange ``(H, W, ..., s*s)`` to ``(s*H, s*W, ...)``; sub-pixel ``s*i + j`` is row i, column j."""
    height, width, *rest, count = sub_pixels.shape
    scale = round(count**0.5)
    parts = np.moveaxis(sub_pixels.reshape(height, width, *rest, scale, scale), (-2, -1), (1, 3))
    return np.ascontiguousarray(parts).reshape(height * scale, width * scale, *rest)


def shapes_of_filters(filters: np.ndarray, phase: str = "centre") -> FilterShapes:
    """Measure filters ``(H, W, 25, s*s)``.

    Args:
        filters: from :func:`softmax`.
        phase: where pixels of the result lie, see :mod:`vsrcli.frames.resample`.
    """
    scale = round(filters.shape[3] ** 0.5)
    taps = np.arange(TAPS) - TAPS // 2
    down, right = (each.reshape(-1).astype(np.float32) for each in np.meshgrid(taps, taps, indexing="ij"))

    def mean(values: np.ndarray) -> np.ndarray:
        return np.einsum("hwts,t->hws", filters, values, optimize=True)

    centre_x, centre_y = mean(right), mean(down)
    xx, yy = mean(right * right) - centre_x**2, mean(down * down) - centre_y**2
    xy = mean(right * down) - centre_x * centre_y
    total = np.maximum(xx + yy, 1e-12)
    position = (np.arange(scale) - ((scale - 1) / 2 if phase == "centre" else 0.0)) / scale
    own_y, own_x = (each.reshape(-1) for each in np.meshgrid(position, position, indexing="ij"))
    found = (
        np.sqrt(total),
        np.arctan2(2 * xy, xx - yy) / 2 % np.pi,
        np.sqrt((xx - yy) ** 2 + 4 * xy**2) / total,
        centre_x - own_x,
        centre_y - own_y,
    )
    return FilterShapes(*(to_picture(each).astype(np.float32) for each in found))
