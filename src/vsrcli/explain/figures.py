"""Panels of the picture and the page: what was found, as images and as heights of bars. No text in them."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np

from vsrcli.evaluate.crops import DetailCrop, enlarge
from vsrcli.explain.filters import FilterShapes
from vsrcli.explain.pixels import Pixel
from vsrcli.models.costs import TAPS

MAX_SHIFT = 0.5  # source pixels that have full saturation in a map of shifts
_MAX_LABELS = 12  # of a curve
MARK_COLORS = (
    (255, 122, 69),
    (96, 165, 255),
    (74, 222, 157),
    (247, 214, 72),
    (236, 130, 236),
    (255, 255, 255),
)
_EMPTY = (24, 26, 30)
# Dark to bright through violet and orange; equal steps of lightness, so that it also reads without colour.
_HEAT = np.array(
    [
        *((4, 4, 18), (43, 17, 88), (101, 26, 128), (163, 44, 122)),
        *((222, 73, 104), (250, 128, 95), (254, 191, 132), (252, 246, 196)),
    ],
    np.float32,
)


def picture(image: np.ndarray) -> np.ndarray:
    """Return an image in [0, 1] as uint8."""
    return np.rint(255 * image.clip(0.0, 1.0)).astype(np.uint8)


def heat(values: np.ndarray, highest: float) -> np.ndarray:
    """Return values from 0 to ``highest`` as colours, uint8 (..., 3)."""
    position = (values / max(highest, 1e-12)).clip(0.0, 1.0) * (len(_HEAT) - 1)
    below = np.minimum(position.astype(int), len(_HEAT) - 2)
    part = (position - below)[..., None]
    return np.rint(_HEAT[below] * (1 - part) + _HEAT[below + 1] * part).astype(np.uint8)


def residual_gain(residual: np.ndarray) -> int:
    """Return by how much a residual is multiplied to be seen: a power of two."""
    strong = float(np.percentile(np.abs(residual), 99.5))
    return 2 ** int(np.clip(math.floor(math.log2(0.5 / max(strong, 1e-6))), 0, 6))


def residual_picture(residual: np.ndarray, gain: int) -> np.ndarray:
    """Return a residual around middle grey."""
    return picture(0.5 + gain * residual)


def spread_limits(shapes: FilterShapes) -> tuple[float, float]:
    """Return the spreads that are shown darkest and brightest."""
    low, high = np.percentile(shapes.spread, (0.5, 99.5))
    return float(low), float(high)


def spread_map(shapes: FilterShapes) -> np.ndarray:
    """Return how wide filters are, as colours."""
    low, high = spread_limits(shapes)
    return heat(shapes.spread - low, high - low)


def axis_map(shapes: FilterShapes) -> np.ndarray:
    """Return directions of the filters' longer axes: hue is the angle, saturation how long."""
    return _wheel_colors(shapes.angle / np.pi, shapes.elongation / max(elongation_limit(shapes), 1e-6))


def elongation_limit(shapes: FilterShapes) -> float:
    """Return the elongation that has full saturation."""
    return float(np.percentile(shapes.elongation, 98))


def shift_map(shapes: FilterShapes) -> np.ndarray:
    """Return where filters reach: hue is the direction, saturation how far."""
    length = np.hypot(shapes.shift_x, shapes.shift_y)
    direction = np.arctan2(shapes.shift_y, shapes.shift_x) / (2 * np.pi) % 1.0
    return _wheel_colors(direction, length / MAX_SHIFT)


def wheel(side: int, *, axes: bool) -> np.ndarray:
    """Return the legend of a map: the colour of every direction from the middle, uint8 RGBA (side, side, 4).

    Args:
        side: in pixels.
        axes: of :func:`axis_map`, in which opposite directions are one; else of :func:`shift_map`.
    """
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side] - middle
    radius, angle = np.hypot(x, y) / middle, np.arctan2(y, x)
    hue = angle / np.pi % 1.0 if axes else angle / (2 * np.pi) % 1.0
    opacity = (255 * ((1 - radius) * middle).clip(0, 1)).astype(np.uint8)
    return np.dstack([_wheel_colors(hue, radius), opacity])


