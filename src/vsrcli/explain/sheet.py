"""Draw everything that was found as one picture, for people who pass it on or print it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vsrcli.compare.canvas import pick_font
from vsrcli.evaluate.crops import BACKGROUND, FOREGROUND, enlarge
from vsrcli.explain import figures
from vsrcli.explain.analysis import Explanation, PixelView
from vsrcli.explain.attribution import Influence
from vsrcli.explain.texts import bar_charts, caption, headline, memory_text, pixel_title, sum_text

_WIDTH, _MARGIN, _GAP, _COLUMNS = 1520, 28, 16, 4
_PANEL = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
_MUTED, _LINE, _ACCENT = (160, 166, 176), (60, 65, 74), (108, 171, 255)
_MAX_HEIGHT = 20_000


class _Canvas:
    """A picture that is filled from top to bottom."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (_WIDTH, _MAX_HEIGHT), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)
        self.top = _MARGIN

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int = 15,
        color: tuple[int, int, int] = FOREGROUND,
        anchor: str = "la",
    ) -> None:
        drawable, font = pick_font(text, size)
        self.draw.text((x, y), drawable, fill=color, font=font, anchor=anchor)

    def paragraph(self, x: float, y: float, text: str, width: float, size: int = 14) -> float:
        """Draw muted text in lines of at most ``width`` pixels; return where it ends."""
        _, font = pick_font(text, size)
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) > width and line:
                self.text(x, y, line, size, _MUTED)
                y, line = y + size * 1.4, word
            else:
                line = longer
        self.text(x, y, line, size, _MUTED)
        return y + size * 1.4

    def heading(self, text: str) -> None:
        self.top += 14
        self.text(_MARGIN, self.top, text, 21)
        self.top += 34

    def panels(self, panels: Sequence[tuple[str, np.ndarray]]) -> None:
        """Draw a row of images with captions above them, scaled to the width of a column."""
        tallest = self.top
        for number, (label, _) in enumerate(panels):
            left = _MARGIN + number * (_PANEL + _GAP)
            end = self.paragraph(left, self.top, label, _PANEL)
            tallest = max(tallest, end)
        bottom = tallest
        for number, (_, image) in enumerate(panels):
            left = _MARGIN + number * (_PANEL + _GAP)
            fitted = fit(image, _PANEL, 2 * _PANEL)
            self.image.paste(fitted, (left, round(tallest) + 4))
            bottom = max(bottom, tallest + 4 + fitted.height)
        self.top = round(bottom) + _GAP


