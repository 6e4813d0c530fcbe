"""Write a comparison as one self-contained HTML file, which fetches nothing.

The templates are ``page.html``, ``page.css`` and ``page.js`` in this folder. The page's own security policy
(CSP) allows only this script and this style, by their hashes, so that the name of a video cannot become code.

Scores over time are inline SVG, visible without a script and without inline styles. The drawing is stretched
to the available width (line widths stay); its text is HTML around it, readable on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.compare.inputs import ComparedVideo, Comparison
from vsrcli.compare.page_parts import csp_hash, embed_json, read_resource
from vsrcli.compare.scoring import Metric, ScoreSeries
from vsrcli.compare.snapshots import SnapshotSet
from vsrcli.compare.writers import write_target
from vsrcli.evaluate.crops import DetailCrop
from vsrcli.system.text import format_timestamp

WIDTH, HEIGHT = 1000, 200  # of a plot, in its own units
COLOR_COUNT = 6  # in page.css; further videos differ by their dashes
_MAX_POINTS = 1000  # longer series are binned
_TARGET_TICKS = 5


def write_page(
    comparison: Comparison,
    snapshots: SnapshotSet,
    target: Path,
    *,
    crop: DetailCrop | None = None,
    overwrite: bool = False,
) -> int:
    """Write the page of a comparison.

    Args:
        snapshots: from :func:`~vsrcli.compare.snapshots.collect_snapshots`.
        target: an ``.html`` file.
        crop: the detail to show first; None: the crop with most detail.
        overwrite: whether an existing target may be replaced.

    Returns:
        The size of the page in bytes.

    Raises:
        OutputError: it cannot be written.
    """
    content = render_page(comparison, snapshots, crop).encode("utf-8")
    write_target(target, lambda file: file.write(content), overwrite=overwrite)
    return len(content)


def render_page(comparison: Comparison, snapshots: SnapshotSet, crop: DetailCrop | None = None) -> str:
    """Return the text of the page."""
    style, script = read_resource("page.css"), read_resource("page.js")
    *names, last = (video.label for video in comparison.videos)
    return Template(read_resource("page.html")).substitute(
        title=escape(f"{', '.join(names)} and {last}, compared"),
        style=style,
        style_hash=csp_hash(style),
        script=script,
        script_hash=csp_hash(script),
        summary=escape(_summary(comparison, snapshots)),
        left=_video_options(comparison, 0),
        right=_video_options(comparison, len(names)),
        snapshots=_snapshot_choices(comparison, snapshots),
        data=embed_json(_page_data(comparison, snapshots, crop)),
        metrics=_metrics_section(comparison, snapshots),
        videos=_video_rows(comparison),
        notices="".join(f"<li>{escape(text)}</li>" for text in comparison.notices),
        image_format=escape(snapshots.image_format),
        version=escape(__version__),
    )


@dataclass(frozen=True)
class BinnedSeries:
    """Scores in bins of equally many frames, at most ``_MAX_POINTS`` bins.

    Attributes:
        bin_size: frames per bin.
        first_frames: index of each bin's first frame.
        x: position of each bin's mean time, 0 to ``WIDTH``.
        mean, minimum: by the metric's key, for each video, for each bin.
    """

    bin_size: int
    first_frames: tuple[int, ...]
    x: tuple[float, ...]
    mean: dict[str, list[list[float]]]
    minimum: dict[str, list[list[float]]]


def bin_series(scores: ScoreSeries) -> BinnedSeries:
    """Bin scores: mean and minimum of each bin."""
    count = len(scores.times)
    size = math.ceil(count / _MAX_POINTS)
    first_frames = tuple(range(0, count, size))

    def reduce(values: Sequence[float], function: Callable[[np.ndarray], Any]) -> list[float]:
        return [float(function(np.array(values[first : first + size]))) for first in first_frames]

    mean, minimum = (
        {
            metric.key: [
                [round(value, 5) for value in reduce(each, function)] for each in scores.values[metric.key]
            ]
            for metric in scores.metrics
        }
        for function in (np.mean, np.min)
    )
    times = [float(time) for time in scores.times]
    span = max(times[-1] - times[0], 1e-9)
    x = tuple(round((time - times[0]) / span * WIDTH, 2) for time in reduce(times, np.mean))
    return BinnedSeries(size, first_frames, x, mean, minimum)


def plot(
    metric: Metric,
    scores: ScoreSeries,
    bins: BinnedSeries,
    names: Sequence[str],
    snapshot_times: Sequence[Fraction],
) -> str:
    """Return a ``figure`` element: one metric of all videos over time, with marks at the page's snapshots.

    ``bins`` are the same ``scores``, binned.
    """
    mean, minimum = bins.mean[metric.key], bins.minimum[metric.key]
    low, high = min(map(min, minimum)), max(map(max, mean))
    ticks = nice_ticks(low, high, digits=metric.digits, maximum=metric.maximum)
    bottom, top = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return round(HEIGHT * (top - value) / (top - bottom), 2)

    def points(values: Sequence[float]) -> list[str]:
        return [f"{x:g} {y(value):g}" for x, value in zip(bins.x, values, strict=True)]

    lines = [f'<path class="grid" d="M0 {y(tick):g}H{WIDTH}"/>' for tick in ticks]
    begin, end = float(scores.times[0]), float(scores.times[-1])
    for time in snapshot_times:
        x = round(WIDTH * (float(time) - begin) / max(end - begin, 1e-9), 2)
        lines.append(f'<path class="mark" d="M{x:g} {HEIGHT}V{HEIGHT - 12}"/>')
    for number, values in enumerate(mean):
        classes, path = _series_classes(number), points(values)
        if bins.bin_size > 1:
            outline = "L".join([*path, *reversed(points(minimum[number]))])
            lines.append(f'<path class="band {classes}" d="M{outline}Z"/>')
        if len(path) == 1:
            path = [f"0 {y(values[0]):g}", f"{WIDTH} {y(values[0]):g}"]
        lines.append(f'<path class="series {classes}" d="M{"L".join(path)}"/>')
    summary = "; ".join(
        f"{name}: mean {scores.formatted(metric, number)[0]}" for number, name in enumerate(names)
    )
    digits = next(digits for digits in range(metric.digits + 1) if _has_digits(ticks[1] - ticks[0], digits))
    labels = "".join(f"<span>{tick:.{digits}f}</span>" for tick in reversed(ticks))
    times = "".join(
        f"<span>{_time_label(begin + (end - begin) * part / 4, end - begin)}</span>" for part in range(5)
    )
    return (
        f'<figure class="plot" data-metric="{metric.key}">'
        f'<figcaption><b>{escape(metric.title)}</b> <output aria-live="off"></output></figcaption>'
        f'<div class="y" aria-hidden="true">{labels}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" tabindex="0" role="slider" '
        f'aria-label="{escape(f"{metric.name} over time; {summary}. Arrow keys go from frame to frame")}" '
        f'aria-valuemin="0" aria-valuemax="{len(bins.x) - 1}" aria-valuenow="0">'
        f'{"".join(lines)}<path class="cursor" d="M-9 0V{HEIGHT}"/></svg>'
        f'<div class="x" aria-hidden="true">{times}</div></figure>'
    )


def _series_classes(number: int) -> str:
    """Return the CSS classes of a video's line."""
    return f"c{number % COLOR_COUNT}" + (f" d{number // COLOR_COUNT % 3}" if number >= COLOR_COUNT else "")


