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
    turns: bool = False

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
    across: Fraction
    down: Fraction
    seen: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))

    @property
    def factor(self) -> Fraction:
        """What a network has to reach."""
        return max(self.across, self.down)

    @property
    def shares(self) -> tuple[float, float]:
        """``seen`` in floating point."""
        return float(self.seen[0]), float(self.seen[1])

    @property
    def is_uncropped(self) -> bool:
        """Whether nothing is cut off."""
        return self.seen == (1, 1)


def geometry_for_scale(width: int, height: int, shape: Fraction, scale: Fraction) -> Geometry:
    """A film ``scale`` times as large; sides are rounded, ties to the even number.

    Args:
        width, height: of the old film, as shown.
        shape: of its pixels.
        scale: factor.

    Raises:
        UsageError: a factor that is not above 1 and at most ``MAX_SCALE``.
    """
    check_scale(scale)
    return Geometry(round(width * scale), round(height * scale), shape, scale, scale)


def geometry_for_size(width: int, height: int, shape: Fraction, wanted: SizeRequest) -> Geometry:
    """A film of a size that was asked for. A side that follows from another is an even number.

    Args:
        width, height: of the old film, as shown.
        shape: of its pixels.
        wanted: the size.

    Raises:
        UsageError: that is no larger than the film, or more than ``MAX_SCALE`` times as large.
    """
    if wanted.width is None or wanted.height is None:
        geometry = _by_side(width, height, shape, wanted)
    else:
        box = wanted.width, wanted.height
        if wanted.turns and width * shape < height:
            box = wanted.height, wanted.width
        place = _filling if wanted.fill else _fitting
        geometry = place(width, height, shape, *box)
    smaller = min(geometry.across, geometry.down) < 1
    if smaller or geometry.factor == 1:
        pixels = "" if shape == 1 else f" with pixels of {shape.numerator}:{shape.denominator}"
        what = "would make it smaller" if smaller else "is its size already"
        raise UsageError(
            f"{wanted}: the film is {width}x{height}{pixels}, so this {what}; give a larger size, or use "
            f"ffmpeg (-vf scale={geometry.width}:{geometry.height})"
        )
    if geometry.factor > MAX_SCALE:
        raise UsageError(
            f"{wanted}: {float(geometry.factor):.4g} times the film's {width}x{height}; "
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


def _by_side(width: int, height: int, shape: Fraction, wanted: SizeRequest) -> Geometry:
    if wanted.width is not None:
        factor = Fraction(wanted.width, width)
        return Geometry(wanted.width, _even(height * factor), shape, factor, factor)
    assert wanted.height is not None
    factor = Fraction(wanted.height, height)
    return Geometry(_even(width * factor), wanted.height, shape, factor, factor)


def _fitting(width: int, height: int, shape: Fraction, most_width: int, most_height: int) -> Geometry:
    shown = width * shape  # in square pixels
    down = min(most_width / shown, Fraction(most_height, height))
    new_width, new_height = (
        most if exact == most else min(_even(exact), most - most % 2 or most)
        for exact, most in ((shown * down, most_width), (height * down, most_height))
    )
    return Geometry(new_width, new_height, Fraction(1), shape * down, down)


def _filling(width: int, height: int, shape: Fraction, new_width: int, new_height: int) -> Geometry:
    shown = width * shape
    down = max(new_width / shown, Fraction(new_height, height))
    seen = new_width / (shown * down), new_height / (height * down)
    return Geometry(new_width, new_height, Fraction(1), shape * down, down, seen)


def _even(side: Fraction) -> int:
    """The nearest even number, 2 at least: half of the pixel formats have half as many chroma samples."""
    return max(2 * round(side / 2), 2)
