"""A comparison as one HTML file: everything is inside, nothing is fetched, and nothing in it could be.

``page.html``, ``page.css`` and ``page.js`` lie beside this module. The page's own policy lets only this
script and this style run, by their hashes, so that no name of a film can become part of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from vsrcli import __version__
from vsrcli.compare.figures import PROTOCOL, VMAF_PROTOCOL, ScoreSeries
from vsrcli.compare.inputs import ComparedVideo, Comparison
from vsrcli.compare.plot import bin_series, format_timestamp, plot, series
from vsrcli.compare.snapshots import SnapshotSet
from vsrcli.compare.target import atomic_output
from vsrcli.evaluate.crops import DetailCrop


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
        ""
        if length is None
        else f", {length:.4g} s"
        if length < 60
        else f", {format_timestamp(length, length)}"
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
        f'<img alt=""><span>{format_timestamp(float(shot.time), span)}'
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
                "time": format_timestamp(float(shot.time)),
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
        "times": [format_timestamp(float(figures.times[number])) for number in groups.first],
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
            "" if film.end is None else format_timestamp(float(film.end)),
            f"{source.size / 1e6:,.2f} MB",
        )
        head = f'<th scope="row">{escape(_called(line, film))}</th>'
        rows.append(f"<tr>{head}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "".join(rows)
