"""Several pictures on one canvas, and words on them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vsrcli.compare.canvas import PERIOD, Layout, label_badge, pick_font, shortened
from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop

WIDTH, HEIGHT = 96, 64


def pictures(count: int, dtype: type = np.uint8) -> list[np.ndarray]:
    """One colour each."""
    top = np.iinfo(dtype).max
    return [np.full((HEIGHT, WIDTH, 3), top * (number + 1) // 5, dtype) for number in range(count)]


def layout(kind: str, count: int = 2, **options: object) -> Layout:
    return Layout(kind, WIDTH, HEIGHT, count, **{"named": False, **options})  # type: ignore[arg-type]


def test_split_shows_the_left_half_of_one_and_the_right_half_of_the_other() -> None:
    left, right = pictures(2)
    canvas = layout("split").compose([left, right], ["a", "b"])
    assert canvas.shape == left.shape
    np.testing.assert_array_equal(canvas[:, : WIDTH // 2 - 3], left[:, : WIDTH // 2 - 3])
    np.testing.assert_array_equal(canvas[:, WIDTH // 2 + 3 :], right[:, WIDTH // 2 + 3 :])
    middle = canvas[:, WIDTH // 2 - 3 : WIDTH // 2 + 3]
    assert middle.min() < 40  # a line that is seen on light and dark
    assert middle.max() > 240


def test_a_wipe_moves_over_all_of_the_picture() -> None:
    left, right = pictures(2)
    made = [
        layout("wipe").compose([left, right], ["a", "b"], PERIOD * part / 4 + PERIOD) for part in range(4)
    ]
    np.testing.assert_array_equal(made[1][:, :-3], left[:, :-3])
    np.testing.assert_array_equal(made[3][:, 3:], right[:, 3:])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_side_and_stack_show_all_of_each(count: int, dtype: type) -> None:
    shown = pictures(count, dtype)
    side = layout("side", count).compose(shown, ["a"] * count)
    assert side.shape[::-1][1:] == layout("side", count).size
    stack = layout("stack", count).compose(shown, ["a"] * count)
    for number, picture in enumerate(shown):
        across, down = number * (WIDTH + 4), number * (HEIGHT + 4)
        np.testing.assert_array_equal(side[:HEIGHT, across : across + WIDTH], picture)
        np.testing.assert_array_equal(stack[down : down + HEIGHT, :WIDTH], picture)
    assert side.dtype == stack.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["split", "side", "stack"])
def test_labels_stand_on_the_picture_or_above_it(kind: str, dtype: type) -> None:
    shown = pictures(2, dtype)
    named = layout(kind, named=True)
    canvas = named.compose(shown, ["one", "two"])
    assert canvas.shape[:2] == named.size[::-1]
    assert canvas.max() > 0.8 * np.iinfo(dtype).max  # letters are lighter than either picture
    other = named.compose(shown, ["one", "another"])
    assert (canvas != other).any()


def test_a_crop_is_enlarged_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    shown = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    crop = DetailCrop(10, 20, 12, 8)
    canvas = layout("side", crop=crop, zoom=3).compose(shown, ["a", "b"])
    for number, picture in enumerate(shown):
        part = picture[20:28, 10:22].repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(canvas[:24, number * 40 : number * 40 + 36], part)


def test_what_cannot_be_laid_out_is_said() -> None:
    with pytest.raises(UsageError, match="split shows two films, not 3"):
        layout("split", 3)
    with pytest.raises(UsageError, match="not inside"):
        layout("side", crop=DetailCrop(90, 0, 12, 8))


def test_canvases_have_even_sides() -> None:
    odd = Layout("side", 33, 21, 2, named=True)
    assert [side % 2 for side in odd.size] == [0, 0]
    assert odd.compose([np.zeros((21, 33, 3), np.uint8)] * 2, ["a", "b"]).shape[:2] == odd.size[::-1]


def test_long_words_keep_their_beginning_and_end() -> None:
    text, font = pick_font("a-very-long-name-of-a-film-2160p.mkv", 16)
    short = shortened(text, 120, font)
    assert font.getlength(short) <= 120
    assert short.startswith("a-v")
    assert short.endswith("mkv")
    assert "..." in short
    assert label_badge(text, 2, 16).size == 0  # no room at all


@pytest.mark.parametrize("text", ["größer ×4 — über", "日本語", "\N{REPLACEMENT CHARACTER}", ""])
def test_letters_of_any_kind_are_drawn_or_replaced(text: str) -> None:
    shown, _ = pick_font(text, 16)
    assert shown == text or shown.isascii()
    label_badge(f"film {text}", 400, 16)


def test_time_moves_no_split() -> None:
    left, right = pictures(2)
    still = layout("split").compose([left, right], ["a", "b"])
    np.testing.assert_array_equal(still, layout("split").compose([left, right], ["a", "b"], Fraction(1)))