def fit(image: np.ndarray, width: int, height: int) -> Image.Image:
    """Return an image of at most this size: enlarged by whole factors with sharp pixels, else reduced."""
    factor = min(width / image.shape[1], height / image.shape[0])
    if factor >= 2:
        image = enlarge(image, int(factor))
        factor = min(width / image.shape[1], height / image.shape[0])
    picture = Image.fromarray(np.ascontiguousarray(image))
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return picture.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def draw_sheet(found: Explanation) -> np.ndarray:
    """Return the picture, uint8 (rows, columns, 3)."""
    canvas = _Canvas()
    title, subtitle = headline(found)
    canvas.text(_MARGIN, canvas.top, title, 28)
    canvas.top += 42
    canvas.top = round(canvas.paragraph(_MARGIN, canvas.top, subtitle, _WIDTH - 2 * _MARGIN))
    for note in found.notes:
        canvas.top = round(canvas.paragraph(_MARGIN, canvas.top, f"Note: {note}.", _WIDTH - 2 * _MARGIN))
    gain = figures.residual_gain(found.residual)
    zoom = max(1, 960 // found.region.width)
    marked = figures.mark_pixels(
        figures.picture(found.frame), [view.pixel for view in found.views], found.region, zoom
    )
    canvas.heading("The picture and what it is made of")
    canvas.panels(
        [
            ("The frame, and the pixels looked at", marked),
            (caption(found, "base"), figures.picture(found.base)),
            (
                f"{caption(found, 'residual')}, x{gain} around grey",
                figures.residual_picture(found.residual, gain),
            ),
            (sum_text(found), figures.picture(found.sum)),
        ]
    )
    if found.shapes is not None:
        _draw_maps(canvas, found)
    canvas.heading("Pixels")
    for first in range(0, len(found.views), _COLUMNS):
        _draw_pixels(canvas, found, first)
    if found.activations:
        canvas.heading("Layers: the channels that vary most, each from its lowest to its highest value")
        for name, array in found.activations.items():
            canvas.top = round(
                canvas.paragraph(
                    _MARGIN, canvas.top, f"{name}, {array.shape[2]} channels", _WIDTH - 2 * _MARGIN
                )
            )
            strip = fit(figures.mosaic(array, 8, 1), _WIDTH - 2 * _MARGIN, 400)
            canvas.image.paste(strip, (_MARGIN, canvas.top + 4))
            canvas.top += strip.height + _GAP
    return np.asarray(canvas.image)[: canvas.top + _MARGIN - _GAP]


def _draw_maps(canvas: _Canvas, found: Explanation) -> None:
    shapes = found.shapes
    assert shapes is not None
    canvas.heading("The filters over the frame")
    top = canvas.top
    canvas.panels(
        [
            (caption(found, "spread"), figures.spread_map(shapes)),
            (caption(found, "axis"), figures.axis_map(shapes)),
            (caption(found, "shift"), figures.shift_map(shapes)),
        ]
    )
    left, side = _MARGIN + 3 * (_PANEL + _GAP), 104
    bar = figures.heat(np.linspace(0, 1, 240)[None].repeat(14, axis=0), 1.0)
    low, high = figures.spread_limits(shapes)
    canvas.text(left, top, "Spread", 14, _MUTED)
    canvas.image.paste(Image.fromarray(bar), (left, top + 22))
    canvas.text(left, top + 40, f"{low:.2f}", 13, _MUTED)
    canvas.text(left + 240, top + 40, f"{high:.2f} source pixels", 13, _MUTED, "ra")
    for number, (text, axes) in enumerate((("Axis", True), ("Shift", False))):
        x = left + number * (side + 40)
        legend = Image.fromarray(figures.wheel(side, axes=axes), "RGBA")
        canvas.image.paste(legend, (x, top + 88), legend)
        canvas.text(x, top + 66, text, 14, _MUTED)
    canvas.top = max(canvas.top, top + 88 + side + _GAP)


def _draw_pixels(canvas: _Canvas, found: Explanation, first: int) -> None:
    views = found.views[first : first + _COLUMNS]
    top, bottom = canvas.top, canvas.top
    for number, view in enumerate(views):
        left = _MARGIN + number * (_PANEL + _GAP)
        bottom = max(bottom, _draw_pixel(canvas, found, first + number, view, left, top))
    canvas.top = bottom + _GAP


def _draw_pixel(
    canvas: _Canvas, found: Explanation, number: int, view: PixelView, left: int, top: int
) -> int:
    """Draw one pixel as a column; return where it ends."""
    color = figures.mark_color(number)
    canvas.draw.rectangle((left, top + 3, left + 12, top + 15), fill=color)
    canvas.text(left + 20, top, pixel_title(number, view), 16)
    y = top + 28
    half = (_PANEL - 12) // 2
    influence = view.influence
    canvas.text(left, y, "source, 9x9", 13, _MUTED)
    way = "by gradient" if influence.by_gradient else "by occlusion"
    canvas.text(left + half + 12, y, f"influence, {way}", 13, _MUTED)
    y += 20
    patch = fit(figures.picture(view.patch), half, half)
    canvas.image.paste(patch, (left, y))
    around = fit(figures.influence_map(influence.around), half, half)
    canvas.image.paste(around, (left + half + 12, y))
    y += max(patch.height, around.height) + 10
    if view.filters is not None:
        scale = found.examined.scale
        text = f"filters of its {scale}x{scale} pixels; brightest: {view.filters.max():.2f}"
        canvas.text(left, y, text, 13, _MUTED)
        cell = max(2, _PANEL // (scale * 6))
        grid = fit(figures.filter_grid(view.filters, cell), _PANEL, _PANEL)
        canvas.image.paste(grid, (left, y + 20))
        y += 20 + grid.height + 12
    for title, values, labels, heights in bar_charts(influence):
        y = _draw_bars(canvas, left, y, title, values, labels, heights)
    if influence.memory:
        y = _draw_memory(canvas, left, y, influence, found.examined.levels)
    return y


def _draw_bars(
    canvas: _Canvas,
    left: int,
    top: int,
    title: str,
    values: Sequence[str],
    labels: Sequence[str],
    heights: Sequence[float],
) -> int:
    canvas.text(left, top, title, 13, _MUTED)
    top, full = top + 36, 62
    step = _PANEL / max(len(labels), 1)
    for number, (value, label, height) in enumerate(zip(values, labels, heights, strict=True)):
        x = left + number * step
        y = top + full - max(height * full, 1)
        canvas.draw.rectangle((x + 5, y, x + step - 5, top + full), fill=_ACCENT)
        canvas.text(x + step / 2, y - 3, value, 12, FOREGROUND, "mb")
        canvas.text(x + step / 2, top + full + 4, label, 12, _MUTED, "ma")
    return top + full + 26


def _draw_memory(canvas: _Canvas, left: int, top: int, influence: Influence, levels: int) -> int:
    top = round(canvas.paragraph(left, top, memory_text(influence, levels), _PANEL, 13)) + 6
    full, width = 80, _PANEL - 8
    points: list[Any] = []
    for number, value in enumerate(influence.memory):
        x = left + 4 + number * width / max(len(influence.memory) - 1, 1)
        points.append((x, top + full * (1 - figures.log_height(value))))
    for value in (0.01, 0.1, 1.0, 10.0):
        y = top + full * (1 - figures.log_height(value))
        canvas.draw.line((left, y, left + _PANEL, y), fill=_LINE)
        canvas.text(left + _PANEL, y - 1, f"{value:g}", 11, _MUTED, "rb")
    if len(points) > 1:
        canvas.draw.line(points, fill=_ACCENT, width=2, joint="curve")
    for number, (x, y) in enumerate(points, 1):
        inside = number <= levels
        canvas.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_ACCENT if inside else FOREGROUND)
        if figures.is_labelled(number, len(points)):
            canvas.text(x, top + full + 6, f"-{number}", 11, _MUTED, "ma")
    return top + full + 28
