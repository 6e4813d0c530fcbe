"""Pictures made from real frames: the same crop in every version, side by side, enlarged to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsrcli.errors import OutputError, UsageError
from vsrcli.evaluate.metrics import psnr_y

if TYPE_CHECKING:
    from vsrcli.evaluate.benchmark import StillFrames

CROP_SIDE, ENLARGEMENT = 144, 3  # of the crops that are chosen automatically
BORDER = 8  # unscored pixels at the borders are not shown either
GAP = 6
# The strip brings its own background, so it looks the same on light and dark pages.
BACKGROUND, FOREGROUND = (24, 26, 30), (236, 238, 240)


@dataclass(frozen=True)
class DetailCrop:
    """A rectangle of a picture in its own pixels."""

    left: int
    top: int
    width: int
    height: int

    def extract(self, image: np.ndarray) -> np.ndarray:
        """The view of (H, W, 3) inside the rectangle.

        Raises:
            UsageError: the rectangle does not lie inside the picture.
        """
        height, width = image.shape[:2]
        is_inside = 0 <= self.left <= width - self.width and 0 <= self.top <= height - self.height
        if not is_inside or min(self.width, self.height) < 1:
            crop = f"{self.width}x{self.height} at {self.left},{self.top}"
            raise UsageError(f"a crop of {crop} is not inside a picture of {width}x{height}")
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def most_detailed_crop(
    truth: np.ndarray, width: int = CROP_SIDE, height: int = CROP_SIDE, step: int = 4
) -> DetailCrop:
    """The crop with the most detail: the largest sum of absolute differences between neighbouring pixels.

    Args:
        truth: uint8 (H, W, 3).
        width, height: of the crop; smaller where the picture is smaller.
        step: candidates lie at multiples of it, so the choice does not hang on single pixels.
    """
    grey = truth.mean(axis=2)
    detail = np.zeros_like(grey)
    detail[:, 1:] += np.abs(np.diff(grey, axis=1))
    detail[1:] += np.abs(np.diff(grey, axis=0))
    border = BORDER if min(grey.shape) > 4 * BORDER else 0
    height, width = min(height, grey.shape[0] - 2 * border), min(width, grey.shape[1] - 2 * border)
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # sums[y, x]: everything above and left of it
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    candidates = inside[border : inside.shape[0] - border : step, border : inside.shape[1] - border : step]
    y, x = np.unravel_index(np.argmax(candidates), candidates.shape)
    return DetailCrop(int(x) * step + border, int(y) * step + border, width, height)


def comparison_strip(
    panels: Sequence[tuple[str, np.ndarray]], crop: DetailCrop, enlargement: int = ENLARGEMENT
) -> np.ndarray:
    """A labelled strip of one crop in several versions.

    Args:
        panels: label and picture, uint8 (H, W, 3). All of one size, except low resolution: a picture smaller
            by a whole factor is first repeated pixel by pixel.
        crop: in pixels of the largest picture.
        enlarge: whole factor; pixels stay squares.

    Returns:
        uint8 (rows, columns, 3).

    Raises:
        UsageError: the crop is not inside the pictures, or a factor below 1.
        ValueError: no panel, or sizes that are not whole fractions of the largest.
    """
    if enlargement < 1:
        raise UsageError(f"cannot enlarge by {enlargement}: use 1 or more")
    max_height = max(image.shape[0] for _, image in panels)
    panels_ = [
        (label, _enlarge(crop.extract(_repeat_to_height(picture, max_height)), enlargement))
        for label, picture in panels
    ]
    height, width = panels_[0][1].shape[:2]
    size = max(11, min(20, width // 14))
    label_height = size * 2
    font = ImageFont.load_default(size=size)
    strip = Image.new("RGB", (len(panels_) * (width + GAP) + GAP, label_height + height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for number, (label, picture) in enumerate(panels_):
        left = GAP + number * (width + GAP)
        draw.text((left + width / 2, label_height / 2), label, fill=FOREGROUND, font=font, anchor="mm")
        strip.paste(Image.fromarray(picture), (left, label_height))
    return np.asarray(strip)


def comparison_panels(
    frames: StillFrames,
    model: str = "vsr",
    *,
    with_low_resolution: bool = False,
    other_models: Sequence[tuple[str, np.ndarray]] = (),
) -> list[tuple[str, np.ndarray]]:
    """Panels for :func:`comparison`: (low resolution,) bicubic, models, truth; PSNR of whole frames.

    Args:
        still: a frame in every version.
        model: what the model is called.
        low: whether low resolution is shown.
        others: the same frame by other models, with their names; they come before this one.
    """
    versions = [("bicubic", frames.bicubic), *other_models, (model, frames.model)]
    scored = [(f"{name}  {psnr_y(picture, frames.truth):.2f} dB", picture) for name, picture in versions]
    first = [("low resolution", frames.low)] if with_low_resolution else []
    return [*first, *scored, ("truth", frames.truth)]


def save_image(path: Path, image: np.ndarray) -> None:
    """Write a picture; the extension chooses the format. Folders are made as needed.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    except (OSError, ValueError) as error:  # ValueError: no format of this extension
        raise OutputError(
            f"cannot write the picture {str(path)!r}: {error}; choose another --pictures"
        ) from error


def _repeat_to_height(image: np.ndarray, height: int) -> np.ndarray:
    factor, remainder = divmod(height, image.shape[0])
    if remainder:
        raise ValueError(f"a picture of {image.shape[0]} rows is no whole fraction of {height}")
    return _enlarge(image, factor)


def _enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
