"""How much each cell of a shot moves: normal flow, corrected for brightness and for noise.

Where brightness is kept, a change in time is motion along the gradient: ``|I_t| = n |grad I|``, where ``n``
is the normal flow (Horn & Schunck, 1981). Per cell, energies over all frames of a part give its root mean
square::

    n^2 = (change - noise) / (gradient - noise / 2)            in pixels per frame

1. *Brightness*: each frame is first fitted to the next by a gain and an offset over the cell and its
   neighbours (generalized dynamic image model, Negahdaripour 1998); ``change`` is what remains. Flicker and
   fades are no motion.
2. *Noise*: that of a sensor is as large between neighbouring frames as between those two apart, while the
   energy of motion grows with the square of the distance: ``noise = (4 change_1 - change_2) / 3``. Fast
   motion looks alike at both distances, so noise is never taken for more than what the frame itself shows:
   the residual of a Laplacian (Immerkaer 1996).
3. A cell without structure shows no motion, and counts as still.

White noise of 10 codes on still texture of any contrast moved no cell past 0.25 pixels in 32 frames of 144 to
360 lines. The price: under such noise, motion of half a pixel is missed where the texture is faint.

A pan moves every cell with structure, and counts as motion. Flow is measured on frames reduced to some 180
lines, and saturates near the size of the structures: at about three of *their* pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL = 16  # side of a cell, in pixels of the reduced frames
ANALYSIS_LINES = 180  # about as many lines have reduced frames
MIN_GRADIENT = 6.0  # energy of the gradient below which a cell has no structure, in squared codes
_CERTAINTY = 1.1  # the noise is an estimate from some thousand pixels
_FLOOR = 0.5  # of the noise: rounding and compression, in squared codes


def reduction(height: int, width: int) -> int:
    """Return the whole factor by which frames are reduced for analysis."""
    return max(1, round(min(height, width) / ANALYSIS_LINES))


def reduce(luma: np.ndarray, factor: int) -> np.ndarray:
    """Return means of ``factor`` x ``factor`` pixels, float32 (H // factor, W // factor)."""
    height, width = (side // factor for side in luma.shape)
    blocks = luma[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


@dataclass
class _Energies:
    """Sums over the pairs of frames, per cell and pixel."""

    change: np.ndarray
    count: int = 0

    @property
    def mean(self) -> np.ndarray:
        return self.change / max(self.count, 1)


class MotionMeter:
    """Measures the motion of one part of a shot, frame by frame. Holds two reduced frames.

    Args:
        height, width: of the frames.
    """

    def __init__(self, height: int, width: int) -> None:
        self.factor = reduction(height, width)
        rows, columns = height // self.factor // CELL, width // self.factor // CELL
        self.shape = (rows, columns)
        self._pairs = [_Energies(np.zeros(self.shape)) for _ in range(2)]  # one and two frames apart
        self._gradient, self._residual = _Energies(np.zeros(self.shape)), _Energies(np.zeros(self.shape))
        self._last: list[np.ndarray] = []

    @property
    def cell_side(self) -> int:
        """Side of a cell in pixels of the frame."""
        return CELL * self.factor

    def add(self, luma: np.ndarray) -> np.ndarray:
        """Add a frame.

        Args:
            luma: uint8 (height, width).

        Returns:
            The reduced frame, float32.
        """
        reduced = reduce(luma, self.factor)
        image = reduced[: self.shape[0] * CELL, : self.shape[1] * CELL]
        for energies, earlier in zip(self._pairs, self._last, strict=False):
            energies.change += _relit_change(earlier, image)
            energies.count += 1
        self._gradient.change += cell_means(_gradient_energy(image), self.shape)
        self._gradient.count += 1
        self._residual.change += cell_means(_laplacian(image) ** 2, self.shape) / 36
        self._residual.count += 1
        self._last = [image, *self._last[:1]]
        return reduced

    def flow(self) -> np.ndarray:
        """Return the root mean square of the normal flow per cell: float32 (rows, columns), pixels per
        frame."""
        first, second = (energies.mean for energies in self._pairs)
        if not self._pairs[1].count:
            return np.zeros(self.shape, np.float32)
        steady = np.clip((4 * first - second) / 3, 0, None)
        noise = _CERTAINTY * np.minimum(steady, 2 * self._residual.mean) + _FLOOR
        gradient = self._gradient.mean - noise / 2
        flow = np.sqrt(np.clip(first - noise, 0, None) / np.maximum(gradient, MIN_GRADIENT))
        return np.where(gradient > MIN_GRADIENT, flow * self.factor, 0).astype(np.float32)


def cell_means(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mean of each cell of a reduced frame: float64 of this shape."""
    rows, columns = shape
    return (
        image[: rows * CELL, : columns * CELL]
        .reshape(rows, CELL, columns, CELL)
        .mean(axis=(1, 3), dtype=np.float64)
    )


def _gradient_energy(image: np.ndarray) -> np.ndarray:
    """Return the squared length of the gradient by central differences."""
    padded = np.pad(image, 1, mode="edge")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    return across**2 + down**2


def _laplacian(image: np.ndarray) -> np.ndarray:
    """Return the difference of two Laplacians; its variance is 36 times that of white noise."""
    padded = np.pad(image, 1, mode="reflect")
    rows = padded[:-2] - 2 * padded[1:-1] + padded[2:]
    return rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]


def _relit_change(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return per cell the mean squared change that gain and offset do not explain, in squared codes."""
    products = (earlier, later, earlier**2, later**2, earlier * later)
    shape = (earlier.shape[0] // CELL, earlier.shape[1] // CELL)
    means = [cell_means(product, shape) for product in products]
    x, y, xx, yy, xy = means
    wide_x, wide_y, wide_xx, _, wide_xy = (_around(mean) for mean in means)
    variance = wide_xx - wide_x**2
    gain = np.clip((wide_xy - wide_x * wide_y) / np.maximum(variance, 1e-3), 0.5, 2.0)
    offset = wide_y - gain * wide_x
    change = yy + gain**2 * xx + offset**2 - 2 * gain * xy - 2 * offset * y + 2 * gain * offset * x
    return np.clip(change, 0, None)


def _around(cells: np.ndarray) -> np.ndarray:
    """Return the mean over each cell and its neighbours."""
    padded = np.pad(cells, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
