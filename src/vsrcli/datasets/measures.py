"""What else is measured on a part: bars, blur, and a hash that survives scaling and compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

BAR_CODES = 30  # luma, of 255, up to which a line may be part of a black bar
_BAR_SPREAD = 6.0  # its standard deviation, in codes: subtitles end a bar
_BAR_MARGIN = 2  # pixels next to a bar, where its edge rings
_BLUR_WINDOW = 9  # pixels, of the low-pass filter
_HASH_SIDE, _HASH_COEFFICIENTS = 32, 8


@dataclass(frozen=True)
class Box:
    """A rectangle in a frame, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first line below it."""
        return self.top + self.height

    def overlaps(self, other: Box) -> bool:
        """Return whether two rectangles share a pixel."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def picture_box(lumas: Sequence[np.ndarray]) -> Box:
    """Return what is left of frames without black bars; all of them if they are black.

    A line belongs to a bar if in every frame it is dark (at most ``BAR_CODES`` codes) and without structure.

    Args:
        lumas: frames of one part, uint8 (H, W).
    """
    height, width = lumas[0].shape
    rows, columns = np.ones(height, bool), np.ones(width, bool)
    for luma in lumas:
        for axis, lines in ((1, rows), (0, columns)):
            mean = luma.mean(axis=axis, dtype=np.float32)
            spread = np.sqrt(np.maximum(_mean_of_squares(luma, axis) - mean**2, 0))
            lines &= (mean <= BAR_CODES) & (spread <= _BAR_SPREAD)
    top, bottom = _inside(rows)
    left, right = _inside(columns)
    return Box(left, top, right - left, bottom - top)


def _mean_of_squares(luma: np.ndarray, axis: int) -> np.ndarray:
    subscripts = "ij,ij->i" if axis == 1 else "ij,ij->j"
    exact = luma.astype(np.float32)
    return np.einsum(subscripts, exact, exact) / luma.shape[axis]


def _inside(is_bar: np.ndarray) -> tuple[int, int]:
    """Return the first line of the picture and the one behind its last."""
    picture = np.flatnonzero(~is_bar)
    if not picture.size:
        return 0, len(is_bar)
    first, last = int(picture[0]), int(picture[-1]) + 1
    return (first + _BAR_MARGIN if first else 0), (last - _BAR_MARGIN if last < len(is_bar) else last)


def blur_sums(luma: np.ndarray, cell: int) -> np.ndarray:
    """Return the parts of the blur metric of Crete et al. (SPIE 2007), to be added up over areas.

    A blurred image loses little of its differences between neighbours by further blur. With the sums D of
    absolute differences and V of what a low-pass filter takes of them, blur is ``1 - V / D``, in each
    direction.

    Args:
        luma: uint8 (H, W).
        cell: side of the cells in pixels.

    Returns:
        float32 (4, H // cell, W // cell): D and V down, D and V across.
    """
    image = luma.astype(np.float32)
    rows, columns = luma.shape[0] // cell, luma.shape[1] // cell
    result = []
    for axis in (0, 1):
        difference = np.abs(np.diff(image, axis=axis))
        smooth = np.abs(np.diff(_low_pass(image, axis), axis=axis))
        for part in (difference, np.maximum(difference - smooth, 0)):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (0, 1)
            full = np.pad(part, pad)[: rows * cell, : columns * cell]
            result.append(full.reshape(rows, cell, columns, cell).sum(axis=(1, 3)))
    return np.stack(result).astype(np.float32)


def blur(sums: np.ndarray) -> np.ndarray:
    """Return the blur of areas, 0 (sharp) to 1: the greater of both directions.

    Args:
        sums: (4, ...), see :func:`blur_sums`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        down, across = (np.where(d > 0, 1 - v / d, 1.0) for d, v in ((sums[0], sums[1]), (sums[2], sums[3])))
    return np.maximum(down, across)


def _low_pass(image: np.ndarray, axis: int) -> np.ndarray:
    """Return the moving average of ``_BLUR_WINDOW`` pixels along an axis."""
    half = _BLUR_WINDOW // 2
    pad = [(0, 0), (0, 0)]
    pad[axis] = (half + 1, half)
    total = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float64)
    length = image.shape[axis]
    ahead = total.take(range(_BLUR_WINDOW, _BLUR_WINDOW + length), axis)
    return ((ahead - total.take(range(length), axis)) / _BLUR_WINDOW).astype(np.float32)


def perceptual_hash(luma: np.ndarray) -> int:
    """Return 64 bits that similar images share: signs of low frequencies (pHash, Zauner 2010).

    Args:
        luma: float or uint8 (H, W), any size.
    """
    small = Image.fromarray(np.asarray(luma, np.float32)).resize(
        (_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX
    )
    positions = np.arange(_HASH_SIDE)
    basis = np.cos(np.pi * np.arange(1, _HASH_COEFFICIENTS + 1)[:, None] * (positions + 0.5) / _HASH_SIDE)
    frequencies = (basis @ np.asarray(small, np.float64) @ basis.T).ravel()
    bits = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def bit_distances(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return in how many bits each of (n,) differs from each of (m,) uint64: (n, m)."""
    different = np.bitwise_xor.outer(hashes, others)
    octets = different.view(np.uint8).reshape(*different.shape, 8)
    return _BIT_COUNTS[octets].sum(axis=-1)


_BIT_COUNTS = np.array([bin(value).count("1") for value in range(256)], np.uint8)
