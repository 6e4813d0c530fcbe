"""Comparison images: the same crop of a frame in every version, side by side and enlarged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsrcli.errors import OutputError, UsageError
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y

CROP_SIDE, ENLARGEMENT = 144, 3  # of automatic crops
BORDER = 8  # pixels at the borders, which are not scored, are not shown either
GAP = 6
# The strip has its own background, so it looks the same on light and dark pages.
BACKGROUND, FOREGROUND = (24, 26, 30), (236, 238, 240)


@dataclass(frozen=True)
class DetailCrop:
    """A rectangle within an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def center(self) -> tuple[int, int]:
        """Column and row of the middle."""
        return self.left + self.width // 2, self.top + self.height // 2

    def extract(self, image: np.ndarray) -> np.ndarray:
        """Return the view of an image (H, W, channels) inside the rectangle.

        Raises:
            UsageError: the rectangle is not inside the image.
        """
        height, width = image.shape[:2]
        is_inside = 0 <= self.left <= width - self.width and 0 <= self.top <= height - self.height
        if not is_inside or min(self.width, self.height) < 1:
            crop = f"{self.width}x{self.height} at {self.left},{self.top}"
            raise UsageError(f"a crop of {crop} is not inside an image of {width}x{height}")
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, eq=False)
class StillFrames:
    """The middle frame of a clip in every version, uint8; ``low`` is (H, W, 3), all others (s*H, s*W, 3).

    With :attr:`~vsrcli.evaluate.benchmark.Measuring.moving` also a part of several frames, in every version
    but low resolution.
    """

    index: int
    low: np.ndarray
    bicubic: np.ndarray
    lanczos: np.ndarray
    model: np.ndarray
    truth: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)  # by name of the tool
    crop: DetailCrop | None = None  # of ``moving``
    moving: Mapping[str, np.ndarray] = field(default_factory=dict)  # by method, uint8 (T', h, w, 3)


def most_detailed_crop(
    truth: np.ndarray, width: int = CROP_SIDE, height: int = CROP_SIDE, step: int = 4
) -> DetailCrop:
    """Return the crop with the most detail: the largest sum of absolute differences of neighbouring pixels.

    Args:
        truth: uint8 (H, W, 3).
        width, height: of the crop; smaller where the image is smaller.
        step: candidates lie at multiples of it, so that the choice does not depend on single pixels.
    """
    gray = truth.mean(axis=2)
    detail = np.zeros_like(gray)
    detail[:, 1:] += np.abs(np.diff(gray, axis=1))
    detail[1:] += np.abs(np.diff(gray, axis=0))
    border = BORDER if min(gray.shape) > 4 * BORDER else 0
    height, width = min(height, gray.shape[0] - 2 * border), min(width, gray.shape[1] - 2 * border)
    # Summed-area table: sums[y, x] is the sum of everything above and left
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    crops = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    candidates = crops[border : crops.shape[0] - border : step, border : crops.shape[1] - border : step]
    y, x = np.unravel_index(np.argmax(candidates), candidates.shape)
    return DetailCrop(int(x) * step + border, int(y) * step + border, width, height)


def comparison_strip(
    panels: Sequence[tuple[str, np.ndarray]], crop: DetailCrop, enlargement: int = ENLARGEMENT
) -> np.ndarray:
    """Draw a labelled strip of one crop in several versions.

    Args:
        panels: label and image, uint8 (H, W, 3). All of one size, except low resolution: an image smaller by
            a whole factor is first repeated pixel by pixel.
        crop: in pixels of the largest image.
        enlargement: whole factor by which pixels are repeated.

    Returns:
        uint8 (rows, columns, 3).

    Raises:
        UsageError: the crop is not inside the images, or the factor is below 1.
        ValueError: a size is not a whole fraction of the largest.
    """
    if enlargement < 1:
        raise UsageError(f"cannot enlarge by {enlargement}: use 1 or more")
    max_height = max(image.shape[0] for _, image in panels)
    height, width = enlargement * crop.height, enlargement * crop.width
    size = max(11, min(20, width // 14))
    label_height = size * 2
    font = ImageFont.load_default(size=size)
    strip = Image.new("RGB", (len(panels) * (width + GAP) + GAP, label_height + height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for index, (label, image) in enumerate(panels):
        factor, remainder = divmod(max_height, image.shape[0])
        if remainder:
            raise ValueError(f"an image of {image.shape[0]} rows is no whole fraction of {max_height}")
        left = GAP + index * (width + GAP)
        draw.text((left + width / 2, label_height / 2), label, fill=FOREGROUND, font=font, anchor="mm")
        panel = enlarge(crop.extract(enlarge(image, factor)), enlargement)
        strip.paste(Image.fromarray(panel), (left, label_height))
    return np.asarray(strip)


def comparison_panels(
    frames: StillFrames,
    model: str = "vsr",
    *,
    with_low_resolution: bool = False,
    other_models: Sequence[tuple[str, np.ndarray]] = (),
) -> list[tuple[str, np.ndarray]]:
    """Return panels for :func:`comparison_strip`: (low resolution,) bicubic, models, other tools, truth.

    Labels state the PSNR of the full frame. ``other_models``, names and images, precede ``model``.
    """
    versions = [("bicubic", frames.bicubic), *other_models, (model, frames.model), *frames.others.items()]
    scored = [
        (f"{name}  {min(psnr_y(image, frames.truth), PSNR_CAP):.2f} dB", image) for name, image in versions
    ]
    first = [("low resolution", frames.low)] if with_low_resolution else []
    return [*first, *scored, ("truth", frames.truth)]


def save_image(path: Path, image: np.ndarray) -> None:
    """Write an image in the format of its extension. Create missing folders.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    except (OSError, ValueError) as error:  # ValueError: unknown extension
        raise OutputError(
            f"cannot write the image {str(path)!r}: {error}; choose another --images"
        ) from error


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Return an image (H, W, channels) whose pixels are repeated ``factor`` times along both sides."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
