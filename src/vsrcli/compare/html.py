"""A comparison as one HTML file: everything is inside, nothing is fetched, and nothing in it could be.

``page.html``, ``page.css`` and ``page.js`` lie beside this module. The page's own policy lets only this
script and this style run, by their hashes, so that no name of a film can become part of them.

Figures over time as inline SVG with HTML around it; no script is needed to see them, nor any inline style.

The drawing is stretched to the width that there is (lines keep theirs); words stand beside it as HTML, so
that they stay readable on a narrow screen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.compare.inputs import ComparedVideo, Comparison
from vsrcli.compare.scoring import PROTOCOL, VMAF_PROTOCOL, Metric, ScoreSeries
from vsrcli.compare.snapshots import SnapshotSet
from vsrcli.compare.writers import atomic_output
from vsrcli.evaluate.crops import DetailCrop
from vsrcli.system.text import format_timestamp

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
        f"<span>{_time_label(begin + (end - begin) * part / 4, end - begin)}</span>" for part in range(5)
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


def _time_label(seconds: float, span: float = 0) -> str:
    """``1:02:03`` or ``2:03.400``; with the fewer digits the longer the ``span`` in seconds."""
    return format_timestamp(seconds, digits=3 if span < 10 else 1 if span < 100 else 0)


def write_page(
    line: Comparison,
    album: SnapshotSet,
    target: Path,
    *,
    crop: DetailCrop | None = None,
    overwrite: bool = False,
) -> int:
    """Write the page.

    Args:
        line: what is compared.
        album: from :func:`~vsrcli.compare.snapshots.collect_snapshots`.
        target: an ``.html``.
        crop: the detail to begin with; None: where there is most of it.
        overwrite: whether an existing target may be replaced.

    Returns:
        Its size in bytes.

    Raises:
        OutputError: it cannot be written.
    """
    content = render_page(line, album, crop).encode("utf-8")
    with atomic_output(target, overwrite=overwrite) as part:
        part.write_bytes(content)
    return len(content)


def render_page(line: Comparison, album: SnapshotSet, crop: DetailCrop | None = None) -> str:
    """The text of the page."""
    style, script = _file("page.css"), _file("page.js")
    *names, last = (film.label for film in line.films)
    titles = f"{', '.join(names)} and {last}"
    right = len(line.films) - 1
    return Template(_file("page.html")).substitute(
        title=escape(f"{titles}, compared"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        summary=escape(_summary(line, album)),
        left=_options(line, 0),
        right=_options(line, right),
        shots=_shots(line, album),
        data=_json(_data(line, album, crop)),
        figures=_figures(line, album),
        films=_films(line),
        notices="".join(f"<li>{escape(text)}</li>" for text in line.notices),
        coding=escape(album.coding),
        version=escape(__version__),
    )


def _file(name: str) -> str:
    return resources.files("vsrcli.compare").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """As Content-Security-Policy wants it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _summary(line: Comparison, album: SnapshotSet) -> str:
    length = None if line.end is None else float(line.end - line.start)
    span = (
        "" if length is None else f", {length:.4g} s" if length < 60 else f", {_time_label(length, length)}"
    )
    frames = "" if album.frames is None else f", {album.frames:,} frames"
    against = "" if line.reference is None else f", against {line.reference.label}"
    return f"{line.width}x{line.height}{frames}{span}{against}"


def _options(line: Comparison, chosen: int) -> str:
    return "".join(
        f'<option value="{number}"{" selected" * (number == chosen)}>{escape(_called(line, film))}</option>'
        for number, film in enumerate(line.all)
    )


def _called(line: Comparison, film: ComparedVideo) -> str:
    return f"reference: {film.title}" if film is line.reference else film.title


def _shots(line: Comparison, album: SnapshotSet) -> str:
    span = 0.0 if line.end is None else float(line.end - line.start)
    return "".join(
        f'<label><input type="radio" name="shot" value="{number}"{" checked" * (number == 0)}>'
        f'<img alt=""><span>{_time_label(float(shot.time), span)}'
        f"{'' if shot.number is None else f'<small>frame {shot.number}</small>'}"
        f"{f'<small>{escape(shot.note)}</small>' if shot.note else ''}</span></label>"
        for number, shot in enumerate(album.shots)
    )


