"""Low frequencies of colour from another picture: what keeps a network from shifting colours.

The difference of the local means is added, ``result + lowpass(source - result)``, in all three channels in
gamma light. The low pass is a mean over cells of eight source pixels, a binomial filter over cells, and
linear interpolation between their centres: smooth, without negative lobes, so that it makes no halos, and
equal to the difference itself where that is constant, up to the edges of the frame.
"""

from __future__ import annotations

import numpy as np

from vsrcli.frames.resample import resize

CELL = 8  # source pixels a side


def transfer_color(
    image: np.ndarray, source: np.ndarray, visible_share: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Return an image whose local means of colour are those of ``source``.

    Args:
        image: float32 (H, W, 3), R'G'B' in [0, 1], of any size; not changed.
        source: float32 (h, w, 3), the same picture.
        visible_share: shares of the source's width and height, around its centre, that the image shows.

    Returns:
        float32 (H, W, 3), a new array, clipped to [0, 1].
    """
    rows, columns = (
        min(max(1, round(side * share / CELL)), result_side)
        for side, share, result_side in zip(source.shape, reversed(visible_share), image.shape, strict=False)
    )
    wanted = resize(source, rows, columns, "area", visible_share=visible_share)
    correction = _binomial(_binomial(wanted - resize(image, rows, columns, "area"), 0), 1)
    result = resize(correction, image.shape[0], image.shape[1], "linear")
    result += image
    return result.clip(0.0, 1.0, out=result)


def _binomial(cells: np.ndarray, axis: int) -> np.ndarray:
    """Filter with (1, 2, 1) / 4 along an axis; the outermost cells are repeated."""
    padding = [(1, 1) if each == axis else (0, 0) for each in range(cells.ndim)]
    padded = np.moveaxis(np.pad(cells, padding, mode="edge"), axis, 0)
    filtered = np.float32(0.25) * (padded[:-2] + padded[2:]) + np.float32(0.5) * padded[1:-1]
    return np.ascontiguousarray(np.moveaxis(filtered, 0, axis))