def filter_grid(filters: np.ndarray, cell: int) -> np.ndarray:
    """Return the filters of one pixel, ``(25, s*s)``, in their places in the result.

    Args:
        filters: weights that sum up to 1 for each.
        cell: side of a tap, in pixels of the image.
    """
    scale, gap = round(filters.shape[1] ** 0.5), max(cell // 2, 2)
    colors = heat(filters.T.reshape(scale, scale, TAPS, TAPS), float(filters.max()))
    side = TAPS * cell
    grid = np.full((scale * (side + gap) - gap, scale * (side + gap) - gap, 3), _EMPTY, np.uint8)
    for row in range(scale):
        for column in range(scale):
            top, left = row * (side + gap), column * (side + gap)
            grid[top : top + side, left : left + side] = enlarge(colors[row, column], cell)
    return grid


def influence_map(around: np.ndarray) -> np.ndarray:
    """Return influence in [0, 1] as colours; the square root, so that little of it is seen, too."""
    return heat(np.sqrt(around), 1.0)


def mosaic(activations: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Return the channels that vary most, each from its lowest to its highest value, in rows.

    Args:
        activations: (H, W, C).
        columns, rows: of the mosaic; fewer rows if there are fewer channels.
    """
    height, width = activations.shape[:2]
    chosen = np.sort(np.argsort(-activations.std(axis=(0, 1)))[: columns * rows])
    rows = -(-len(chosen) // columns) if len(chosen) else 1
    image = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 3), _EMPTY, np.uint8)
    for number, channel in enumerate(chosen):
        row, column = divmod(number, columns)
        values = activations[..., channel]
        low, high = np.percentile(values, (0.5, 99.5))
        top, left = row * (height + 2), column * (width + 2)
        image[top : top + height, left : left + width] = heat(values - low, float(high - low))
    return image


def mark_pixels(image: np.ndarray, pixels: Sequence[Pixel], region: DetailCrop, zoom: int) -> np.ndarray:
    """Return the region, pixels repeated ``zoom`` times, with a square around each of ``pixels``."""
    marked = enlarge(image, zoom)
    height, width = marked.shape[:2]
    for number, pixel in enumerate(pixels):
        x, y = zoom * (pixel.x - region.left), zoom * (pixel.y - region.top)
        thick = max(width // 240, 1)
        reach = 3 * zoom + thick
        edges = [(inset, (0, 0, 0)) for inset in range(thick)]
        for inset, color in edges + [(thick + inset, mark_color(number)) for inset in range(2 * thick)]:
            left, top = x - reach + inset, y - reach + inset
            right, bottom = x + zoom - 1 + reach - inset, y + zoom - 1 + reach - inset
            rows, columns = slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1)
            for line in (top, bottom):
                if 0 <= line < height:
                    marked[line, columns] = color
            for line in (left, right):
                if 0 <= line < width:
                    marked[rows, line] = color
    return marked


def mark_color(number: int) -> tuple[int, int, int]:
    """Return the colour of a pixel's mark."""
    return MARK_COLORS[number % len(MARK_COLORS)]


LEAST_CHANGE, MOST_CHANGE = 0.001, 255.0  # steps of 8 bits: ends of the logarithmic scale


def log_height(value: float) -> float:
    """Return the height of a change in 8-bit steps on a logarithmic scale, 0 to 1; 0 for NaN."""
    if not value > LEAST_CHANGE:
        return 0.0
    return min(math.log(value / LEAST_CHANGE) / math.log(MOST_CHANGE / LEAST_CHANGE), 1.0)


def is_labelled(number: int, count: int) -> bool:
    """Return whether a point of a curve, counted from 1, has a label: of many only some have room."""
    return (number - 1) % -(-count // _MAX_LABELS) == 0


def format_change(value: float) -> str:
    """Return a change in 8-bit steps with as many digits as it deserves; a dash for NaN."""
    if math.isnan(value):
        return "–"
    if value < LEAST_CHANGE:
        return "0" if not value else f"<{LEAST_CHANGE:g}"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.1g}"


def _wheel_colors(hue: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """Return colours, white where saturation is 0: uint8 (..., 3)."""
    table = np.array([colorsys.hsv_to_rgb(number / 360, 0.9, 0.9) for number in range(360)], np.float32)
    colors = table[(hue * 360).astype(int) % 360]
    part = saturation.clip(0.0, 1.0)[..., None]
    return np.rint(255 * (0.96 * (1 - part) + colors * part)).astype(np.uint8)
