"""The facts about one picture, and how they are spelled."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vsrcli.media.types import Color

SRGB = Color("pc", "gbr", "bt709", "iec61966-2-1")
UNTAGGED = Color("pc", "gbr")


@dataclass(frozen=True)
class ImageInfo:
    """The facts about one picture.

    Attributes:
        format: ``PNG``, ``TIFF``, ``WebP``, ``JPEG``, ``BMP`` or ``EXR``.
        width, height: as displayed, that is after ``orientation``.
        bits: of a component: 8 or 16; of floats 16 or 32.
        grey: whether it has no colour.
        alpha: whether it has transparency.
        orientation: EXIF's: 1 upright, 6 to be turned clockwise by 90 degrees ….
        color: what its codes mean, as far as it says so.
        palette: whether its pixels are numbers of colours in a table.
        lossy: whether its format has lost something (JPEG, ordinary WebP).
        others: what else is in the file and left out, in words.
        shape: of a pixel: its width by its height.
    """

    format: str
    width: int
    height: int
    bit_depth: int
    is_grayscale: bool
    has_alpha: bool
    orientation: int = 1
    color: Color = UNTAGGED
    has_palette: bool = False
    is_lossy: bool = False
    ignored_content: tuple[str, ...] = ()
    sample_aspect_ratio: Fraction = Fraction(1)


def parse_orientation(value: Any) -> int:
    """EXIF's, from whatever stands there."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height as displayed."""
    return (height, width) if orientation >= 5 else (width, height)


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) < 120 else f"{text[:117]}..."
