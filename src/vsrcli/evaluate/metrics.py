"""PSNR and SSIM as the video super-resolution literature reports them: BT.601 luma, cropped borders.

Images are first rounded to 8 bits, as for display and in every published figure. Luma is not rounded again.
The crop and the frames left out are part of a figure: always state them.
"""

from __future__ import annotations

import numpy as np

from vsrcli.errors import DataError
from vsrcli.frames.resample import gaussian_kernel_1d

PSNR_CAP = 100.0  # dB, for a frame without any error: a mean over frames stays a number
STILL_CODES = 1  # a pixel whose true luma changes by less stands still
MIN_STILL_SHARE = 0.01  # of all pixels; flicker of fewer says nothing
_LUMA = np.array([65.481, 128.553, 24.966]) / 255
_PEAK = 255.0
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03
_BLUR_ROWS = 8  # outputs per matrix product of the blur: small enough for BLAS to stay on one core


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return BT.601 luma of 8-bit R'G'B', as MATLAB's ``rgb2ycbcr`` before its final rounding.

    Args:
        rgb: (..., 3), uint8 or floating point in [0, 1]; the latter is clipped and rounded to 8 bits first.

    Returns:
        float64 (...), 16 (black) to 235 (white).

    Raises:
        TypeError: another data type.
        ValueError: the last axis does not hold three channels.
    """
    rgb = np.asarray(rgb)
    if rgb.ndim < 1 or rgb.shape[-1] != 3:
        raise ValueError(f"R'G'B' images have shape (..., 3), not {rgb.shape}")
    if np.issubdtype(rgb.dtype, np.floating):
        rgb = np.round(np.clip(rgb, 0, 1).astype(np.float64) * 255)
    elif rgb.dtype != np.uint8:
        raise TypeError(f"images to score are uint8 or floating point, not {rgb.dtype}")
    return rgb @ _LUMA + 16


def psnr_y(a: np.ndarray, b: np.ndarray, crop: int = 8) -> float:
    """Return the peak signal-to-noise ratio of the luma of two images, in dB against a peak of 255.

    Args:
        a, b: (H, W, 3), uint8 or floating point in [0, 1].
        crop: border pixels left out on each side.

    Returns:
        dB; ``inf`` if the cropped images are identical.

    Raises:
        DataError: sizes differ, or nothing is left after the crop.
    """
    return _psnr(*_cropped_luma(a, b, crop, 1))


def ssim_y(a: np.ndarray, b: np.ndarray, crop: int = 8) -> float:
    """Return the mean structural similarity of the luma of two images.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window 11x11 of sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, and only
    windows that lie entirely inside the (cropped) image.

    Args:
        a, b: (H, W, 3), uint8 or floating point in [0, 1].
        crop: border pixels left out on each side, before the windows.

    Returns:
        -1 to 1; exactly 1 for identical images.

    Raises:
        DataError: sizes differ, or fewer than 11x11 pixels are left after the crop.
    """
    return _ssim(*_cropped_luma(a, b, crop, _WINDOW))


class ClipScorer:
    """Score the frames of a clip, in order.

    Attributes:
        psnr, ssim: of each frame; see :func:`psnr_y` and :func:`ssim_y`.
        steady: PSNR of the luma's change from each frame to the next, in the output and in the truth; one
            value fewer. Flicker and swimming lower it; a constant error does not.

    All are in dB (but for SSIM), at most ``PSNR_CAP``. See :meth:`flicker`, too.
    """

    def __init__(self, crop: int = 8) -> None:
        self._crop = crop
        self._previous: tuple[np.ndarray, np.ndarray] | None = None
        self.psnr: list[float] = []
        self.ssim: list[float] = []
        self.steady: list[float] = []
        self._still: list[tuple[int, int, float]] = []  # pixels, still ones, their squared changes' sum

    def add(self, output: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame; see :func:`psnr_y`."""
        current = _cropped_luma(output, truth, self._crop, _WINDOW)
        self.psnr.append(min(_psnr(*current), PSNR_CAP))
        self.ssim.append(_ssim(*current))
        if self._previous is not None:
            change, true_change = (
                after - before for after, before in zip(current, self._previous, strict=True)
            )
            self.steady.append(min(_psnr(change, true_change), PSNR_CAP))
            at_rest = change[np.abs(true_change) < STILL_CODES]
            self._still.append((change.size, at_rest.size, float(np.sum(at_rest**2))))
        self._previous = current

    def flicker(self, changes: slice = slice(None)) -> float | None:
        """Return how much the output changes from frame to frame where the truth stands still.

        Args:
            changes: those that count; one fewer than there are frames.

        Returns:
            The root mean square, in codes, of the change of the output's luma over all pixels whose true luma
            changes by less than ``STILL_CODES``; None where these are less than ``MIN_STILL_SHARE`` of all.
        """
        counted = self._still[changes]
        pixels, still = sum(each[0] for each in counted), sum(each[1] for each in counted)
        squares = sum(each[2] for each in counted)
        return float(np.sqrt(squares / still)) if still and still >= MIN_STILL_SHARE * pixels else None


