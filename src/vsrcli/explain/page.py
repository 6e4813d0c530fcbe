"""Write what was found as one self-contained page, which needs no script and fetches nothing.

It looks like the page of a comparison (``page.css`` of :mod:`vsrcli.compare`); its own security policy (CSP)
allows this style alone. Charts are inline SVG, so that they follow the reader's light or dark theme.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from string import Template
from typing import Any

import numpy as np
from PIL import Image, features

from vsrcli._version import __version__
from vsrcli.compare.page_parts import csp_hash, data_uri, read_resource
from vsrcli.explain import figures
from vsrcli.explain.analysis import Explanation, PixelView
from vsrcli.explain.attribution import REGION, Influence
from vsrcli.explain.texts import bar_charts, caption, headline, memory_text, pixel_title, sum_text

_CHART_WIDTH, _BAR_HEIGHT, _CURVE_HEIGHT = 300, 56, 90
_CELL = 8  # pixels of a filter's tap
_LOSSLESS_PIXELS = 40_000  # larger images are lossy
_PICTURE_WIDTH = 960  # up to which the source's pixels are repeated


def render_page(found: Explanation) -> str:
    """Return the text of the page."""
    style = read_resource("page.css") + read_resource("explain.css", "vsrcli.explain")
    title, summary = headline(found)
    side, scale = 2 * REGION + 1, found.examined.scale
    return Template(read_resource("explain.html", "vsrcli.explain")).substitute(
        title=escape(title),
        summary=escape(summary),
        style=style,
        style_hash=csp_hash(style),
        notes="".join(f"<li>{escape(note[0].upper() + note[1:])}.</li>" for note in found.notes),
        pictures=_pictures(found),
        maps=_maps(found),
        region=f"{side}x{side} source pixels ({side * scale}x{side * scale} of the result)",
        pixels="".join(_pixel(found, number, view) for number, view in enumerate(found.views)),
        layers=_layers(found),
        version=escape(__version__),
    )


def _pictures(found: Explanation) -> str:
    zoom = max(1, _PICTURE_WIDTH // found.region.width)
    gain = figures.residual_gain(found.residual)
    pixels = [view.pixel for view in found.views]
    marked = figures.mark_pixels(figures.picture(found.frame), pixels, found.region, zoom)
    residual = f"{caption(found, 'residual')}, ×{gain} around grey"
    return (
        _figure("The frame, and the pixels looked at", marked, "squares")
        + _figure(caption(found, "base"), figures.picture(found.base))
        + _figure(residual, figures.residual_picture(found.residual, gain))
        + _figure(sum_text(found), figures.picture(found.sum))
    )


def _maps(found: Explanation) -> str:
    shapes = found.shapes
    if shapes is None:
        return ""
    low, high = figures.spread_limits(shapes)
    bar = figures.heat(np.linspace(0, 1, 240)[None].repeat(14, axis=0), 1.0)
    wheels = "".join(
        f"<figure>{_image(figures.wheel(96, axes=axes), text)}<figcaption>{text}</figcaption></figure>"
        for text, axes in (("Axis: hue is the angle", True), ("Shift: hue is the direction", False))
    )
    return (
        '<section aria-labelledby="maps-head"><h2 id="maps-head">The filters over the frame</h2>'
        f'<div class="panels">{_figure(caption(found, "spread"), figures.spread_map(shapes))}'
        f"{_figure(caption(found, 'axis'), figures.axis_map(shapes))}"
        f'{_figure(caption(found, "shift"), figures.shift_map(shapes))}</div><div class="legends">'
        f'<figure>{_image(bar, "from narrow to wide")}<div class="ends"><span>{low:.2f}</span>'
        f"<span>{high:.2f} source pixels</span></div><figcaption>Spread</figcaption></figure>"
        f"{wheels}</div></section>"
    )


def _pixel(found: Explanation, number: int, view: PixelView) -> str:
    influence, scale = view.influence, found.examined.scale
    color = "#{:02x}{:02x}{:02x}".format(*figures.mark_color(number))
    way = "gradient" if influence.by_gradient else "occlusion"
    around = influence.around_crop
    parts = [
        f'<article class="pixel"><h3><svg class="key" viewBox="0 0 2 2" aria-hidden="true"><rect width="2" '
        f'height="2" fill="{color}"/></svg>{escape(pixel_title(number, view))}</h3>',
        f'<div class="pair"><figure>{_image(figures.picture(view.patch), "the source around it", "squares")}'
        f"<figcaption>Source, {view.patch.shape[1]}x{view.patch.shape[0]}</figcaption></figure><figure>"
        f"{_image(figures.influence_map(influence.around), 'influence around it', 'squares')}"
        f"<figcaption>Influence by {way}, {around.width}x{around.height} from {around.left},{around.top}"
        "</figcaption></figure></div>",
    ]
    if view.filters is not None:
        label = f"Filters of its {scale}x{scale} pixels of the result; brightest: {view.filters.max():.2f}"
        grid = _image(figures.filter_grid(view.filters, _CELL), label, "squares")
        parts.append(f'<div class="filters"><figure>{grid}<figcaption>{label}</figcaption></figure></div>')
    for title, values, labels, heights in bar_charts(influence):
        parts.append(f"<h4>{escape(title)}</h4>{_bars(title, values, labels, heights)}")
    if influence.memory:
        text = memory_text(influence, found.examined.levels)
        parts.append(f"<h4>{escape(text)}</h4>{memory_curve(influence, found.examined.levels, text)}")
    return "".join([*parts, "</article>"])


def _layers(found: Explanation) -> str:
    if not found.layers:
        return ""
    shown = "".join(
        f"<h3>{escape(name)}, {array.shape[2]} channels</h3>"
        f'<div class="panels layers"><figure>'
        f"{_image(_strip(array), f'channels of {name}')}</figure></div>"
        for name, array in found.activations.items()
    )
    return (
        '<section aria-labelledby="layers-head"><h2 id="layers-head">Layers</h2><p>The channels that vary '
        f"most, each from its lowest to its highest value.</p>{shown}"
        f'<p class="names">All layers, for <code>--layer</code>: {escape(", ".join(found.layers))}</p>'
        "</section>"
    )


def _strip(array: np.ndarray) -> np.ndarray:
    """Return a mosaic of channels, at most 1600 pixels wide."""
    mosaic = figures.mosaic(array, 6, 2)
    width = min(mosaic.shape[1], 1600)
    size = width, max(1, round(mosaic.shape[0] * width / mosaic.shape[1]))
    return np.asarray(Image.fromarray(mosaic).resize(size, Image.Resampling.LANCZOS))


def _bars(title: str, values: Sequence[str], labels: Sequence[str], heights: Sequence[float]) -> str:
    step, base = _CHART_WIDTH / len(labels), _BAR_HEIGHT + 16
    parts = []
    for number, (value, label, height) in enumerate(zip(values, labels, heights, strict=True)):
        x, tall = number * step, max(height * _BAR_HEIGHT, 1)
        parts.append(
            f'<rect x="{x + 4:.1f}" y="{base - tall:.1f}" width="{step - 8:.1f}" height="{tall:.1f}" rx="2"/>'
            f'<text x="{x + step / 2:.1f}" y="{base - tall - 4:.1f}">{escape(value)}</text>'
            f'<text class="label" x="{x + step / 2:.1f}" y="{base + 13}">{escape(label)}</text>'
        )
    listed = ", ".join(f"{label}: {value}" for label, value in zip(labels, values, strict=True))
    return (
        f'<svg class="bars" viewBox="0 0 {_CHART_WIDTH} {base + 18}" role="img" '
        f'aria-label="{escape(f"{title}; {listed}")}">{"".join(parts)}</svg>'
    )


def memory_curve(influence: Influence, levels: int, text: str) -> str:
    """Return an ``svg`` element: how much each earlier frame matters; ``text`` is its heading."""
    values = influence.memory
    step = (_CHART_WIDTH - 40) / max(len(values) - 1, 1)
    points = [
        (8 + number * step, 8 + _CURVE_HEIGHT * (1 - figures.log_height(value)))
        for number, value in enumerate(values)
    ]
    parts = []
    for tick in (0.01, 0.1, 1, 10):
        y = 8 + _CURVE_HEIGHT * (1 - figures.log_height(tick))
        parts.append(f'<path class="grid" d="M0 {y:.1f}H{_CHART_WIDTH - 26}"/>')
        parts.append(f'<text class="tick" x="{_CHART_WIDTH}" y="{y + 4:.1f}">{tick:g}</text>')
    parts.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>')
    for number, (x, y) in enumerate(points, 1):
        beyond = "" if number <= levels else ' class="beyond"'
        parts.append(f'<circle{beyond} cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
        if figures.is_labelled(number, len(points)):
            parts.append(f'<text class="label" x="{x:.1f}" y="{_CURVE_HEIGHT + 24}">-{number}</text>')
    listed = ", ".join(f"-{k}: {figures.format_change(value)}" for k, value in enumerate(values, 1))
    return (
        f'<svg class="bars" viewBox="0 0 {_CHART_WIDTH} {_CURVE_HEIGHT + 30}" role="img" '
        f'aria-label="{escape(f"{text}; {listed}")}">{"".join(parts)}</svg>'
    )


def _figure(text: str, image: np.ndarray, classes: str = "") -> str:
    return f"<figure><figcaption>{escape(text)}</figcaption>{_image(image, text, classes)}</figure>"


def _image(image: np.ndarray, alt: str, classes: str = "") -> str:
    """Return an ``img`` element: lossless if it is small or made of squares."""
    height, width = image.shape[:2]
    content, kind = io.BytesIO(), "png"
    if height * width > _LOSSLESS_PIXELS and "squares" not in classes:
        kind = "webp" if features.check("webp") else "jpeg"
    options: dict[str, Any] = {"optimize": True} if kind == "png" else {"quality": 92}
    Image.fromarray(np.ascontiguousarray(image)).save(content, format=kind, **options)
    uri = data_uri(content.getvalue(), kind)
    named = f' class="{classes}"' if classes else ""
    return f'<img src="{uri}" width="{width}" height="{height}" alt="{escape(alt)}"{named}>'
