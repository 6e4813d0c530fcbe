"""Resampling with named kernels: ordinary scalers, and the blur-and-decimate protocol of published scores.

Two conventions define where a low-resolution pixel ``i`` sits on the grid that is ``s`` times finer:

- *centre*: at ``s*i + (s-1)/2``. Real footage, and every ordinary scaler.
- *zero*: at ``s*i``. The "BD" protocol of the video super-resolution literature.

Mixing them shifts the image by (s-1)/2 pixels, so every function here states which one it uses.

Along each axis, resampling is a product with a banded matrix: a few weights per row, its *taps*. A
:class:`BandedMatrix` is split into small dense *blocks*, one for a few output rows, and each block is a
matrix product. That wastes some multiplications by zero, but does all of them in BLAS and without temporary
arrays, where adding up shifted copies would move every image through memory once per tap.

Products are small on purpose. OpenBLAS runs larger ones on all cores, and while an encoder was using those,
waiting for each other made the same image take 600 to 2300 ms instead of 50.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np

Phase = Literal["centre", "zero"]
# Inputs (n_out, taps), folded back inside at the edges, and their float64 weights; rows sum to 1.
Taps = tuple[np.ndarray, np.ndarray]

BD_SIGMA = {2: 0.8, 3: 1.2, 4: 1.6}
BD_SIZE = 13
_BLOCK_OUTPUTS = 16  # per block (half of it when shrinking); measured between 960x544 and 3840x2176
_MAX_PRODUCT = 1 << 18  # multiplications up to which OpenBLAS stays on the calling thread (interface/gemm.c)


class _Block(NamedTuple):
    """A dense block; slices count numbers, not pixels."""

    outputs: slice
    inputs: slice
    matrix: np.ndarray  # float32 (outputs, inputs)
    max_vectors: int  # in one product


class BandedMatrix:
    """A banded matrix, split into dense blocks.

    Args:
        taps: inputs and weights of every output sample.
        channels: interleaved channels along the axis. Each weight then acts on every channel, by blocks
            expanded with the identity matrix: rows of W*C numbers go through one product.
    """

    def __init__(self, taps: Taps, channels: int = 1) -> None:
        all_index, all_weights = taps
        self.size = len(all_index)
        self._length = channels * self.size
        self._blocks: list[_Block] = []
        step = _BLOCK_OUTPUTS if int(all_index.max()) < self.size else _BLOCK_OUTPUTS // 2
        for start in range(0, self.size, step):
            index, weights = all_index[start : start + step], all_weights[start : start + step]
            first, last, stop = int(index.min()), int(index.max()) + 1, start + len(index)
            matrix = np.kron(_dense(index - first, weights, last - first), np.eye(channels, dtype=np.float32))
            outputs, inputs = (slice(channels * a, channels * b) for a, b in ((start, stop), (first, last)))
            self._blocks.append(_Block(outputs, inputs, matrix, max(1, _MAX_PRODUCT // matrix.size)))

    def rows(self, flat: np.ndarray) -> np.ndarray:
        """Apply to the rows of float32 (N, n_in, M) -> (N, n_out, M)."""
        out = np.empty((len(flat), self._length, flat.shape[2]), np.float32)
        for b in self._blocks:
            for start in range(0, flat.shape[2], b.max_vectors):
                part = slice(start, start + b.max_vectors)
                np.matmul(b.matrix, flat[:, b.inputs, part], out=out[:, b.outputs, part])
        return out

    def columns(self, flat: np.ndarray) -> np.ndarray:
        """Apply to the columns of contiguous float32 (N, M, n_in*channels) -> (N, M, n_out*channels)."""
        lines = flat.reshape(-1, flat.shape[2])
        out = np.empty((len(lines), self._length), np.float32)
        for b in self._blocks:
            for start in range(0, len(lines), b.max_vectors):
                part = slice(start, start + b.max_vectors)
                np.matmul(lines[part, b.inputs], b.matrix.T, out=out[part, b.outputs])
        return out.reshape(*flat.shape[:2], self._length)


def apply_separable(images: np.ndarray, rows: BandedMatrix, columns: BandedMatrix) -> np.ndarray:
    """Apply both matrices to contiguous float32 (..., H, W, C), first the one that leaves less to compute."""
    *lead, h, w, channels = images.shape
    flat = images.reshape(-1, h, w * channels)
    vertical_first = rows.size * w < h * columns.size
    flat = columns.columns(rows.rows(flat)) if vertical_first else rows.rows(columns.columns(flat))
    return flat.reshape(*lead, rows.size, columns.size, channels)


def _dense(index: np.ndarray, weights: np.ndarray, n_in: int) -> np.ndarray:
    matrix = np.zeros((len(index), n_in))
    np.add.at(matrix, (np.arange(len(index))[:, None], index), weights)
    return matrix.astype(np.float32)


def _nearest(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _bicubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _area(ratio: float, x: np.ndarray) -> np.ndarray:
    return np.clip((1 + ratio) / 2 - np.abs(x), 0, min(1.0, ratio))


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {  # function, support on each side
    "nearest": (_nearest, 0.5),
    "linear": (_linear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos3": (_lanczos3, 3.0),
}
KERNELS = (*_KERNELS, "area")


def resize_matrix(n_in: int, n_out: int, kernel: str = "bicubic", *, antialias: bool = True) -> np.ndarray:
    """Return the matrix that resamples ``n_in`` samples to ``n_out``, phase *centre*, edge samples
    replicated.

    ``bicubic`` is Keys' cubic with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital image
    processing"; MATLAB's and Pillow's choice), ``lanczos3`` the windowed sinc of three lobes, ``area`` the
    mean over the area that an output sample covers.

    Args:
        n_in, n_out: numbers of samples, at least 1.
        kernel: one of ``KERNELS``.
        antialias: when shrinking, stretch the kernel to the output's spacing. (``area`` always
            averages, ``nearest`` never.)

    Returns:
        float32 (n_out, n_in); rows sum to 1.

    Raises:
        ValueError: unknown kernel or an empty side.
    """
    return _dense(*_centre_taps(n_in, n_out, kernel, antialias), n_in)


def resize(
    images: np.ndarray,
    height: int,
    width: int,
    kernel: str = "bicubic",
    antialias: bool = True,
    *,
    visible_share: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Resample images to height x width, phase *centre*, edges replicated; see :func:`resize_matrix`.

    Args:
        images: (..., H, W, C), any number type, any value range.
        visible_share: shares of width and height, around the centre, that become the result; pixels outside
            contribute only as neighbours.

    Returns:
        float32 (..., height, width, C) in the same value range; not clipped: bicubic and Lanczos overshoot.

    Raises:
        ValueError: unknown kernel, an empty side or share, or fewer than three axes.
    """
    images = _as_images(images)
    h, w, channels = images.shape[-3:]
    rows = _centre_matrix(h, height, kernel, antialias, 1, float(visible_share[1]))
    columns = _centre_matrix(w, width, kernel, antialias, channels, float(visible_share[0]))
    return apply_separable(images, rows, columns)


