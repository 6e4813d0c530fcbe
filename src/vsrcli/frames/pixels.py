"""Integer pictures to the network's numbers and back.

Transparency beside a network that knows opaque pictures only.

The network upscales R'G'B', alpha is resampled. Where a picture is transparent its colours mean nothing
(mostly black), but a network mixes them into the edges of what is seen: dark fringes. So the colours around
are spread under the transparent parts first.

Files rarely say whether colours are straight or premultiplied by alpha. Premultiplied ones must stay black
where they are transparent; they are known by half-transparent pixels, none of them brighter than alpha.
"""

from __future__ import annotations

import numpy as np

from vsrcli.frames.resample import resize


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 codes of any shape -> float32 in [0, 1]."""
    return np.multiply(pixels, 1 / np.iinfo(pixels.dtype).max, dtype=np.float32)


def to_integer(picture: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """float32 in [0, 1] -> the nearest code of an unsigned integer type."""
    scaled = picture * np.float32(np.iinfo(dtype).max)
    return np.rint(scaled, out=scaled).astype(dtype)


_TRUSTED = 0.25  # opacity from which on a pixel's own colour counts alone
_SOFT = (0.1, 0.9)
_TOLERANCE = 0.05  # of full range: what a lossy codec does to premultiplied colours
_EVIDENCE = 0.02  # share of half-transparent pixels that are brighter than their alpha


def fill_transparent(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What the network is to see of a frame with transparency.

    Looks at this frame alone, so that a film continued later comes out the same.

    Args:
        pixels: R'G'B' codes (H, W, 3).
        alpha: opacity (H, W), of the same type.

    Returns:
        Codes (H, W, 3): the same wherever the picture can be seen.
    """
    opacity = to_float(alpha)
    if opacity.min() >= _TRUSTED:
        return pixels
    colours = to_float(pixels)
    if _premultiplied(colours, opacity):
        return pixels
    return to_integer(pull_push_fill(colours, np.minimum(opacity / _TRUSTED, 1)), pixels.dtype)


def _premultiplied(colours: np.ndarray, opacity: np.ndarray) -> bool:
    soft = (opacity > _SOFT[0]) & (opacity < _SOFT[1])
    brighter = colours[soft].max(axis=-1) > opacity[soft] + _TOLERANCE
    return bool(brighter.size) and bool(brighter.mean() < _EVIDENCE)


def pull_push_fill(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Replace colours of little weight by those around, near ones first.

    Means over ever larger blocks: the pull and push of Gortler et al., "The lumigraph", SIGGRAPH 1996.

    Args:
        colours: float32 (H, W, 3) in [0, 1].
        weight: float32 (H, W) in [0, 1]; 1 keeps a colour as it is.

    Returns:
        float32 (H, W, 3) in [0, 1]; black where nothing has any weight.
    """
    height, width = weight.shape
    if height == width == 1 or weight.min() == 1:
        return colours
    known = colours * weight[..., None]
    sums = _halved(np.concatenate([known, weight[..., None]], axis=-1))
    total = sums[..., 3:]
    means = np.divide(sums[..., :3], total, out=np.zeros_like(sums[..., :3]), where=total > 0)
    around = pull_push_fill(means, np.minimum(total[..., 0], 1))
    around = around.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return known + (1 - weight[..., None]) * around


def resize_alpha(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Opacity (H, W) as codes, resampled on the grid of the network's pictures (bicubic, phase *centre*)."""
    resampled = resize(to_float(alpha)[..., None], height, width, "bicubic")[..., 0]
    return to_integer(resampled.clip(0, 1), alpha.dtype)


def _halved(picture: np.ndarray) -> np.ndarray:
    """Sums of 2x2 blocks; the last row and column count as followed by nothing."""
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
