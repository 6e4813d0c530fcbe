"""What size the new film gets, from what was asked for: all arithmetic in exact fractions.

Widths and heights are those of the film as it is shown, that is after rotation. Where pixels are not square,

- a factor, a width or a height enlarges the *stored* picture, the same in both directions, and pixels keep
  their shape, so the film is shown as wide as before;
- a box (width and height) is a screen of *square* pixels, so the new film has square ones.

The picture is never distorted: in a box it is fitted (all of it is seen, and one side may be smaller than the
box), or it fills the box and is cut in the middle.
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
"""Boxes by name; for a film that is higher than wide they are turned."""


@dataclass(frozen=True)
class SizeRequest:
    """An output size as it was asked for.

    Attributes:
        width, height: pixels. Both: a box. One: the other side follows.
        fill: cover the box and cut off what stands out; otherwise all of the picture is fitted into it.
        turns: the box is turned for a picture that is higher than wide.

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
        """As on the command line."""
        if self.width is None:
            return f"--height {self.height}"
        if self.height is None:
            return f"--width {self.width}"
        return f"--size {self.width}x{self.height}{' --fill' if self.fill else ''}"


@dataclass(frozen=True)
class Geometry:
    """The new film's picture.

    Attributes:
        width, height: pixels.
        shape: of a pixel: its width by its height.
        across, down: factors between the old picture and the new one, before sides are rounded to pixels.
        seen: shares of the old picture's width and height, around its centre, that are still there.
    """

    width: int
    height: int
    sample_aspect_ratio: Fraction
    scale_x: Fraction
    scale_y: Fraction
    visible_fractions: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))

    @property
    def factor(self) -> Fraction:
        """What a network has to reach."""
        return max(self.scale_x, self.scale_y)

    @property
    def visible_share(self) -> tuple[float, float]:
        """``seen`` in floating point."""
        return float(self.visible_fractions[0]), float(self.visible_fractions[1])

    @property
    def is_uncropped(self) -> bool:
        """Whether nothing is cut off."""
        return self.visible_fractions == (1, 1)


def geometry_for_scale(width: int, height: int, sample_aspect_ratio: Fraction, scale: Fraction) -> Geometry:
    """A film ``scale`` times as large; sides are rounded, ties to the even number.

    Args:
        width, height: of the old film, as shown.
        shape: of its pixels.
        scale: factor.

    Raises:
        UsageError: a factor that is not above 1 and at most ``MAX_SCALE``.
    """
    check_scale(scale)
    return Geometry(round(width * scale), round(height * scale), sample_aspect_ratio, scale, scale)


def geometry_for_size(
    width: int, height: int, sample_aspect_ratio: Fraction, request: SizeRequest
) -> Geometry:
    """A film of a size that was asked for. A side that follows from another is an even number.

    Args:
        width, height: of the old film, as shown.
        shape: of its pixels.
        wanted: the size.

    Raises:
        UsageError: that is no larger than the film, or more than ``MAX_SCALE`` times as large.
    """
    if request.width is None or request.height is None:
        geometry = _geometry_for_side(width, height, sample_aspect_ratio, request)
    else:
        box = request.width, request.height
        if request.swap_for_portrait and width * sample_aspect_ratio < height:
            box = request.height, request.width
        place = _fill_box if request.fill else _fit_in_box
        geometry = place(width, height, sample_aspect_ratio, *box)
    smaller = min(geometry.scale_x, geometry.scale_y) < 1
    if smaller or geometry.factor == 1:
        pixels = (
            ""
            if sample_aspect_ratio == 1
            else f" with pixels of {sample_aspect_ratio.numerator}:{sample_aspect_ratio.denominator}"
        )
        what = "would make it smaller" if smaller else "is its size already"
        raise UsageError(
            f"{request}: the film is {width}x{height}{pixels}, so this {what}; give a larger size, or use "
            f"ffmpeg (-vf scale={geometry.width}:{geometry.height})"
        )
    if geometry.factor > MAX_SCALE:
        raise UsageError(
            f"{request}: {float(geometry.factor):.4g} times the film's {width}x{height}; "
            f"a film can become {MAX_SCALE} times as large at most"
        )
    return geometry


def check_scale(scale: Fraction) -> None:
    """Refuse factors that are out of range.

    Raises:
        UsageError: not above 1, or above ``MAX_SCALE``.
    """
    if not 1 < scale <= MAX_SCALE:
        remedy = f"more than 1, at most {MAX_SCALE}"
        if scale <= 1:
            remedy += "; to make a film smaller, or only to recode it, use ffmpeg"
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
    down = min(max_width / display_width, Fraction(max_height, height))
    new_width, new_height = (
        most if exact == most else min(_round_to_even(exact), most - most % 2 or most)
        for exact, most in ((display_width * down, max_width), (height * down, max_height))
    )
    return Geometry(new_width, new_height, Fraction(1), sample_aspect_ratio * down, down)


def _fill_box(
    width: int, height: int, sample_aspect_ratio: Fraction, new_width: int, new_height: int
) -> Geometry:
    display_width = width * sample_aspect_ratio
    down = max(new_width / display_width, Fraction(new_height, height))
    visible_fractions = new_width / (display_width * down), new_height / (height * down)
    return Geometry(new_width, new_height, Fraction(1), sample_aspect_ratio * down, down, visible_fractions)


def _round_to_even(side: Fraction) -> int:
    """The nearest even number, 2 at least: half of the pixel formats have half as many chroma samples."""
    return max(2 * round(side / 2), 2)
