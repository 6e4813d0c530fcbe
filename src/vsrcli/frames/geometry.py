"""Output frame size for a requested scale or size, in exact fractions.

Widths and heights are display sizes, that is after rotation. Where pixels are not square,

- a factor, a width or a height enlarges the *stored* frame by the same factor in both directions, and the
  sample aspect ratio stays, so the display aspect ratio does, too;
- a box (width and height) is a screen of *square* pixels, so the output has square ones.

Frames are never distorted: in a box they are fitted (fully visible; one side may be smaller than the box), or
they fill the box and are cropped around the centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vsrcli.errors import UsageError

MAX_SCALE = 16  # factor: two passes of x4
NAMED_SIZES = {
    "480p": (854, 480),
    "576p": (1024, 576),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "2160p": (3840, 2160),
    "4320p": (7680, 4320),
    "hd": (1280, 720),
    "fhd": (1920, 1080),
    "uhd": (3840, 2160),
    "4k": (3840, 2160),
    "8k": (7680, 4320),
}
"""Boxes by name; width and height are swapped for portrait videos."""


@dataclass(frozen=True)
class SizeRequest:
    """A requested output size.

    Attributes:
        width, height: pixels. Both: a box. One: the other side follows.
        fill: cover the box and crop the rest; otherwise fit the full frame into the box.
        swap_for_portrait: swap width and height for a frame that is higher than wide.

    Raises:
        UsageError: neither side, a side below 1, or ``fill`` without a box.
    """

    width: int | None = None
    height: int | None = None
    fill: bool = False
    swap_for_portrait: bool = False

    def __post_init__(self) -> None:
        if self.width is None and self.height is None:
            raise UsageError("a size needs a width, a height or both")
        if min(side for side in (self.width, self.height) if side is not None) < 1:
            raise UsageError(f"{self}: a side has 1 pixel or more")
        if self.fill and None in (self.width, self.height):
            raise UsageError(f"{self} --fill: only a box can be filled; give --size WIDTHxHEIGHT")

    def __str__(self) -> str:
        """Return the request as options of the command line."""
        if self.width is None:
            return f"--height {self.height}"
        if self.height is None:
            return f"--width {self.width}"
        return f"--size {self.width}x{self.height}{' --fill' if self.fill else ''}"


@dataclass(frozen=True)
class Geometry:
    """Size of the output frames.

    Attributes:
        width, height: pixels.
        sample_aspect_ratio: width of a pixel divided by its height.
        scale_x, scale_y: horizontal and vertical factor, before sides are rounded to pixels.
        visible_fractions: shares of the input's width and height, around its centre, that are not cropped.
    """

    width: int
    height: int
    sample_aspect_ratio: Fraction
    scale_x: Fraction
    scale_y: Fraction
    visible_fractions: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))

    @property
    def factor(self) -> Fraction:
        """The larger of both factors: the one to upscale by."""
        return max(self.scale_x, self.scale_y)

    @property
    def visible_share(self) -> tuple[float, float]:
        """:attr:`visible_fractions` in floating point."""
        return float(self.visible_fractions[0]), float(self.visible_fractions[1])

    @property
    def is_uncropped(self) -> bool:
        """Whether the full frame is visible."""
        return self.visible_fractions == (1, 1)


def choose_geometry(
    width: int, height: int, sample_aspect_ratio: Fraction, scale: Fraction, size: SizeRequest | None
) -> Geometry:
    """Return the geometry for a size or, if that is None, for a factor; see the functions below."""
    if size is None:
        return geometry_for_scale(width, height, sample_aspect_ratio, scale)
    return geometry_for_size(width, height, sample_aspect_ratio, size)


def geometry_for_scale(width: int, height: int, sample_aspect_ratio: Fraction, scale: Fraction) -> Geometry:
    """Return the geometry for a factor; sides are rounded, ties to the even number.

    Args:
        width, height: display size of the input, in pixels.
        sample_aspect_ratio: of the input.
        scale: factor.

    Raises:
        UsageError: a factor below 1 or above ``MAX_SCALE``.
    """
    check_scale(scale)
    return Geometry(round(width * scale), round(height * scale), sample_aspect_ratio, scale, scale)


def geometry_for_size(
    width: int, height: int, sample_aspect_ratio: Fraction, request: SizeRequest
) -> Geometry:
    """Return the geometry for a requested size. A side that follows from the other is an even number.

    Args:
        width, height: display size of the input, in pixels.
        sample_aspect_ratio: of the input.
        request: the size.

    Raises:
        UsageError: the size is not larger than the input, or more than ``MAX_SCALE`` times as large.
    """
    if request.width is None or request.height is None:
        geometry = _geometry_for_side(width, height, sample_aspect_ratio, request)
    else:
        box = request.width, request.height
        if request.swap_for_portrait and width * sample_aspect_ratio < height:
            box = request.height, request.width
        geometry_in_box = _fill_box if request.fill else _fit_in_box
        geometry = geometry_in_box(width, height, sample_aspect_ratio, *box)
    is_smaller = min(geometry.scale_x, geometry.scale_y) < 1
    if is_smaller or geometry.factor == 1:
        sar = sample_aspect_ratio
        pixels = "" if sar == 1 else f" with pixels of {sar.numerator}:{sar.denominator}"
        reason = "would make it smaller" if is_smaller else "is its size already"
        raise UsageError(
            f"{request}: the source is {width}x{height}{pixels}, so this {reason}; give a larger size, "
            f"or use ffmpeg (-vf scale={geometry.width}:{geometry.height})"
        )
    if geometry.factor > MAX_SCALE:
        raise UsageError(
            f"{request}: {float(geometry.factor):.4g} times the source's {width}x{height}; "
            f"{MAX_SCALE} times is the most"
        )
    return geometry


def check_scale(scale: Fraction) -> None:
    """Require a factor in range.

    Raises:
        UsageError: the factor is below 1, or above ``MAX_SCALE``.
    """
    if not 1 <= scale <= MAX_SCALE:
        remedy = f"at least 1, at most {MAX_SCALE}"
        if scale < 1:
            remedy += "; to make a video smaller, use ffmpeg"
        raise UsageError(f"--scale {float(scale):g} is out of range: {remedy}")


def _geometry_for_side(
    width: int, height: int, sample_aspect_ratio: Fraction, request: SizeRequest
) -> Geometry:
    if request.width is not None:
        factor = Fraction(request.width, width)
        return Geometry(request.width, _round_to_even(height * factor), sample_aspect_ratio, factor, factor)
    assert request.height is not None
    factor = Fraction(request.height, height)
    return Geometry(_round_to_even(width * factor), request.height, sample_aspect_ratio, factor, factor)


def _fit_in_box(
    width: int, height: int, sample_aspect_ratio: Fraction, max_width: int, max_height: int
) -> Geometry:
    display_width = width * sample_aspect_ratio  # in square pixels
    scale_y = min(max_width / display_width, Fraction(max_height, height))
    new_width, new_height = (
        limit if exact == limit else min(_round_to_even(exact), limit - limit % 2 or limit)
        for exact, limit in ((display_width * scale_y, max_width), (height * scale_y, max_height))
    )
    return Geometry(new_width, new_height, Fraction(1), sample_aspect_ratio * scale_y, scale_y)


def _fill_box(
    width: int, height: int, sample_aspect_ratio: Fraction, new_width: int, new_height: int
) -> Geometry:
    display_width = width * sample_aspect_ratio  # in square pixels
    scale_y = max(new_width / display_width, Fraction(new_height, height))
    visible_fractions = new_width / (display_width * scale_y), new_height / (height * scale_y)
    scale_x = sample_aspect_ratio * scale_y
    return Geometry(new_width, new_height, Fraction(1), scale_x, scale_y, visible_fractions)


def _round_to_even(side: Fraction) -> int:
    """Return the nearest even number, at least 2: chroma is subsampled by 2 in half of the pixel formats."""
    return max(2 * round(side / 2), 2)
