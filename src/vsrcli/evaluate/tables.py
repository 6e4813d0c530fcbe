"""What was measured as rows of words, for the terminal and for Markdown.

What was measured as GitHub Markdown, with all that is needed to measure it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vsrcli._version import __version__
from vsrcli.evaluate.comparison import ModelComparison
from vsrcli.evaluate.results import SCORING, TIMING, ClipResult, Cost, Evaluation, Quality

_HEAD = 10  # letters of a model's name in one line of a heading


@dataclass(frozen=True)
class Table:
    """Words in rows.

    Attributes:
        heads: of the columns, with line breaks; the first column holds names, the others numbers.
        rows: all of the length of ``heads``.
        total: whether the last row sums up the others.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: bool = False


def clip_table(report: Evaluation, *, short: bool = False) -> Table:
    """One model, clip by clip, with their mean.

    Args:
        report: of the model.
        short: abbreviate headings.
    """
    better = "interp." if short else "interpolated"
    heads = (
        "clip",
        "bicubic\nPSNR-Y",
        "lanczos\nPSNR-Y",
        "model\nPSNR-Y",
        "gain\ndB",
        f"{better}\nSSIM-Y",
        "model\nSSIM-Y",
        f"{better}\nsteady",
        "model\nsteady",
    )
    return Table(heads, tuple(_clip_row(clip) for clip in (*report.clips, report.mean)), total=True)


def method_table(comparison: ModelComparison, *, worst_clip: bool = True) -> Table:
    """Interpolation and all models: means over clips, the gain of the worst clip, and time.

    Args:
        comparison: of at least one model.
        worst_clip: name it in a column of its own.
    """
    heads = [
        "method",
        "PSNR-Y",
        "SSIM-Y",
        "steady",
        "mean\ngain",
        "worst\ngain",
        "ms per\nframe",
        "us per\nLR pixel",
    ]
    mean = comparison.reports[0].mean
    rows = [
        [name, *_scores(quality), "", "", *_times(mean.costs.get(name, Cost()))]
        for name, quality in (("bicubic", mean.bicubic), ("lanczos", mean.lanczos))
    ]
    for report in comparison.reports:
        mean = report.mean
        gains = f"{mean.gain:+.2f}", f"{report.worst.gain:+.2f}"
        rows.append([report.model, *_scores(mean.model), *gains, *_times(mean.costs.get("model", Cost()))])
    if worst_clip:
        heads.append("worst clip")
        for row, name in zip(rows, ["", "", *(each.worst.name for each in comparison.reports)], strict=True):
            row.append(name)
    return Table(tuple(heads), tuple(tuple(row) for row in rows))


def psnr_table(comparison: ModelComparison, models: slice = slice(None)) -> Table:
    """PSNR-Y clip by clip, a column for each model.

    Args:
        comparison: of at least one model.
        models: which of them.
    """
    reports = comparison.reports[models]
    heads = ("clip", "bicubic", "lanczos", *model_heads([each.model for each in comparison.reports])[models])
    rows = []
    for number, clip in enumerate((*reports[0].clips, reports[0].mean)):
        models_of_clip = [(*each.clips, each.mean)[number].model for each in reports]
        values = [clip.bicubic, clip.lanczos, *models_of_clip]
        rows.append((clip.name, *(f"{value.psnr:.2f}" for value in values)))
    return Table(heads, tuple(rows), total=True)


def model_heads(names: Sequence[str]) -> list[str]:
    """Names for headings: without the scale and degradation that all share, broken at their joints."""
    endings = {found[0] if (found := re.search(r"-x\d-[a-z]+$", name)) else "" for name in names}
    shared = endings.pop() if len(names) > 1 and len(endings) == 1 else ""
    return [_broken(re.findall(r"[^-/]+[-/]?|[-/]", name.removesuffix(shared))) for name in names]


def footnotes(report: Evaluation) -> list[str]:
    """What a clip table does not say."""
    mean, worst = report.mean, report.worst
    ends = mean.model.psnr_ends - max(mean.bicubic.psnr_ends, mean.lanczos.psnr_ends)
    with_ends = f"{mean.model.psnr_ends:.2f} dB, SSIM {mean.model.ssim_ends:.4f}, gain {ends:+.2f} dB"
    return [
        f"Worst clip: {worst.name}, {worst.gain:+.2f} dB.",
        f"With the first and last frames: {with_ends}.",
        f"Time: {_time_line(mean)}.",
    ]


