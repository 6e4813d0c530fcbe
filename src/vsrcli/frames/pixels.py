"""Conversion of integer frames to the network's floats and back; alpha around a network without alpha.

A network upscales R'G'B', alpha is resampled. Where a frame is transparent its colours are arbitrary (mostly
black), but a network would mix them into visible edges: dark fringes. So visible colours are spread into the
transparent parts first (:func:`fill_transparent`).

Videos rarely say whether colours are straight or premultiplied by alpha. Premultiplied ones must stay black
where they are transparent; they are recognized by pixels that are not opaque, none of them brighter than
alpha. Images are straight by their formats' definitions.
"""

from __future__ import annotations

import numpy as np

from vsrcli.frames.resample import resize

_FULL_WEIGHT_OPACITY = 0.25  # from this opacity on, a pixel's own colour has full weight
_TRANSPARENT, _HALF_TRANSPARENT = (-1.0, 0.1), (0.1, 0.9)  # opacity above the first, below the second
_PREMULTIPLIED_TOLERANCE = 0.05  # of full range: error of a lossy codec on premultiplied colours
_MAX_BRIGHTER_SHARE = (
    0.02  # of pixels that are not opaque: brighter than their alpha, in premultiplied frames
)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 or uint16 codes of any shape to float32 in [0, 1]."""
    return np.multiply(pixels, 1 / np.iinfo(pixels.dtype).max, dtype=np.float32)


def to_integer(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Convert float32 in [0, 1] to the nearest code of an unsigned integer type."""
    scaled = values * np.float32(np.iinfo(dtype).max)
    return np.rint(scaled, out=scaled).astype(dtype)


def fill_transparent(pixels: np.ndarray, alpha: np.ndarray, *, is_straight: bool = False) -> np.ndarray:
    """Fill transparent parts of a frame with the colours around them, as input of a network.

    Depends on this frame alone, so that resumed work gives the same result.

    Args:
        pixels: R'G'B' codes (H, W, 3).
        alpha: opacity (H, W), of the same type.
        is_straight: the colours are known to be straight; otherwise they may be premultiplied.

    Returns:
        Codes (H, W, 3), unchanged where opacity is 25 % or more, and everywhere if premultiplied.
    """
    opacity = to_float(alpha)
    if opacity.min() >= _FULL_WEIGHT_OPACITY:
        return pixels
    colours = to_float(pixels)
    if not is_straight and _is_premultiplied(colours, opacity):
        return pixels
    return to_integer(pull_push_fill(colours, np.minimum(opacity / _FULL_WEIGHT_OPACITY, 1)), pixels.dtype)


def pull_push_fill(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Replace colours of low weight by those around, nearest first.

    Means over ever larger blocks: the pull and push of Gortler et al., "The lumigraph", SIGGRAPH 1996.

    Args:
        colours: float32 (H, W, 3) in [0, 1].
        weight: float32 (H, W) in [0, 1]; 1 leaves a colour unchanged.

    Returns:
        float32 (H, W, 3) in [0, 1]; black if all weights are 0.
    """
    height, width = weight.shape
    if height == width == 1 or weight.min() == 1:
        return colours
    weighted = colours * weight[..., None]
    sums = _sum_blocks(np.concatenate([weighted, weight[..., None]], axis=-1))
    total = sums[..., 3:]
    means = np.divide(sums[..., :3], total, out=np.zeros_like(sums[..., :3]), where=total > 0)
    around = pull_push_fill(means, np.minimum(total[..., 0], 1))
    around = around.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return weighted + (1 - weight[..., None]) * around


def resize_alpha(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample opacity codes (H, W) to the grid of the network's results (bicubic, phase *centre*)."""
    resampled = resize(to_float(alpha)[..., None], height, width, "bicubic")[..., 0]
    return to_integer(resampled.clip(0, 1), alpha.dtype)


def _is_premultiplied(colours: np.ndarray, opacity: np.ndarray) -> bool:
    if _brighter_share(colours, opacity, _TRANSPARENT) >= _MAX_BRIGHTER_SHARE:
        return False
    return _brighter_share(colours, opacity, _HALF_TRANSPARENT, default=1) < _MAX_BRIGHTER_SHARE


def _brighter_share(
    colours: np.ndarray, opacity: np.ndarray, between: tuple[float, float], default: float = 0
) -> float:
    """Return the share of pixels brighter than their opacity, of those with such an opacity."""
    chosen = (opacity > between[0]) & (opacity < between[1])
    is_brighter = colours[chosen].max(axis=-1) > opacity[chosen] + _PREMULTIPLIED_TOLERANCE
    return float(is_brighter.mean()) if is_brighter.size else default


def _sum_blocks(values: np.ndarray) -> np.ndarray:
    """Return sums of 2x2 blocks; beyond the last row and column are zeros."""
    height, width = values.shape[:2]
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
