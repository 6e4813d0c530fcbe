"""Comparison images: sizes, positions, labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsrcli.errors import OutputError, UsageError
from vsrcli.evaluate.crops import (
    BACKGROUND,
    BORDER,
    GAP,
    DetailCrop,
    StillFrames,
    comparison_panels,
    comparison_strip,
    most_detailed_crop,
    save_image,
)

rng = np.random.default_rng(5)


def random_image(height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def still_frames(height: int = 64, width: int = 96, scale: int = 4) -> StillFrames:
    low = random_image(height // scale, width // scale)
    bicubic, lanczos, model, truth = (random_image(height, width) for _ in range(4))
    return StillFrames(3, low, bicubic, lanczos, model, truth)


def test_every_panel_shows_its_own_pixels() -> None:
    panels, crop, enlarge = (
        [("left", random_image(50, 60)), ("right", random_image(50, 60))],
        DetailCrop(7, 5, 30, 20),
        3,
    )
    strip = comparison_strip(panels, crop, enlarge)
    assert strip.dtype == np.uint8
    assert strip.shape[1] == 2 * (30 * enlarge + GAP) + GAP
    head = strip.shape[0] - GAP - 20 * enlarge
    for number, (_, source) in enumerate(panels):
        left = GAP + number * (30 * enlarge + GAP)
        shown = strip[head : head + 20 * enlarge, left : left + 30 * enlarge]
        np.testing.assert_array_equal(shown[1::enlarge, 1::enlarge], source[5:25, 7:37])
        label = strip[:head, left : left + 30 * enlarge]
        assert label.max() > 150  # something is written
    assert tuple(strip[0, 0]) == BACKGROUND


def test_low_resolution_is_repeated_pixel_by_pixel() -> None:
    shot = still_frames()
    panels = comparison_panels(shot, "net", with_low_resolution=True)
    assert [label.split()[0] for label, _ in panels] == ["low", "bicubic", "net", "truth"]
    strip = comparison_strip(panels, DetailCrop(8, 16, 16, 8), 1)
    shown = strip[-GAP - 8 : -GAP, GAP : GAP + 16]
    np.testing.assert_array_equal(shown, shot.low[4:6, 2:6].repeat(4, 0).repeat(4, 1))


def test_frames_without_error_count_as_a_hundred_decibels() -> None:
    shot = still_frames()
    panels = comparison_panels(replace(shot, model=shot.truth), "net")
    assert "net  100.00 dB" in [label for label, _ in panels]


def test_the_crop_with_most_detail_is_chosen_and_avoids_the_border() -> None:
    truth = np.full((120, 160, 3), 90, np.uint8)
    truth[60:92, 100:132] = random_image(32, 32)
    truth[:6] = random_image(6, 160)  # at the border, which is not scored
    assert most_detailed_crop(truth, 32, 32) == DetailCrop(100, 60, 32, 32)
    assert most_detailed_crop(truth, 32, 32) == most_detailed_crop(truth.copy(), 32, 32)
    flat = most_detailed_crop(np.zeros((40, 50, 3), np.uint8))
    assert flat == DetailCrop(BORDER, BORDER, 50 - 2 * BORDER, 40 - 2 * BORDER)
    assert most_detailed_crop(random_image(20, 24)) == DetailCrop(0, 0, 24, 20)


def test_invalid_strips_are_errors() -> None:
    panels = [("a", random_image(30, 40))]
    for crop in (DetailCrop(20, 0, 30, 10), DetailCrop(-1, 0, 5, 5), DetailCrop(0, 0, 0, 5)):
        with pytest.raises(UsageError, match="is not inside"):
            comparison_strip(panels, crop)
    with pytest.raises(UsageError, match="cannot enlarge"):
        comparison_strip(panels, DetailCrop(0, 0, 5, 5), 0)
    with pytest.raises(ValueError, match="whole fraction"):
        comparison_strip([*panels, ("b", random_image(13, 20))], DetailCrop(0, 0, 5, 5))


def test_images_are_written(tmp_path: Path) -> None:
    source = random_image(9, 14)
    save_image(tmp_path / "new" / "a.png", source)
    with Image.open(tmp_path / "new" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), source)
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file" / "a.png", tmp_path / "a.nonsense"):
        with pytest.raises(OutputError, match="cannot write"):
            save_image(wrong, source)