def interpolate(
    images: np.ndarray, scale: int, kernel: str = "bicubic", phase: Phase = "centre"
) -> np.ndarray:
    """Interpolate to ``scale`` times the size, on the grid of ``phase``: the baseline for comparisons.

    Args:
        images: (..., H, W, C) in any value range.
        phase: *centre* for ordinary footage, *zero* for results of :func:`downsample_bd`.

    Returns:
        float32 (..., scale*H, scale*W, C), not clipped.

    Raises:
        ValueError: unknown kernel or phase, or a scale below 1.
    """
    if phase == "centre":
        return resize(images, scale * np.shape(images)[-3], scale * np.shape(images)[-2], kernel)
    if phase != "zero":
        raise ValueError(f"phase {phase!r} is neither 'centre' nor 'zero'")
    images = _as_images(images)
    h, w, channels = images.shape[-3:]
    return apply_separable(
        images, _zero_matrix(h, scale, kernel, 1), _zero_matrix(w, scale, kernel, channels)
    )


def gaussian_kernel_1d(sigma: float, size: int = BD_SIZE) -> np.ndarray:
    """Return a sampled Gaussian of odd ``size``, float64, sum 1.

    Equal to SciPy's ``gaussian_filter1d`` of a unit impulse: zero beyond round(4*sigma), and never wider than
    ``size`` (where MATLAB's ``fspecial('gaussian', size, sigma)`` has the same values).

    Raises:
        ValueError: an even or non-positive size, or a sigma that is not positive.
    """
    if size < 1 or size % 2 == 0 or not sigma > 0:
        raise ValueError(
            f"no Gaussian of size {size} and sigma {sigma}: take an odd size and a positive sigma"
        )
    x = np.arange(size) - size // 2
    kernel = np.where(np.abs(x) <= int(4 * sigma + 0.5), np.exp(-0.5 * (x / sigma) ** 2), 0.0)
    return kernel / kernel.sum()


