"""Output sizes: never distorted, never smaller, exactly as requested."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vsrcli.errors import UsageError
from vsrcli.frames.geometry import (
    MAX_SCALE,
    NAMED_SIZES,
    Geometry,
    SizeRequest,
    geometry_for_scale,
    geometry_for_size,
)

SQUARE = Fraction(1)
PAL_WIDE = Fraction(64, 45)
SourceSize = tuple[int, int, Fraction]


def size(geometry: Geometry) -> tuple[int, int, Fraction]:
    return geometry.width, geometry.height, geometry.sample_aspect_ratio


@pytest.mark.parametrize(
    ("source", "requested", "expected"),
    [
        ((640, 360, SQUARE), SizeRequest(height=1080), (1920, 1080, SQUARE)),
        ((640, 360, SQUARE), SizeRequest(width=1280), (1280, 720, SQUARE)),
        ((853, 480, SQUARE), SizeRequest(height=1080), (1920, 1080, SQUARE)),  # 1919.25
        ((65, 49, SQUARE), SizeRequest(height=147), (196, 147, SQUARE)),  # 195: a side that follows is even
        ((65, 49, SQUARE), SizeRequest(width=195), (195, 148, SQUARE)),
        ((360, 640, SQUARE), SizeRequest(height=1920), (1080, 1920, SQUARE)),
        (
            (720, 576, PAL_WIDE),
            SizeRequest(height=1080),
            (1350, 1080, PAL_WIDE),
        ),  # pixels keep their aspect ratio
        ((720, 576, PAL_WIDE), SizeRequest(width=1440), (1440, 1152, PAL_WIDE)),
        ((640, 360, SQUARE), SizeRequest(1920, 1080), (1920, 1080, SQUARE)),
        ((640, 480, SQUARE), SizeRequest(1920, 1080), (1440, 1080, SQUARE)),
        ((1280, 536, SQUARE), SizeRequest(1920, 1080), (1920, 804, SQUARE)),
        ((853, 480, SQUARE), SizeRequest(1920, 1080), (1920, 1080, SQUARE)),
        ((65, 48, SQUARE), SizeRequest(131, 97), (131, 96, SQUARE)),  # 96.7: never beyond the box
        ((720, 576, PAL_WIDE), SizeRequest(1920, 1080), (1920, 1080, SQUARE)),  # a screen has square pixels
        ((720, 480, Fraction(8, 9)), SizeRequest(1920, 1080), (1440, 1080, SQUARE)),
        ((1440, 1080, Fraction(4, 3)), SizeRequest(1920, 1080), (1920, 1080, SQUARE)),  # larger one way only
        ((640, 480, SQUARE), SizeRequest(1920, 1080, fill=True), (1920, 1080, SQUARE)),
        ((360, 640, SQUARE), SizeRequest(1920, 1080), (608, 1080, SQUARE)),
        ((360, 640, SQUARE), SizeRequest(1920, 1080, swap_for_portrait=True), (1080, 1920, SQUARE)),
        (
            (400, 360, Fraction(1, 2)),
            SizeRequest(1920, 1080, swap_for_portrait=True),
            (1066, 1920, SQUARE),
        ),  # shown upright
        ((1, 1, SQUARE), SizeRequest(height=16), (16, 16, SQUARE)),
        ((1, 9, SQUARE), SizeRequest(height=18), (2, 18, SQUARE)),
    ],
)
def test_sizes(source: SourceSize, requested: SizeRequest, expected: tuple[int, int, Fraction]) -> None:
    assert size(geometry_for_size(*source, requested)) == expected


@pytest.mark.parametrize("shape", [SQUARE, PAL_WIDE, Fraction(8, 9), Fraction(1, 3)])
@pytest.mark.parametrize("fill", [False, True])
def test_frames_are_not_distorted(shape: Fraction, fill: bool) -> None:
    """The visible part of the input has the aspect ratio of the output, up to the rounding of one side."""
    for width, height in [(64, 48), (65, 49), (48, 64), (300, 20)]:
        for box in [(600, 400), (1000, 313), (331, 997)]:
            try:
                geometry = geometry_for_size(width, height, shape, SizeRequest(*box, fill=fill))
            except UsageError:
                continue
            aspect = width * geometry.visible_fractions[0] * shape / (height * geometry.visible_fractions[1])
            display_width = geometry.width * geometry.sample_aspect_ratio
            assert abs(display_width - aspect * geometry.height) <= 2 * max(1, aspect)
            assert geometry.scale_x / geometry.scale_y == shape / geometry.sample_aspect_ratio
            if fill:
                assert (geometry.width, geometry.height) == box
                assert max(geometry.visible_fractions) == 1
                assert min(geometry.visible_fractions) > 0
            else:
                assert geometry.is_uncropped
                assert geometry.width <= box[0]
                assert geometry.height <= box[1]
                assert geometry.width == box[0] or geometry.height == box[1]


def test_filling_a_box_crops_in_one_direction_only() -> None:
    geometry = geometry_for_size(640, 480, SQUARE, SizeRequest(1920, 1080, fill=True))
    assert geometry.visible_fractions == (1, Fraction(3, 4))
    assert geometry.factor == 3
    geometry = geometry_for_size(480, 640, SQUARE, SizeRequest(1920, 1920, fill=True))
    assert geometry.visible_fractions == (1, Fraction(3, 4))
    geometry = geometry_for_size(640, 480, SQUARE, SizeRequest(960, 960, fill=True))
    assert geometry.visible_fractions == (Fraction(3, 4), 1)


def test_factors() -> None:
    assert size(geometry_for_scale(64, 48, PAL_WIDE, Fraction(5, 2))) == (160, 120, PAL_WIDE)
    assert size(geometry_for_scale(65, 49, SQUARE, Fraction(3))) == (195, 147, SQUARE)
    assert size(geometry_for_scale(1, 1, SQUARE, Fraction(MAX_SCALE))) == (16, 16, SQUARE)
    assert size(geometry_for_scale(65, 49, SQUARE, Fraction(1))) == (65, 49, SQUARE)
    for scale in (Fraction(1, 2), Fraction(0), Fraction(-2)):
        with pytest.raises(UsageError, match=r"at least 1.*ffmpeg"):
            geometry_for_scale(64, 48, SQUARE, scale)
    with pytest.raises(UsageError, match="at most 16"):
        geometry_for_scale(64, 48, SQUARE, MAX_SCALE + Fraction(1, 100))


@pytest.mark.parametrize(
    ("source", "requested", "message"),
    [
        ((1920, 1080, SQUARE), SizeRequest(height=720), r"--height 720: .* 1920x1080, .* smaller.*ffmpeg"),
        ((1920, 1080, SQUARE), SizeRequest(height=1080), r"is its size already"),
        ((1920, 1080, SQUARE), SizeRequest(1920, 1080), r"--size 1920x1080: .*is its size already"),
        ((1920, 1080, SQUARE), SizeRequest(3840, 1080), r"is its size already"),  # fitted: 1920x1080
        ((640, 360, SQUARE), SizeRequest(width=320), r"--width 320.*scale=320:180"),
        (
            (720, 480, Fraction(8, 9)),
            SizeRequest(700, 525),
            r"pixels of 8:9.*smaller",
        ),  # narrower, though higher
        ((640, 480, SQUARE), SizeRequest(320, 200, fill=True), r"--size 320x200 --fill.*smaller"),
        (
            (64, 48, SQUARE),
            SizeRequest(*NAMED_SIZES["4k"]),
            r"45 times the source's 64x48; 16 times is the most",
        ),
        ((1, 1, SQUARE), SizeRequest(height=1080), r"1080 times"),
        ((64, 48, SQUARE), SizeRequest(999999, 999999), r"times the source's"),
    ],
)
def test_refused(source: SourceSize, requested: SizeRequest, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        geometry_for_size(*source, requested)


def test_impossible_requests() -> None:
    for invalid in (
        SizeRequest,
        lambda: SizeRequest(width=0),
        lambda: SizeRequest(height=-1),
        lambda: SizeRequest(None, 9, fill=True),
    ):
        with pytest.raises(UsageError):
            invalid()


def test_named_sizes_have_the_sides_of_their_names() -> None:
    for name, (width, height) in NAMED_SIZES.items():
        assert width % 2 == height % 2 == 0
        assert abs(Fraction(width, height) - Fraction(16, 9)) < Fraction(1, 400)
        assert not name.endswith("p") or name == f"{height}p"
