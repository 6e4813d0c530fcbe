"""Banded matrices along the axes of a picture: how resampling is computed.

Every resampling is, along each axis, a matrix with a few weights a row: its *taps*. The band is cut into
small dense *blocks*, one for a few output rows, and each block is a matrix product. That wastes some
multiplications by zero, but does all of them in BLAS and without temporary arrays, where adding up shifted
copies would move every picture through memory once a tap.

The products are kept small on purpose. OpenBLAS gives larger ones to all cores, and where the encoder next
door is using those, waiting for each other made the same picture take 600 to 2300 ms instead of 50.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OUTPUTS = 16  # per block (half of them when shrinking); measured between 960x544 and 3840x2176
_PRODUCT = 1 << 18  # multiplications up to which OpenBLAS stays on the calling thread (interface/gemm.c)


@dataclass(frozen=True, eq=False)
class ResampleTaps:
    """What every output sample reads.

    Attributes:
        index: (n_out, taps) integers, inputs read, already folded back into the picture at its edges (so one
            input may stand several times in a row).
        weights: (n_out, taps) float64, rows summing to 1.
    """

    index: np.ndarray
    weights: np.ndarray

    def dense(self, n_in: int) -> np.ndarray:
        """The whole matrix: float32 (n_out, n_in)."""
        return _dense(self.index, self.weights, n_in)


@dataclass(frozen=True, eq=False)
class _Block:
    """Outputs ``made`` from inputs ``read``, both counted in numbers, not pixels."""

    made: slice
    read: slice
    matrix: np.ndarray  # float32 (made, read)

    @property
    def vectors(self) -> int:
        """How many vectors a product may take at once."""
        return max(1, _PRODUCT // self.matrix.size)


class BandedMatrix:
    """A banded matrix, cut into blocks.

    Args:
        taps: the weights.
        channels: interleaved channels along the axis. Each weight then acts on every channel, by way of
            blocks expanded with the identity: rows of W*C numbers go through one product.
    """

    def __init__(self, taps: ResampleTaps, channels: int = 1) -> None:
        self.size = len(taps.index)
        self._length = channels * self.size
        self._blocks: list[_Block] = []
        step = _OUTPUTS if int(taps.index.max()) < self.size else _OUTPUTS // 2
        for start in range(0, self.size, step):
            index, weights = taps.index[start : start + step], taps.weights[start : start + step]
            first, last, stop = int(index.min()), int(index.max()) + 1, start + len(index)
            matrix = np.kron(_dense(index - first, weights, last - first), np.eye(channels, dtype=np.float32))
            made = slice(channels * start, channels * stop)
            self._blocks.append(_Block(made, slice(channels * first, channels * last), matrix))

    def rows(self, flat: np.ndarray) -> np.ndarray:
        """Float32 (N, n_in, M) -> (N, n_out, M)."""
        out = np.empty((len(flat), self._length, flat.shape[2]), np.float32)
        for b in self._blocks:
            for start in range(0, flat.shape[2], b.vectors):
                part = slice(start, start + b.vectors)
                np.matmul(b.matrix, flat[:, b.read, part], out=out[:, b.made, part])
        return out

    def columns(self, flat: np.ndarray) -> np.ndarray:
        """Contiguous float32 (N, M, n_in*channels) -> (N, M, n_out*channels)."""
        lines = flat.reshape(-1, flat.shape[2])
        out = np.empty((len(lines), self._length), np.float32)
        for b in self._blocks:
            for start in range(0, len(lines), b.vectors):
                part = slice(start, start + b.vectors)
                np.matmul(lines[part, b.read], b.matrix.T, out=out[part, b.made])
        return out.reshape(*flat.shape[:2], self._length)


def apply_separable(images: np.ndarray, rows: BandedMatrix, columns: BandedMatrix) -> np.ndarray:
    """Both bands on contiguous float32 (..., H, W, C); first the one that leaves less to do for the other."""
    *lead, h, w, channels = images.shape
    flat = images.reshape(-1, h, w * channels)
    vertical_first = rows.size * w < h * columns.size
    flat = columns.columns(rows.rows(flat)) if vertical_first else rows.rows(columns.columns(flat))
    return flat.reshape(*lead, rows.size, columns.size, channels)


def _dense(index: np.ndarray, weights: np.ndarray, n_in: int) -> np.ndarray:
    matrix = np.zeros((len(index), n_in))
    np.add.at(matrix, (np.arange(len(index))[:, None], index), weights)
    return matrix.astype(np.float32)
