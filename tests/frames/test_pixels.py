"""Transparency: no dark fringes, and premultiplied colours stay black where they are transparent."""

from __future__ import annotations

import numpy as np
import pytest

from vsrcli.frames.pixels import fill_transparent, pull_push_fill, resize_alpha, to_float, to_integer
from vsrcli.frames.resample import resize


def soft_disc(size: int = 32) -> np.ndarray:
    """Opacity of a soft disc, float32 (size, size)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(size / 3 - np.hypot(x, y), 0, 2).astype(np.float32) / 2


def straight_alpha_disc(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A white soft disc; black where it is transparent."""
    alpha = soft_disc()
    return to_integer(np.repeat((alpha > 0)[..., None], 3, -1).astype(np.float32), dtype), to_integer(
        alpha, dtype
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_on_white_stays_white(dtype: type) -> None:
    """Black in transparent parts must not bleed into the edges."""
    pixels, alpha = straight_alpha_disc(dtype)

    def over_white(colours: np.ndarray) -> np.ndarray:
        image = resize(to_float(colours), 128, 128, "bicubic").clip(0, 1)
        opacity = to_float(resize_alpha(alpha, 128, 128))[..., None]
        return image * opacity + 1 - opacity

    assert over_white(pixels).min() < 0.95  # the dark fringes
    filled = fill_transparent(pixels, alpha)
    assert filled.dtype == dtype
    assert over_white(filled).min() > 0.995


def test_visible_pixels_are_unchanged() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    alpha = to_integer(soft_disc(), np.uint8)
    filled = fill_transparent(pixels, alpha)
    np.testing.assert_array_equal(filled[alpha >= 64], pixels[alpha >= 64])
    assert (filled[alpha == 0] != pixels[alpha == 0]).any()


def test_opaque_frames_pass_through() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert fill_transparent(pixels, np.full((4, 4), 255, np.uint8)) is pixels


def test_premultiplied_colours_stay_black_where_transparent() -> None:
    pixels, alpha = straight_alpha_disc(np.uint8)
    premultiplied = to_integer(to_float(pixels) * to_float(alpha)[..., None], np.uint8)
    np.testing.assert_array_equal(fill_transparent(premultiplied, alpha), premultiplied)


def test_dark_colours_with_white_where_transparent_are_straight() -> None:
    """As black text in an image that was white before: no half-transparent pixel is brighter than alpha."""
    alpha = to_integer(soft_disc(), np.uint8)
    pixels = np.where(alpha > 0, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), 0)


def test_a_bright_edge_around_much_black_is_straight() -> None:
    """Few pixels that are not opaque are brighter than alpha, but most half-transparent ones are."""
    pixels, alpha = (
        np.pad(each, [(200, 200), (200, 200), (0, 0)][: each.ndim]) for each in straight_alpha_disc(np.uint8)
    )
    assert fill_transparent(pixels, alpha).min() > 0


def test_dark_colours_that_are_known_to_be_straight_are_filled() -> None:
    alpha = to_integer(soft_disc(), np.uint8)
    pixels = np.where(alpha > 0, 20, 0).astype(np.uint8)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), pixels)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha, is_straight=True), 20)


def test_near_colours_come_first() -> None:
    colours = np.zeros((8, 8, 3), np.float32)
    weight = np.zeros((8, 8), np.float32)
    colours[0, 0], weight[0, 0] = (1, 0, 0), 1
    colours[7, 7], weight[7, 7] = (0, 0, 1), 1
    filled = pull_push_fill(colours, weight)
    np.testing.assert_allclose(filled[1, 1], (1, 0, 0))
    np.testing.assert_allclose(filled[6, 6], (0, 0, 1))
    np.testing.assert_allclose(filled[0, 7], (0.5, 0, 0.5))
    np.testing.assert_array_equal(filled[0, 0], colours[0, 0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (7, 8)])
def test_any_shape(shape: tuple[int, int]) -> None:
    filled = pull_push_fill(np.ones((*shape, 3), np.float32), np.zeros(shape, np.float32))
    assert filled.shape == (*shape, 3)
    alpha = np.zeros(shape, np.uint8)
    assert fill_transparent(np.zeros((*shape, 3), np.uint8), alpha).shape == (*shape, 3)
    assert resize_alpha(alpha, 2 * shape[0], 2 * shape[1]).shape == (2 * shape[0], 2 * shape[1])


def test_alpha_is_aligned_with_the_frame() -> None:
    alpha = to_integer(soft_disc(), np.uint16)
    expected = resize(to_float(alpha)[..., None], 96, 96, "bicubic")[..., 0].clip(0, 1)
    np.testing.assert_allclose(to_float(resize_alpha(alpha, 96, 96)), expected, atol=1e-4)