def _data(line: Comparison, album: SnapshotSet, crop: DetailCrop | None) -> dict[str, Any]:
    """What the script works with."""
    shape = float(line.shape * line.width / line.height)
    figures = album.figures
    return {
        "width": line.width,
        "height": line.height,
        "aspect": round(shape, 6),
        "names": [_called(line, film) for film in line.all],
        "shots": [
            {
                "number": shot.number,
                "time": _time_label(float(shot.time)),
                "pictures": shot.pictures,
                "focus": _middle(crop or shot.crop),
            }
            for shot in album.shots
        ],
        "plots": None if figures is None else _plots(figures),
    }


def _middle(crop: DetailCrop) -> list[int]:
    return [crop.left + crop.width // 2, crop.top + crop.height // 2]


def _plots(figures: ScoreSeries) -> dict[str, Any]:
    groups = bin_series(figures)
    return {
        "size": groups.size,
        "first": groups.first,
        "x": groups.x,
        "times": [_time_label(float(figures.times[number])) for number in groups.first],
        "mean": groups.mean,
        "low": groups.low if groups.size > 1 else None,
        "digits": {metric.key: metric.digits for metric in figures.metrics},
    }


def _figures(line: Comparison, album: SnapshotSet) -> str:
    """The section with table and plots; a word on how to get them without a reference."""
    figures = album.figures
    if figures is None:
        return (
            "<p>No figures: they need a reference, the film as it ought to look. "
            "<code>vsr compare A B --reference TRUTH</code></p>"
        )
    names = [film.title for film in line.films]
    groups = bin_series(figures)
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 24 4" aria-hidden="true">'
        f'<path class="series {series(number)}" d="M0 2H24"/></svg>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    marks = [shot.time for shot in album.shots]
    plots = "".join(plot(metric, figures, groups, names, marks) for metric in figures.metrics)
    left_out = "" if figures.left_out is None else f"<p>VMAF is left out: {escape(figures.left_out)}.</p>"
    grouping = (
        ""
        if groups.size == 1
        else f"<p>Lines show means of {groups.size} frames each, bands reach down to the lowest of them.</p>"
    )
    protocol = PROTOCOL if figures.left_out else f"{PROTOCOL} {VMAF_PROTOCOL}"
    return (
        f'<div class="wide">{_table(line, figures)}</div><ul class="legend">{legend}</ul>{plots}'
        f"{grouping}{left_out}<p><small>{escape(protocol)}</small></p>"
    )


def _table(line: Comparison, figures: ScoreSeries) -> str:
    heads = "".join(
        f'<th scope="colgroup" colspan="2">{escape(metric.name)}'
        f"{f' <small>{metric.unit}</small>' if metric.unit else ''}</th>"
        for metric in figures.metrics
    )
    subs = '<th scope="col">mean</th><th scope="col">worst (frame)</th>' * len(figures.metrics)
    best = {
        metric.key: max(figures.mean(metric, number) for number in range(len(line.films)))
        for metric in figures.metrics
    }
    rows = []
    for number, film in enumerate(line.films):
        cells = []
        for metric in figures.metrics:
            mean, worst = figures.mean(metric, number), figures.worst(metric, number)
            shown = f"{mean:.{metric.digits}f}"
            lowest = f"{figures.values[metric.key][number][worst]:.{metric.digits}f}"
            first = f"<b>{shown}</b>" if mean == best[metric.key] else shown
            cells.append(f"<td>{first}</td><td>{lowest} <small>({worst})</small></td>")
        rows.append(f'<tr><th scope="row">{escape(film.title)}</th>{"".join(cells)}</tr>')
    reference = line.reference.label if line.reference else ""
    return (
        f"<table><caption>Against {escape(reference)}, {len(figures.times):,} frames; more is better"
        f'</caption><thead><tr><td rowspan="2"></td>{heads}</tr><tr>{subs}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _films(line: Comparison) -> str:
    rows = []
    for film in line.all:
        video, source = film.source.video, film.source
        rate = f"{float(video.frame_rate):.5g} fps" if video.frame_rate else ""
        cells = (
            f"{video.width}x{video.height}",
            f"{video.codec}, {video.pix_fmt}",
            rate,
            "" if film.end is None else _time_label(float(film.end)),
            f"{source.size_bytes / 1e6:,.2f} MB",
        )
        head = f'<th scope="row">{escape(_called(line, film))}</th>'
        rows.append(f"<tr>{head}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "".join(rows)
