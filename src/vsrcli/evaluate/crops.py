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

SIDE, ENLARGE = 144, 3  # of the crops that are chosen automatically
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

    def of(self, picture: np.ndarray) -> np.ndarray:
        """The view of (H, W, 3) inside the rectangle.

        Raises:
            UsageError: the rectangle does not lie inside the picture.
        """
        height, width = picture.shape[:2]
        inside = 0 <= self.left <= width - self.width and 0 <= self.top <= height - self.height
        if not inside or min(self.width, self.height) < 1:
            crop = f"{self.width}x{self.height} at {self.left},{self.top}"
            raise UsageError(f"a crop of {crop} is not inside a picture of {width}x{height}")
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


def detailed_crop(truth: np.ndarray, width: int = SIDE, height: int = SIDE, step: int = 4) -> DetailCrop:
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


def comparison(
    panels: Sequence[tuple[str, np.ndarray]], crop: DetailCrop, enlarge: int = ENLARGE
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
    if enlarge < 1:
        raise UsageError(f"cannot enlarge by {enlarge}: use 1 or more")
    tallest = max(picture.shape[0] for _, picture in panels)
    shown = [(label, _enlarged(crop.of(_repeated(picture, tallest)), enlarge)) for label, picture in panels]
    height, width = shown[0][1].shape[:2]
    size = max(11, min(20, width // 14))
    head = size * 2
    font = ImageFont.load_default(size=size)
    strip = Image.new("RGB", (len(shown) * (width + GAP) + GAP, head + height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for number, (label, picture) in enumerate(shown):
        left = GAP + number * (width + GAP)
        draw.text((left + width / 2, head / 2), label, fill=FOREGROUND, font=font, anchor="mm")
        strip.paste(Image.fromarray(picture), (left, head))
    return np.asarray(strip)


def still_panels(
    still: StillFrames,
    model: str = "vsr",
    *,
    low: bool = False,
    others: Sequence[tuple[str, np.ndarray]] = (),
) -> list[tuple[str, np.ndarray]]:
    """Panels for :func:`comparison`: (low resolution,) bicubic, models, truth; PSNR of whole frames.

    Args:
        still: a frame in every version.
        model: what the model is called.
        low: whether low resolution is shown.
        others: the same frame by other models, with their names; they come before this one.
    """
    versions = [("bicubic", still.bicubic), *others, (model, still.model)]
    scored = [(f"{name}  {psnr_y(picture, still.truth):.2f} dB", picture) for name, picture in versions]
    first = [("low resolution", still.low)] if low else []
    return [*first, *scored, ("truth", still.truth)]


def save_image(path: Path, picture: np.ndarray) -> None:
    """Write a picture; the extension chooses the format. Folders are made as needed.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    except (OSError, ValueError) as error:  # ValueError: no format of this extension
        raise OutputError(
            f"cannot write the picture {str(path)!r}: {error}; choose another --pictures"
        ) from error


def _repeated(picture: np.ndarray, height: int) -> np.ndarray:
    factor, rest = divmod(height, picture.shape[0])
    if rest:
        raise ValueError(f"a picture of {picture.shape[0]} rows is no whole fraction of {height}")
    return _enlarged(picture, factor)


def _enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