def downsample_bd(images: np.ndarray, scale: int) -> np.ndarray:
    """Blur and decimate: the "BD" protocol that published x2/x3/x4 figures use. Phase *zero*.

    A 13x13 Gaussian of sigma 0.8 / 1.2 / 1.6, images padded by reflection (edge pixel not repeated),
    then every ``scale``-th pixel from pixel 0 (Jo et al., CVPR 2018, section 4.1 and the authors' code).

    Args:
        images: (..., H, W, C) in any value range.
        scale: 2, 3 or 4.

    Returns:
        float32 (..., ceil(H/scale), ceil(W/scale), C), not rounded to 8 bits.

    Raises:
        ValueError: another scale.
    """
    if scale not in BD_SIGMA:
        raise ValueError(f"the BD protocol has scales 2, 3 and 4, not {scale}")
    images = _as_images(images)
    h, w, channels = images.shape[-3:]
    return apply_separable(images, _bd_matrix(h, scale, 1), _bd_matrix(w, scale, channels))


def _as_images(images: np.ndarray) -> np.ndarray:
    images = np.ascontiguousarray(images, dtype=np.float32)
    if images.ndim < 3 or 0 in images.shape[-3:]:
        raise ValueError(f"images have shape (..., height, width, channels), not {images.shape}")
    return images


@lru_cache(maxsize=64)
def _centre_matrix(
    n_in: int, n_out: int, kernel: str, antialias: bool, channels: int, visible_share: float = 1.0
) -> BandedMatrix:
    return BandedMatrix(_centre_taps(n_in, n_out, kernel, antialias, visible_share), channels)


@lru_cache(maxsize=64)
def _zero_matrix(n_in: int, scale: int, kernel: str, channels: int) -> BandedMatrix:
    if scale < 1:
        raise ValueError(f"cannot upscale by {scale}")
    return BandedMatrix(_kernel_taps(np.arange(scale * n_in) / scale, n_in, kernel, 1 / scale, 1.0), channels)


@lru_cache(maxsize=64)
def _bd_matrix(n_in: int, scale: int, channels: int) -> BandedMatrix:
    kernel = gaussian_kernel_1d(BD_SIGMA[scale])
    index = np.arange(0, n_in, scale)[:, None] + np.arange(BD_SIZE) - BD_SIZE // 2
    period = max(1, 2 * (n_in - 1))  # repeated reflection, for images smaller than the kernel
    index = np.abs(index) % period
    index = np.minimum(index, period - index)
    return BandedMatrix((np.minimum(index, n_in - 1), np.broadcast_to(kernel, index.shape)), channels)


def _centre_taps(n_in: int, n_out: int, kernel: str, antialias: bool, visible_share: float = 1.0) -> Taps:
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resample {n_in} samples to {n_out}")
    if not 0 < visible_share <= 1:
        raise ValueError(f"the visible share must be above 0 and at most 1, not {visible_share:g}")
    ratio = visible_share * n_in / n_out
    centres = (np.arange(n_out) + 0.5) * ratio - 0.5 + n_in * (1 - visible_share) / 2
    return _kernel_taps(centres, n_in, kernel, ratio, max(1.0, ratio) if antialias else 1.0)


def _kernel_taps(centres: np.ndarray, n_in: int, kernel: str, ratio: float, stretch: float) -> Taps:
    """Return taps of a kernel, ``stretch`` times as wide, around ``centres``; ``ratio`` inputs per output."""
    if kernel == "area":  # the overlap of an output sample, `ratio` inputs wide, with each input sample
        function, support, stretch = partial(_area, ratio), (1 + ratio) / 2, 1.0
    elif kernel in _KERNELS:
        function, support = _KERNELS[kernel]
        stretch = 1.0 if kernel == "nearest" else stretch
    else:
        raise ValueError(f"unknown kernel {kernel!r}: take one of {', '.join(KERNELS)}")
    radius = support * stretch
    first = np.ceil(centres - radius - 1e-9).astype(np.int64)
    index = first[:, None] + np.arange(int(np.floor(2 * radius + 2e-9)) + 1)
    # Twelve decimals: rounding in `centres` must not push "nearest" to the other side of a tie.
    weights = function(np.round((index - centres[:, None]) / stretch, 12))
    return np.clip(index, 0, n_in - 1), weights / weights.sum(axis=1, keepdims=True)