def nice_ticks(low: float, high: float, *, digits: int, maximum: float) -> list[float]:
    """Return equally spaced round numbers that enclose a range, mostly four to seven, at least two.

    Args:
        low, high: the range.
        digits: decimals that tell all of them apart.
        maximum: none is above it; at least ``high``.
    """
    finest = 10.0**-digits
    if high - low < finest:
        low, high = low - finest / 2, high + finest / 2
    rough = max((high - low) / (_TARGET_TICKS - 1), finest)
    power = 10 ** math.floor(math.log10(rough) + 1e-9)
    steps = (power * part for part in (1, 2, 2.5, 5, 10))
    step = next(step for step in steps if step >= rough * 0.999 and _has_digits(step, digits))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = min(last, math.floor(maximum / step + 1e-9))
    return [round(number * step, 10) for number in range(min(first, last - 1), last + 1)]


def _has_digits(value: float, digits: int) -> bool:
    """Return whether a number is a whole one after so many decimals."""
    scaled = value * 10**digits
    return abs(scaled - round(scaled)) < 1e-6


def _time_label(seconds: float, span: float = 0) -> str:
    """Format ``1:02:03`` or ``2:03.400``, with fewer decimals for a longer ``span`` in seconds."""
    return format_timestamp(seconds, digits=3 if span < 10 else 1 if span < 100 else 0)


def _summary(comparison: Comparison, snapshots: SnapshotSet) -> str:
    length = None if comparison.end is None else float(comparison.end - comparison.start)
    span = (
        "" if length is None else f", {length:.4g} s" if length < 60 else f", {_time_label(length, length)}"
    )
    frames = "" if snapshots.scores is None else f", {len(snapshots.scores.times):,} frames"
    against = "" if comparison.reference is None else f", against {comparison.reference.label}"
    return f"{comparison.width}x{comparison.height}{frames}{span}{against}"


def _video_options(comparison: Comparison, selected: int) -> str:
    return "".join(
        f'<option value="{number}"{" selected" * (number == selected)}>'
        f"{escape(_display_name(comparison, video))}</option>"
        for number, video in enumerate(comparison.all_videos)
    )


def _display_name(comparison: Comparison, video: ComparedVideo) -> str:
    return f"reference: {video.title}" if video is comparison.reference else video.title


