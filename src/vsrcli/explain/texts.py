"""Words that the picture, the page and the terminal share."""

from __future__ import annotations

from vsrcli.compare.inputs import escape_controls
from vsrcli.explain import figures
from vsrcli.explain.analysis import Explanation, PixelView
from vsrcli.explain.attribution import Influence
from vsrcli.system.text import format_timestamp

_FADED = 0.5  # of an 8-bit step: a smaller change cannot be seen
_KINDS = {
    "named": "named",
    "edge": "strongest edge",
    "texture": "richest texture",
    "flat": "flattest",
    "motion": "most motion",
}


def headline(found: Explanation) -> tuple[str, str]:
    """Return the title and a line below it."""
    moment, region, scale = found.moment, found.region, found.examined.scale
    width, height = moment.size
    part = (
        ""
        if (region.width, region.height) == (width, height)
        else (f" Shown: {region.width}x{region.height} from column {region.left}, row {region.top} on.")
    )
    architecture = found.examined.choice.architecture
    frames = (
        "one frame" if not found.examined.levels else f"a window of {2 * found.examined.levels + 1} frames"
    )
    memory = " and a memory" if found.examined.is_recurrent else ""
    name, time = found.examined.choice.name, format_timestamp(float(moment.time))
    title = f"{name} at {time} of {escape_controls(moment.path.name)}"
    return title, (
        f"{architecture.summary}. It sees {frames}{memory}, x{scale}, fp32. The source is {width}x{height}; "
        f"columns count from 0 at the left to the right, rows from 0 at the top downwards.{part}"
    )


def caption(found: Explanation, what: str) -> str:
    """Return the caption of a panel."""
    if what in ("base", "residual") and found.shapes is None:
        return {
            "base": "Bicubic interpolation, for comparison",
            "residual": "What the network's result has in addition",
        }[what]
    return {
        "base": "Filtered: the middle frame under the dynamic filters",
        "residual": "Residual",
        "spread": "Spread: how wide filters are (root of the second moment)",
        "axis": "Axis: along which filters are long (hue), and how much (saturation)",
        "shift": "Shift: where filters reach beyond their own place (full colour: half a source pixel)",
    }[what]


def sum_text(found: Explanation) -> str:
    """Return the caption of the sum, with the check."""
    verdict = "equal to" if found.agrees else "NOT what"
    ending = "what vsr upscale gives" if found.agrees else "vsr upscale gives"
    return f"Sum: {verdict} {ending} in fp32 (largest difference {found.difference:.2g} of 255 steps)"


def pixel_title(number: int, view: PixelView) -> str:
    """Return the heading of a pixel."""
    return f"{number + 1}  {_KINDS[view.pixel.kind]}: {view.pixel.x},{view.pixel.y} of the source"


def frame_label(offset: int) -> str:
    """Return ``-3`` to ``+3``, and ``0`` for the frame in question."""
    return f"{offset:+d}" if offset else "0"


def memory_reach(influence: Influence) -> int:
    """Return how many frames back a change of a frame is still visible."""
    return max((k for k, change in enumerate(influence.memory, 1) if change >= _FADED), default=0)


def memory_text(influence: Influence, levels: int) -> str:
    """Return what the curve of the memory says."""
    reach, last = memory_reach(influence), len(influence.memory)
    where = "in the window" if reach <= levels else "through the memory"
    seen = "no earlier frame is seen" if not reach else f"a change {reach} back is still seen, {where}"
    return f"Memory, frames 1 to {last} back, the same: {seen} (by half a step or more)"


def bar_charts(influence: Influence) -> list[tuple[str, list[str], list[str], list[float]]]:
    """Return title, texts of the values, labels and heights of each chart of frames."""
    labels = [frame_label(offset) for offset in influence.offsets]
    charts = []
    for title, values in (
        ("A frame replaced by its neighbour: change in 8-bit steps", influence.neighbour),
        ("A frame replaced by its mean colour: the same", influence.blank),
    ):
        charts.append(
            (
                title,
                [figures.format_change(v) for v in values],
                labels,
                [figures.log_height(v) for v in values],
            )
        )
    if influence.gradient is not None:
        texts = [
            f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"
            for value in influence.gradient
        ]
        charts.append(("Gradient: share of each frame", texts, labels, list(influence.gradient)))
    return charts


def summary_line(found: Explanation) -> str:
    """Return one line for the terminal."""
    count = len(found.views)
    verdict = "equals" if found.agrees else "DIFFERS FROM"
    what = "filtered + residual" if found.shapes is not None else "the result"
    return (
        f"{count} pixel{'s' * (count != 1)}; {what} {verdict} what vsr upscale gives "
        f"({found.difference:.2g} of 255 steps)"
    )
