"""Properties of an image file, and helpers to read them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vsrcli.media.types import Color

SRGB = Color("pc", "gbr", "bt709", "iec61966-2-1")
UNTAGGED = Color("pc", "gbr")


class UnsupportedImageError(ValueError):
    """The image is of a kind that is not supported; the text says which, and the remedy."""


@dataclass(frozen=True)
class ImageInfo:
    """Properties of one image file.

    Attributes:
        format: ``PNG``, ``TIFF``, ``WebP``, ``JPEG``, ``BMP`` or ``EXR``.
        width, height: as displayed, that is after ``orientation``.
        bit_depth: of a component: 8 or 16; of floats 16 or 32.
        is_grayscale: whether it has no colour.
        has_alpha: whether it has an alpha channel or a transparent colour.
        orientation: EXIF's: 1 upright, 6 to be rotated clockwise by 90 degrees ….
        color: meaning of its codes, as far as the file states it.
        has_palette: whether its pixels are indices into a table of colours.
        is_lossy: whether its compression is lossy (JPEG, ordinary WebP).
        ignored_content: what else the file holds and is left out, in words.
        sample_aspect_ratio: width / height of a pixel.
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
    """Return EXIF's orientation; 1 if the value is none."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height as displayed."""
    return (height, width) if orientation >= 5 else (width, height)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 120 characters."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) < 120 else f"{text[:117]}..."