def _snapshot_choices(comparison: Comparison, snapshots: SnapshotSet) -> str:
    span = 0.0 if comparison.end is None else float(comparison.end - comparison.start)
    return "".join(
        f'<label><input type="radio" name="snapshot" value="{number}"{" checked" * (number == 0)}>'
        f'<img alt=""><span>{_time_label(float(snapshot.time), span)}'
        f"{'' if snapshot.index is None else f'<small>frame {snapshot.index}</small>'}"
        f"{f'<small>{escape(snapshot.note)}</small>' if snapshot.note else ''}</span></label>"
        for number, snapshot in enumerate(snapshots.snapshots)
    )


def _page_data(comparison: Comparison, snapshots: SnapshotSet, crop: DetailCrop | None) -> dict[str, Any]:
    """Return the data of the page's script."""
    aspect_ratio = float(comparison.sample_aspect_ratio * comparison.width / comparison.height)
    scores = snapshots.scores
    return {
        "width": comparison.width,
        "height": comparison.height,
        "aspect": round(aspect_ratio, 6),
        "names": [_display_name(comparison, video) for video in comparison.all_videos],
        "snapshots": [
            {
                "index": snapshot.index,
                "time": _time_label(float(snapshot.time)),
                "images": snapshot.image_uris,
                "focus": (crop or snapshot.crop).center,
            }
            for snapshot in snapshots.snapshots
        ],
        "plots": None if scores is None else _plot_data(scores),
    }


def _plot_data(scores: ScoreSeries) -> dict[str, Any]:
    bins = bin_series(scores)
    return {
        "frames": len(scores.times),
        "bin_size": bins.bin_size,
        "first_frames": bins.first_frames,
        "x": bins.x,
        "times": [_time_label(float(scores.times[first])) for first in bins.first_frames],
        "mean": bins.mean,
        "minimum": bins.minimum if bins.bin_size > 1 else None,
        "digits": {metric.key: metric.digits for metric in scores.metrics},
    }


def _metrics_section(comparison: Comparison, snapshots: SnapshotSet) -> str:
    """Return table and plots of all metrics; without a reference, a hint how to get them."""
    scores = snapshots.scores
    if scores is None:
        return (
            "<p>No metrics: they need a reference, such as the original in high resolution. "
            "<code>vsr compare A B --reference TRUTH</code></p>"
        )
    names = [video.title for video in comparison.videos]
    bins = bin_series(scores)
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 24 4" aria-hidden="true">'
        f'<path class="series {_series_classes(number)}" d="M0 2H24"/></svg>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    snapshot_times = [snapshot.time for snapshot in snapshots.snapshots]
    plots = "".join(plot(metric, scores, bins, names, snapshot_times) for metric in scores.metrics)
    remarks = ""
    if bins.bin_size > 1:
        remarks = (
            f"<p>Lines show means of {bins.bin_size} frames, bands extend down to the lowest of them.</p>"
        )
    remarks += "".join(f"<p>{escape(text)}.</p>" for text in scores.omissions)
    return (
        f'<div class="wide">{_score_table(comparison, scores)}</div><ul class="legend">{legend}</ul>{plots}'
        f"{remarks}<p><small>{escape(scores.protocol)}</small></p>"
    )


def _score_table(comparison: Comparison, scores: ScoreSeries) -> str:
    heads = "".join(
        f'<th scope="colgroup" colspan="2">{escape(metric.name)}'
        f"{f' <small>{metric.unit}</small>' if metric.unit else ''}</th>"
        for metric in scores.metrics
    )
    subs = '<th scope="col">mean</th><th scope="col">worst (frame)</th>' * len(scores.metrics)
    best = {
        metric.key: max(scores.mean(metric, number) for number in range(len(comparison.videos)))
        for metric in scores.metrics
    }
    rows = []
    for number, video in enumerate(comparison.videos):
        cells = []
        for metric in scores.metrics:
            mean, worst = scores.formatted(metric, number)
            mean = f"<b>{mean}</b>" if scores.mean(metric, number) == best[metric.key] else mean
            frame = scores.worst_frame(metric, number)
            cells.append(f"<td>{mean}</td><td>{worst} <small>({frame})</small></td>")
        rows.append(f'<tr><th scope="row">{escape(video.title)}</th>{"".join(cells)}</tr>')
    reference = comparison.reference.label if comparison.reference else ""
    return (
        f"<table><caption>Against {escape(reference)}, {len(scores.times):,} frames; more is better"
        f'</caption><thead><tr><td rowspan="2"></td>{heads}</tr><tr>{subs}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _video_rows(comparison: Comparison) -> str:
    rows = []
    for video in comparison.all_videos:
        source, stream = video.source, video.source.video
        cells = (
            f"{stream.width}x{stream.height}",
            f"{stream.codec}, {stream.pix_fmt}",
            f"{float(stream.frame_rate):.5g} fps" if stream.frame_rate else "",
            "" if video.end is None else _time_label(float(video.end)),
            f"{source.size_bytes / 1e6:,.2f} MB",
        )
        head = f'<th scope="row">{escape(_display_name(comparison, video))}</th>'
        rows.append(f"<tr>{head}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "".join(rows)
