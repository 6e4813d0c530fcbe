"""Composition of several images on one canvas, with labels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vsrcli.compare.canvas import WIPE_PERIOD, Layout, label_badge, pick_font, shorten
from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop

WIDTH, HEIGHT = 96, 64


def solid_images(count: int, dtype: type = np.uint8) -> list[np.ndarray]:
    """Return images of one colour each."""
    top = np.iinfo(dtype).max
    return [np.full((HEIGHT, WIDTH, 3), top * (number + 1) // 5, dtype) for number in range(count)]


def layout(kind: str, count: int = 2, **options: object) -> Layout:
    return Layout(kind, WIDTH, HEIGHT, count, **{"has_labels": False, **options})  # type: ignore[arg-type]


def test_split_shows_the_left_half_of_one_and_the_right_half_of_the_other() -> None:
    left, right = solid_images(2)
    canvas = layout("split").compose([left, right], ["a", "b"])
    assert canvas.shape == left.shape
    np.testing.assert_array_equal(canvas[:, : WIDTH // 2 - 3], left[:, : WIDTH // 2 - 3])
    np.testing.assert_array_equal(canvas[:, WIDTH // 2 + 3 :], right[:, WIDTH // 2 + 3 :])
    middle = canvas[:, WIDTH // 2 - 3 : WIDTH // 2 + 3]
    assert middle.min() < 40  # the line is visible on light and dark
    assert middle.max() > 240


def test_a_wipe_moves_across_the_whole_image() -> None:
    left, right = solid_images(2)
    canvases = [
        layout("wipe").compose([left, right], ["a", "b"], WIPE_PERIOD * part / 4 + WIPE_PERIOD)
        for part in range(4)
    ]
    np.testing.assert_array_equal(canvases[1][:, :-3], left[:, :-3])
    np.testing.assert_array_equal(canvases[3][:, 3:], right[:, 3:])
    np.testing.assert_array_equal(canvases[0], canvases[2])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_side_and_stack_show_all_of_each(count: int, dtype: type) -> None:
    images = solid_images(count, dtype)
    side = layout("side", count).compose(images, ["a"] * count)
    assert side.shape[::-1][1:] == layout("side", count).canvas_size
    stack = layout("stack", count).compose(images, ["a"] * count)
    for index, image in enumerate(images):
        left, top = index * (WIDTH + 4), index * (HEIGHT + 4)
        np.testing.assert_array_equal(side[:HEIGHT, left : left + WIDTH], image)
        np.testing.assert_array_equal(stack[top : top + HEIGHT, :WIDTH], image)
    assert side.dtype == stack.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["split", "side", "stack"])
def test_labels_are_drawn_over_or_above_the_images(kind: str, dtype: type) -> None:
    images = solid_images(2, dtype)
    labelled = layout(kind, has_labels=True)
    canvas = labelled.compose(images, ["one", "two"])
    assert canvas.shape[:2] == labelled.canvas_size[::-1]
    assert canvas.max() > 0.8 * np.iinfo(dtype).max  # letters are lighter than both images
    other = labelled.compose(images, ["one", "another"])
    assert (canvas != other).any()


def test_a_crop_is_enlarged_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    crop = DetailCrop(10, 20, 12, 8)
    canvas = layout("side", crop=crop, zoom=3).compose(images, ["a", "b"])
    for index, image in enumerate(images):
        part = image[20:28, 10:22].repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(canvas[:24, index * 40 : index * 40 + 36], part)


def test_impossible_layouts_are_refused() -> None:
    with pytest.raises(UsageError, match="split shows two videos, not 3"):
        layout("split", 3)
    with pytest.raises(UsageError, match="not inside"):
        layout("side", crop=DetailCrop(90, 0, 12, 8))


def test_canvases_have_even_sides() -> None:
    odd = Layout("side", 33, 21, 2, has_labels=True)
    assert [side % 2 for side in odd.canvas_size] == [0, 0]
    assert odd.compose([np.zeros((21, 33, 3), np.uint8)] * 2, ["a", "b"]).shape[:2] == odd.canvas_size[::-1]


def test_long_labels_are_shortened_in_the_middle() -> None:
    text, font = pick_font("a-very-long-name-of-a-video-2160p.mkv", 16)
    short = shorten(text, 120, font)
    assert font.getlength(short) <= 120
    assert short.startswith("a-v")
    assert short.endswith("mkv")
    assert "..." in short
    assert label_badge(text, 2, 16).size == 0  # nothing fits


@pytest.mark.parametrize("text", ["größer ×4 — über", "日本語", "\N{REPLACEMENT CHARACTER}", ""])
def test_all_characters_are_drawn_or_replaced(text: str) -> None:
    drawable, _ = pick_font(text, 16)
    assert drawable == text or drawable.isascii()
    label_badge(f"video {text}", 400, 16)


def test_a_split_does_not_depend_on_time() -> None:
    left, right = solid_images(2)
    canvas = layout("split").compose([left, right], ["a", "b"])
    np.testing.assert_array_equal(canvas, layout("split").compose([left, right], ["a", "b"], Fraction(1)))