def engine_lines(comparison: ModelComparison) -> list[str]:
    """Where the models ran; one line if all ran alike."""
    places = [report.engine.partition(" on ")[2] or report.engine for report in comparison.reports]
    if len(set(places)) == 1:
        return [f"Engine: {places[0]}."]
    return [f"Engine: {report.engine}." for report in comparison.reports]


def notes(comparison: ModelComparison) -> list[str]:
    """How to read the tables."""
    gain = "over the better of bicubic and Lanczos"
    several = len(comparison.reports) > 1
    return [
        f"Scoring: {SCORING}.",
        f"Gain: {gain}, of the means and on the worst clip."
        if several
        else f"Gain: {gain}, whose other scores stand beside the model's.",
        "Steady: PSNR of the changes from frame to frame; flicker lowers it.",
        f"Time: {TIMING}.",
    ]


def _clip_row(result: ClipResult) -> tuple[str, ...]:
    interpolated, model = result.baseline, result.model
    return (
        result.name,
        f"{result.bicubic.psnr:.2f}",
        f"{result.lanczos.psnr:.2f}",
        f"{model.psnr:.2f}",
        f"{result.gain:+.2f}",
        f"{interpolated.ssim:.4f}",
        f"{model.ssim:.4f}",
        f"{interpolated.temporal:.2f}",
        f"{model.temporal:.2f}",
    )


def _scores(quality: Quality) -> tuple[str, str, str]:
    return f"{quality.psnr:.2f}", f"{quality.ssim:.4f}", f"{quality.temporal:.2f}"


def _times(cost: Cost) -> tuple[str, str]:
    return _short(cost.ms_per_frame), _short(cost.us_per_pixel)


def _time_line(mean: ClipResult) -> str:
    cost = mean.costs.get("model", Cost())
    if not cost.frames:
        return "the clips are too short to tell"
    others = ", ".join(f"{name} {_times(mean.costs[name])[0]} ms" for name in ("bicubic", "lanczos"))
    per_frame, per_pixel = _times(cost)
    return f"{per_frame} ms per frame, {per_pixel} us per low-resolution pixel ({others} per frame)"


def _short(value: float | None) -> str:
    """Three digits; ``-`` for what was not measured."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _broken(words: Sequence[str]) -> str:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _HEAD:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def evaluation_document(comparisons: Sequence[ModelComparison], command: str = "") -> str:
    """A document of one section for each protocol.

    Args:
        comparisons: at least one.
        command: that measured it, as one types it; may be empty.

    Returns:
        Text that ends with a line break.
    """
    parts = [f"# Measured by vsr {__version__}"]
    if command:
        parts.append(f"```sh\n{command}\n```")
    for comparison in comparisons:
        parts += _section(comparison)
    parts.append("\n".join(f"- {_plain(note)}" for note in notes(comparisons[0])))
    return "\n\n".join(parts) + "\n"


def to_markdown(table: Table) -> str:
    """A table by itself."""
    rows = [[_plain(cell) for cell in row] for row in (table.heads, *table.rows)]
    if table.total:
        rows[-1] = [f"**{cell}**" if cell else "" for cell in rows[-1]]
    rows.insert(1, [":--", *["--:"] * (len(table.heads) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _section(comparison: ModelComparison) -> list[str]:
    reports = comparison.reports
    clips = reports[0].clips
    frames = sum(clip.frames for clip in clips)
    lines = [f"Protocol: {comparison.protocol.summary}; {len(clips)} clips, {frames} frames."]
    lines += engine_lines(comparison)
    parts = [f"## {comparison.protocol.label}", _plain("\n".join(lines), breaks="  \n")]
    parts.append(to_markdown(method_table(comparison)))
    if len(reports) == 1:
        below = _plain("\n".join(footnotes(reports[0])), breaks="  \n")
        parts.append(f"{_plain(reports[0].model)}, clip by clip:")
        return [*parts, to_markdown(clip_table(reports[0])), below]
    return [*parts, "PSNR-Y of each clip, dB:", to_markdown(psnr_table(comparison))]


def _plain(text: str, breaks: str = " ") -> str:
    """Text that Markdown takes as it is; underscores inside words mean nothing to it."""
    text = re.sub(r"([\\`*<\[\]|~])|(?<![^\W_])_|_(?![^\W_])", lambda found: "\\" + found[0], text)
    return breaks.join(text.splitlines())
