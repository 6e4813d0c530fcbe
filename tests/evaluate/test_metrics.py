"""Scores: against hand-computed values, plain loops, and the published constants."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vsrcli.errors import DataError
from vsrcli.evaluate.metrics import PSNR_CAP, ClipScorer, luma, psnr_y, ssim_y

rng = np.random.default_rng(3)


def random_image(height: int = 40, width: int = 44) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def noisy(truth: np.ndarray, sigma: float = 12) -> np.ndarray:
    return np.clip(truth + rng.normal(0, sigma, truth.shape), 0, 255).round().astype(np.uint8)


def ssim_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equations 13 to 16, one window at a time."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_luma_of_the_corners() -> None:
    """MATLAB documents rgb2ycbcr: black 16, white 235; the primaries are its coefficients."""
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [16, 235, 81.481, 144.553, 40.966]
    np.testing.assert_allclose(luma(corners), expected, atol=1e-9)
    np.testing.assert_allclose(luma(corners / 255), expected, atol=1e-9)
    assert luma(corners).dtype == np.float64


def test_floats_are_clipped_and_rounded_to_eight_bits() -> None:
    x = np.array([[0.5004, -0.2, 1.7]], np.float32)
    np.testing.assert_array_equal(luma(x), luma(np.array([[128, 0, 255]], np.uint8)))


def test_psnr_by_hand() -> None:
    """A grey step of 10 changes luma by 10*219/255, so PSNR = 20 log10(255 / 8.588...)."""
    a, b = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 110, np.uint8)
    assert psnr_y(a, b) == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)), abs=1e-9)


def test_the_crop_is_left_out() -> None:
    a = random_image()
    b = a.copy()
    b[:8], b[-8:], b[:, :8], b[:, -8:] = 0, 255, 0, 255
    assert psnr_y(a, b, crop=8) == math.inf
    assert ssim_y(a, b, crop=8) == 1
    assert psnr_y(a, b, crop=7) < 40
    assert psnr_y(a, b, crop=0) < psnr_y(a, b, crop=7)


@pytest.mark.parametrize(("height", "width"), [(27, 27), (40, 44), (70, 61)])
def test_ssim_equals_plain_loops(height: int, width: int) -> None:
    a = random_image(height, width)
    b = noisy(a, 30)
    expected = ssim_by_loops(luma(a)[8:-8, 8:-8], luma(b)[8:-8, 8:-8])
    assert ssim_y(a, b) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_flat_images_by_hand() -> None:
    a, b = np.zeros((30, 30, 3), np.uint8), np.full((30, 30, 3), 255, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim_y(a, b) == pytest.approx((2 * 16 * 235 + c1) / (16**2 + 235**2 + c1), abs=1e-9)


def test_frames_of_a_clip_score_as_images_and_their_changes_as_steady() -> None:
    truths = [random_image() for _ in range(4)]
    outputs = [noisy(truth, 3 * index + 1) for index, truth in enumerate(truths)]
    scorer = ClipScorer()
    for output, truth in zip(outputs, truths, strict=True):
        scorer.add(output, truth)
    pairs = list(zip(outputs, truths, strict=True))
    assert scorer.psnr == [psnr_y(a, b) for a, b in pairs]
    assert scorer.ssim == [ssim_y(a, b) for a, b in pairs]
    errors = [(luma(a) - luma(b))[8:-8, 8:-8] for a, b in pairs]
    changes = [np.mean((after - before) ** 2) for before, after in itertools.pairwise(errors)]
    assert scorer.steady == pytest.approx([10 * math.log10(255**2 / change) for change in changes])


def test_identical_frames_count_as_the_cap() -> None:
    scorer, image = ClipScorer(), random_image()
    for _ in range(2):
        scorer.add(image, image)
    assert (scorer.psnr, scorer.ssim, scorer.steady) == ([PSNR_CAP] * 2, [1, 1], [PSNR_CAP])


def test_input_that_cannot_be_scored() -> None:
    a = random_image()
    with pytest.raises(DataError, match="differ in size"):
        psnr_y(a, a[:-1])
    with pytest.raises(DataError, match=r"44x40 image is too small .* crop of 20"):
        psnr_y(a, a, crop=20)
    with pytest.raises(DataError, match="too small"):
        ssim_y(a[:26], a[:26])
    with pytest.raises(TypeError, match="uint16"):
        psnr_y(a.astype(np.uint16), a.astype(np.uint16))
    with pytest.raises(ValueError, match="not \\(4, 4\\)"):
        luma(np.zeros((4, 4)))
