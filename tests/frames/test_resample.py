"""Resampling: against SciPy, Pillow, dense matrices, and ramps that betray a shifted grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate, gaussian_filter

from vsrcli.frames.resample import (
    BD_SIGMA,
    KERNELS,
    downsample_bd,
    gaussian_kernel_1d,
    interpolate,
    resize,
    resize_matrix,
)

rng = np.random.default_rng(7)


def gaussian(sigma: float) -> np.ndarray:
    kernel = gaussian_kernel_1d(sigma)
    return np.outer(kernel, kernel)


def ramp(height: int, width: int) -> np.ndarray:
    """Value 2x + 3y at pixel (y, x), one channel."""
    y, x = np.mgrid[:height, :width]
    return (2 * x + 3 * y)[..., None].astype(np.float32)


@pytest.mark.parametrize("kernel", KERNELS)
@given(n_in=st.integers(1, 40), n_out=st.integers(1, 90), antialias=st.booleans())
@settings(max_examples=60, deadline=None)
def test_rows_sum_to_one(kernel: str, n_in: int, n_out: int, antialias: bool) -> None:
    matrix = resize_matrix(n_in, n_out, kernel, antialias=antialias)
    assert matrix.shape == (n_out, n_in)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_keys_weights_at_twice_the_size() -> None:
    """Keys 1981, eq. 8, at distance 1/4: (-9, 111, 29, -3) / 128."""
    row = resize_matrix(8, 16, "bicubic")[7]  # HR 7 sits at LR 3.25
    np.testing.assert_allclose(row[2:6] * 128, [-9, 111, 29, -3], atol=1e-5)


def test_area_is_the_mean_over_a_fractional_footprint() -> None:
    np.testing.assert_allclose(resize_matrix(3, 2, "area"), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-6)
    x = rng.random((12, 8, 3), np.float32)
    np.testing.assert_allclose(resize(x, 3, 4, "area"), x.reshape(3, 4, 4, 2, 3).mean(axis=(1, 3)), atol=1e-6)


def test_nearest_repeats() -> None:
    x = rng.random((5, 7, 3), np.float32)
    np.testing.assert_array_equal(resize(x, 15, 21, "nearest"), x.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("height", "width"), [(40, 61), (7, 9), (19, 90), (1, 1), (16, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_the_matrix_along_both_axes(kernel: str, height: int, width: int, channels: int) -> None:
    x = rng.random((2, 19, 23, channels), np.float32)
    rows, columns = resize_matrix(19, height, kernel), resize_matrix(23, width, kernel)
    expected = np.einsum("oh,nhwc,pw->nopc", rows, x, columns)
    np.testing.assert_allclose(resize(x, height, width, kernel), expected, atol=2e-6)


def test_same_size_is_the_same_image() -> None:
    x = rng.random((9, 17, 3), np.float32)
    for kernel in KERNELS:
        np.testing.assert_allclose(resize(x, 9, 17, kernel), x, atol=1e-6)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos3"])
@pytest.mark.parametrize(("height", "width"), [(120, 150), (13, 17), (48, 31)])
def test_inside_equal_to_pillow(kernel: str, height: int, width: int) -> None:
    """Pillow renormalises at the edges where we replicate, so compare the inside only."""
    image = pytest.importorskip("PIL.Image")
    x = rng.random((40, 50), np.float32)
    method = {"bicubic": image.Resampling.BICUBIC, "lanczos3": image.Resampling.LANCZOS}[kernel]
    expected = np.asarray(image.fromarray(x, mode=None).resize((width, height), method))
    actual = resize(x[..., None], height, width, kernel)[..., 0]
    edge_y, edge_x = -(-3 * max(height, 40) // 40), -(-3 * max(width, 50) // 50)
    inside = (slice(edge_y, -edge_y), slice(edge_x, -edge_x))
    np.testing.assert_allclose(actual[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_gaussian_is_scipys_impulse_response(scale: int) -> None:
    impulse = np.zeros((13, 13))
    impulse[6, 6] = 1
    expected = gaussian_filter(impulse, BD_SIGMA[scale])
    np.testing.assert_allclose(gaussian(BD_SIGMA[scale]), expected, atol=1e-15)
    np.testing.assert_allclose(gaussian_kernel_1d(BD_SIGMA[scale]).sum(), 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(48, 36), (31, 50), (7, 8), (3, 1)])
def test_bd_is_blur_with_reflection_then_every_sth_pixel_from_zero(
    scale: int, height: int, width: int
) -> None:
    x = rng.random((height, width, 3), np.float32)
    padded = np.pad(x.astype(float), ((6, 6), (6, 6), (0, 0)), mode="reflect")
    blurred = correlate(padded, gaussian(BD_SIGMA[scale])[..., None])[6:-6, 6:-6]
    np.testing.assert_allclose(downsample_bd(x, scale), blurred[::scale, ::scale], atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["linear", "bicubic", "lanczos3"])
def test_a_ramp_comes_back_in_place_for_both_phases(scale: int, kernel: str) -> None:
    tolerance = {"linear": 1e-3, "bicubic": 1e-3, "lanczos3": 0.5}[kernel]  # Lanczos ripples on ramps
    high = ramp(40 * scale, 36 * scale)
    inside = slice(6 * scale, -6 * scale)
    zero = interpolate(downsample_bd(high, scale), scale, kernel, phase="zero")
    centre = interpolate(resize(high, 40, 36, "bicubic"), scale, kernel, phase="centre")
    for restored in (zero, centre):
        np.testing.assert_allclose(restored[inside, inside], high[inside, inside], atol=tolerance)
    mismatched = interpolate(downsample_bd(high, scale), scale, kernel, phase="centre")
    shift = (mismatched - high)[inside, inside].mean()
    assert shift == pytest.approx(-(2 + 3) * (scale - 1) / 2, abs=0.05)  # what mixing the phases costs


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_phase_zero_keeps_the_samples(scale: int) -> None:
    x = rng.random((9, 11, 3), np.float32)
    np.testing.assert_allclose(interpolate(x, scale, "bicubic", phase="zero")[::scale, ::scale], x, atol=1e-6)


def test_constants_stay() -> None:
    x = np.full((21, 34, 3), 0.3, np.float32)
    for kernel in KERNELS:
        np.testing.assert_allclose(resize(x, 50, 11, kernel), 0.3, atol=1e-6)
        np.testing.assert_allclose(interpolate(x, 3, kernel, phase="zero"), 0.3, atol=1e-6)
    np.testing.assert_allclose(downsample_bd(x, 4), 0.3, atol=1e-6)


def test_integer_images_need_no_conversion() -> None:
    x = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(interpolate(x, 2), interpolate(x.astype(np.float32), 2))


def test_invalid_arguments() -> None:
    x = np.zeros((4, 4, 3), np.float32)
    with pytest.raises(ValueError, match="unknown kernel 'spline'"):
        resize(x, 8, 8, "spline")
    with pytest.raises(ValueError, match="cannot resample 4 samples to 0"):
        resize(x, 0, 8)
    with pytest.raises(ValueError, match=r"shape \(..., height, width, channels\)"):
        resize(np.zeros((4, 4)), 8, 8)
    with pytest.raises(ValueError, match="scales 2, 3 and 4, not 5"):
        downsample_bd(x, 5)
    with pytest.raises(ValueError, match="phase 'half'"):
        interpolate(x, 2, phase="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot upscale by 0"):
        interpolate(x, 0, phase="zero")
    with pytest.raises(ValueError, match="odd size"):
        gaussian_kernel_1d(1.0, 12)
