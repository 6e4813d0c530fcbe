"""Figures over time as inline SVG with HTML around it; no script is needed to see them, nor any inline style.

The drawing is stretched to the width that there is (lines keep theirs); words stand beside it as HTML, so
that they stay readable on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

import numpy as np

from vsrcli.compare.figures import Metric, ScoreSeries

WIDTH, HEIGHT = 1000, 200  # of the drawing's own units
COLOURS = 6  # in page.css; further films have other dashes
_POINTS = 1000  # more frames than this come in groups
_TICKS = 5


@dataclass(frozen=True)
class BinnedSeries:
    """Frames, one by one or so many together that there are about ``_POINTS``.

    Attributes:
        size: frames of a group.
        first: number of each group's first frame.
        x: where its middle lies, 0 to ``WIDTH``.
        mean, low: by metric's key, for each film, for each group.
    """

    size: int
    first: tuple[int, ...]
    x: tuple[float, ...]
    mean: dict[str, list[list[float]]]
    low: dict[str, list[list[float]]]


def bin_series(figures: ScoreSeries) -> BinnedSeries:
    """Means and lowest figures of groups of frames."""
    count = len(figures.times)
    size = math.ceil(count / _POINTS)
    first = tuple(range(0, count, size))
    times = np.array([float(time) for time in figures.times])
    span = max(times[-1] - times[0], 1e-9)
    middle = [times[at : at + size].mean() for at in first]
    mean: dict[str, list[list[float]]] = {}
    low: dict[str, list[list[float]]] = {}
    for metric in figures.metrics:
        cut = [[np.array(values[at : at + size]) for at in first] for values in figures.values[metric.key]]
        mean[metric.key] = [[round(float(part.mean()), 5) for part in parts] for parts in cut]
        low[metric.key] = [[round(float(part.min()), 5) for part in parts] for parts in cut]
    x = tuple(round(float((time - times[0]) / span * WIDTH), 2) for time in middle)
    return BinnedSeries(size, first, x, mean, low)


def plot(
    metric: Metric,
    figures: ScoreSeries,
    groups: BinnedSeries,
    names: Sequence[str],
    marks: Sequence[Fraction],
) -> str:
    """One metric of all films.

    Args:
        metric: which.
        figures: what was measured.
        groups: of the same.
        names: of the films.
        marks: times of the moments that the page shows.

    Returns:
        A ``figure`` element.
    """
    mean, low = groups.mean[metric.key], groups.low[metric.key]
    ticks = nice_ticks(min(map(min, low)), max(map(max, mean)))
    bottom, top = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return round(HEIGHT * (top - value) / (top - bottom), 2)

    lines = [
        f'<path class="grid" d="M0 {y(tick):g}H{WIDTH}"/>' for tick in ticks
    ]  # fmt: skip
    begin, end = float(figures.times[0]), float(figures.times[-1])
    for time in marks:
        x = round(WIDTH * (float(time) - begin) / max(end - begin, 1e-9), 2)
        lines.append(f'<path class="mark" d="M{x:g} {HEIGHT}V{HEIGHT - 12}"/>')
    for number, values in enumerate(mean):
        if groups.size > 1:
            up = [f"{x:g} {y(value):g}" for x, value in zip(groups.x, values, strict=True)]
            down = [f"{x:g} {y(value):g}" for x, value in zip(groups.x, low[number], strict=True)]
            lines.append(f'<path class="band {series(number)}" d="M{"L".join([*up, *reversed(down)])}Z"/>')
        points = [f"{x:g} {y(value):g}" for x, value in zip(groups.x, values, strict=True)]
        if len(points) == 1:
            points = [f"0 {y(values[0]):g}", f"{WIDTH} {y(values[0]):g}"]
        lines.append(f'<path class="series {series(number)}" d="M{"L".join(points)}"/>')
    unit = f", {metric.unit}" if metric.unit else ""
    said = "; ".join(
        f"{name}: mean {figures.mean(metric, number):.{metric.digits}f}" for number, name in enumerate(names)
    )
    digits = max(0, min(metric.digits, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)))
    labels = "".join(f"<span>{tick:.{digits}f}</span>" for tick in reversed(ticks))
    times = "".join(
        f"<span>{format_timestamp(begin + (end - begin) * part / 4, end - begin)}</span>" for part in range(5)
    )
    return (
        f'<figure class="plot" data-metric="{metric.key}">'
        f'<figcaption><b>{escape(metric.name + unit)}</b> <output aria-live="off"></output></figcaption>'
        f'<div class="y" aria-hidden="true">{labels}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" tabindex="0" role="slider" '
        f'aria-label="{escape(f"{metric.name} over time; {said}. Arrow keys go from frame to frame")}" '
        f'aria-valuemin="0" aria-valuemax="{len(groups.x) - 1}" aria-valuenow="0">'
        f'{"".join(lines)}<path class="cursor" d="M-9 0V{HEIGHT}"/></svg>'
        f'<div class="x" aria-hidden="true">{times}</div></figure>'
    )


def series(number: int) -> str:
    """CSS classes of a film's line."""
    return f"c{number % COLOURS}" + (f" d{number // COLOURS % 3}" if number >= COLOURS else "")


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances around a range, four to seven of them."""
    if high - low < 1e-6:
        low, high = low - 0.5e-3, high + 0.5e-3
    rough = (high - low) / (_TICKS - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def format_timestamp(seconds: float, span: float = 0) -> str:
    """``1:02:03`` or ``2:03.400``; with the less digits the longer the ``span``."""
    digits = 3 if span < 10 else 1 if span < 100 else 0
    whole = round(seconds * 10**digits)
    minutes, rest = divmod(whole, 60 * 10**digits)
    shown = f"{rest / 10**digits:0{digits + 3 if digits else 2}.{digits}f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{shown}" if hours else f"{minutes}:{shown}"
