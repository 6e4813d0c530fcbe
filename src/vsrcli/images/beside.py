"""What of an EXR no network sees: values outside 0 to 1, and alpha; they are resampled and added again.

A network here is given codes of 0 to 1. What stands out above white (a lamp, a fire) or below black is
interpolated linearly: weights that are never negative draw no dark rings around a bright point. Alpha is
resampled as that of films is; an EXR's colours are multiplied by it, so they go through the network as they
look over black.
"""

from __future__ import annotations

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.images import exr
from vsrcli.images.read import Image

_LARGEST = 65504.0  # of half floats


def restore_out_of_range(
    codes: np.ndarray, alpha: np.ndarray | None, old: Image | None, seen: tuple[float, float]
) -> Image:
    """A new picture's light.

    Args:
        codes: (H, W, 3), as upscaled.
        alpha: (H, W) codes, if they came with the frame: colours are not multiplied by it yet.
        old: the source's light, if it is of light.
        seen: shares of its width and height that are still there.
    """
    light = exr.srgb_to_linear(codes)
    if alpha is not None:
        opacity = alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
        return Image(light * opacity[..., None], opacity)
    if old is None or old.pixels.dtype.kind != "f":
        return Image(light, None)
    height, width = codes.shape[:2]
    finite = np.nan_to_num(old.pixels, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).clip(-_LARGEST, _LARGEST)
    outside = finite - finite.clip(0, 1)
    if outside.any():
        light = light + resize(outside, height, width, "linear", seen=seen)
    if old.alpha is None:
        return Image(light, None)
    upscaled = resize(old.alpha[..., None], height, width, "bicubic", seen=seen)[..., 0]
    return Image(light, upscaled.clip(0, 1))