def _cropped_luma(a: np.ndarray, b: np.ndarray, crop: int, min_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the luma of both images without their borders."""
    if np.shape(a) != np.shape(b):
        raise DataError(f"images to compare differ in size: {np.shape(a)} and {np.shape(b)}")
    if np.ndim(a) != 3:
        raise DataError(f"images to compare have shape (height, width, 3), not {np.shape(a)}")
    height, width = np.shape(a)[:2]
    if crop < 0 or min(height, width) - 2 * crop < min_side:
        raise DataError(f"a {width}x{height} image is too small to score with a crop of {crop} pixels")
    inner = (slice(crop, height - crop), slice(crop, width - crop))
    return luma(a[inner]), luma(b[inner])


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(_PEAK**2 / error))


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    c1, c2 = (_K1 * _PEAK) ** 2, (_K2 * _PEAK) ** 2
    # Only the sum of both variances is needed, so four blurred maps suffice
    mean_a, mean_b, squares, product = _blur_valid(np.stack([a, b, a * a + b * b, a * b]))
    ab, aa_bb = mean_a * mean_b, mean_a**2 + mean_b**2
    ssim = ((2 * ab + c1) * (2 * (product - ab) + c2)) / ((aa_bb + c1) * (squares - aa_bb + c2))
    return float(ssim.mean())


def _blur_valid(maps: np.ndarray) -> np.ndarray:
    """Return (N, H, W) filtered with the Gaussian window where it fits inside: (N, H-10, W-10)."""
    kernel = gaussian_kernel_1d(_SIGMA, _WINDOW)
    # Band matrix: each row holds one window, so that a product gives 8 outputs
    band = np.zeros((_BLUR_ROWS, _BLUR_ROWS + _WINDOW - 1))
    for row in range(_BLUR_ROWS):
        band[row, row : row + _WINDOW] = kernel
    n, height, width = maps.shape
    tall = np.empty((n, height - _WINDOW + 1, width))
    for start in range(0, tall.shape[1], _BLUR_ROWS):
        rows = min(_BLUR_ROWS, tall.shape[1] - start)
        weights = band[:rows, : rows + _WINDOW - 1]
        np.matmul(weights, maps[:, start : start + rows + _WINDOW - 1], out=tall[:, start : start + rows])
    out = np.empty((n, tall.shape[1], width - _WINDOW + 1))
    for start in range(0, out.shape[2], _BLUR_ROWS):
        columns = min(_BLUR_ROWS, out.shape[2] - start)
        weights = band[:columns, : columns + _WINDOW - 1].T
        span = slice(start, start + columns + _WINDOW - 1)
        np.matmul(tall[:, :, span], weights, out=out[:, :, start : start + columns])
    return out
