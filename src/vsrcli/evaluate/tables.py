"""Format evaluations as tables for the terminal, and as a GitHub Markdown document that can be reproduced."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vsrcli._version import __version__
from vsrcli.evaluate.comparison import ModelComparison
from vsrcli.evaluate.perception import MEASURES, Measure
from vsrcli.evaluate.results import INTERPOLATIONS, SCORING, TIMING, ClipResult, Cost, Evaluation, Quality

_MAX_HEADING_LETTERS = 10  # of a model's name in one line of a heading


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        headings: of the columns, with line breaks; the first column holds names, all others numbers.
        rows: cells, as many as ``headings``.
        has_total_row: whether the last row is a mean of all others.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_total_row: bool = False


def clip_table(evaluation: Evaluation, *, short: bool = False) -> Table:
    """Return the scores of one model, clip by clip, with their mean; ``short`` abbreviates headings."""
    baseline = "interp." if short else "interpolated"
    columns: tuple[tuple[str, Callable[[ClipResult], str]], ...] = (
        ("clip", lambda clip: clip.name),
        ("bicubic\nPSNR-Y", lambda clip: f"{clip.bicubic.psnr:.2f}"),
        ("lanczos\nPSNR-Y", lambda clip: f"{clip.lanczos.psnr:.2f}"),
        ("model\nPSNR-Y", lambda clip: f"{clip.model.psnr:.2f}"),
        ("gain\ndB", lambda clip: f"{clip.gain:+.2f}"),
        (f"{baseline}\nSSIM-Y", lambda clip: f"{clip.baseline.ssim:.4f}"),
        ("model\nSSIM-Y", lambda clip: f"{clip.model.ssim:.4f}"),
        (f"{baseline}\nsteady", lambda clip: f"{clip.baseline.steady:.2f}"),
        ("model\nsteady", lambda clip: f"{clip.model.steady:.2f}"),
    )
    clips = (*evaluation.clips, evaluation.mean)
    rows = tuple(tuple(cell(clip) for _, cell in columns) for clip in clips)
    return Table(tuple(heading for heading, _ in columns), rows, has_total_row=True)


def method_table(comparison: ModelComparison, *, worst_clip: bool = True) -> Table:
    """Return interpolation and all methods: means over clips, the gain of the worst clip, and time.

    The mean gain has its standard error if there are several clips. ``worst_clip`` adds a column with the
    name of the worst one.
    """
    headings = (
        "method",
        "PSNR-Y",
        "SSIM-Y",
        "steady",
        "mean\ngain",
        "worst\ngain",
        "ms per\nframe",
        "us per\nLR pixel",
        "worst clip",
    )
    mean = comparison.evaluations[0].mean
    rows = [(name, *_scores(getattr(mean, name)), "", "", *_times(mean, name), "") for name in INTERPOLATIONS]
    for evaluation in comparison.evaluations:
        mean, worst = evaluation.mean, evaluation.worst
        gains = _with_error(evaluation), f"{worst.gain:+.2f}"
        rows.append((evaluation.title, *_scores(mean.model), *gains, *_times(mean, "model"), worst.name))
    end = len(headings) - (not worst_clip)
    return Table(headings[:end], tuple(row[:end] for row in rows))


def further_table(comparison: ModelComparison) -> Table | None:
    """Return the means of the measures beyond PSNR, SSIM and steady; None if there are none."""
    measures, evaluations = shown_measures(comparison), comparison.evaluations
    if not measures:
        return None
    mean = evaluations[0].mean
    named = [(name, getattr(mean, name)) for name in INTERPOLATIONS]
    named += [(each.title, each.mean.model) for each in evaluations]
    rows = []
    for name, quality in named:
        values = [(getattr(quality, measure.key), measure.digits) for measure in measures]
        rows.append((name, *("-" if value is None else f"{value:.{digits}f}" for value, digits in values)))
    return Table(("method", *(measure.heading for measure in measures)), tuple(rows))


def shown_measures(comparison: ModelComparison) -> list[Measure]:
    """Return the measures beyond PSNR, SSIM and steady that any method has."""
    means = [each.mean for each in comparison.evaluations]
    qualities = [means[0].bicubic, means[0].lanczos, *(mean.model for mean in means)]
    return [
        measure for measure in MEASURES if any(getattr(each, measure.key) is not None for each in qualities)
    ]


def psnr_table(comparison: ModelComparison, models: slice = slice(None)) -> Table:
    """Return PSNR-Y clip by clip, with a column for each of ``models``, a part of the comparison's."""
    evaluations = comparison.evaluations[models]
    names = model_headings([each.model for each in comparison.evaluations])[models]
    rows = []
    for clips in zip(*((*each.clips, each.mean) for each in evaluations), strict=True):
        values = [clips[0].bicubic, clips[0].lanczos, *(clip.model for clip in clips)]
        rows.append((clips[0].name, *(f"{value.psnr:.2f}" for value in values)))
    return Table(("clip", *INTERPOLATIONS, *names), tuple(rows), has_total_row=True)


def model_headings(names: Sequence[str]) -> list[str]:
    """Return model names for headings: without scale and degradation if all share them, with line breaks."""
    endings = {match[0] if (match := re.search(r"-x\d-[a-z]+$", name)) else "" for name in names}
    shared = endings.pop() if len(names) > 1 and len(endings) == 1 else ""
    return [_break_lines(re.findall(r"[^-/]+[-/]?|[-/]", name.removesuffix(shared))) for name in names]


def footnotes(evaluation: Evaluation) -> list[str]:
    """Return lines with results that a clip table leaves out."""
    mean, worst = evaluation.mean, evaluation.worst
    gain = mean.model.psnr_all_frames - max(mean.bicubic.psnr_all_frames, mean.lanczos.psnr_all_frames)
    all_frames = (
        f"{mean.model.psnr_all_frames:.2f} dB, SSIM {mean.model.ssim_all_frames:.4f}, gain {gain:+.2f} dB"
    )
    return [
        *([f"Mean gain: {_with_error(evaluation)} dB."] if len(evaluation.clips) > 1 else []),
        f"Worst clip: {worst.name}, {worst.gain:+.2f} dB.",
        f"With the first and last frames: {all_frames}.",
        f"Time: {_time_line(mean)}.",
    ]


def engine_lines(comparison: ModelComparison) -> list[str]:
    """Return lines with the engine of each model; a single line if all ran on the same.

    Other tools follow, with the folders of their frames.
    """
    models = [each for each in comparison.evaluations if each.folder is None]
    others = [f"{each.model}: {each.engine}." for each in comparison.evaluations if each.folder is not None]
    devices = [each.engine.partition(" on ")[2] or each.engine for each in models]
    if len(set(devices)) == 1:
        return [f"Engine: {devices[0]}.", *others]
    return [*(f"Engine: {each.engine}." for each in models), *others]


def look_lines(comparison: ModelComparison) -> list[str]:
    """Return a line for each model whose results keep something of the low resolution."""
    return [f"Look of {each.model}: {each.look}." for each in comparison.evaluations if str(each.look)]


def notes(comparison: ModelComparison) -> list[str]:
    """Return lines that explain the tables."""
    gain = "over the better of bicubic and Lanczos"
    evaluation, several = comparison.evaluations[0], len(comparison.evaluations) > 1
    details = "of the means and on the worst clip" if several else "whose other scores are listed, too"
    error = (
        f"; ± is the standard error over {len(evaluation.clips)} clips, paired"
        if evaluation.gain_error is not None
        else ""
    )
    return [
        f"Scoring: {SCORING}.",
        f"Gain: {gain}, {details}{error}.",
        "Steady: PSNR of the changes from frame to frame; flicker lowers it.",
        *(measure.note for measure in shown_measures(comparison)),
        f"Time: {TIMING}.",
    ]


def evaluation_document(comparisons: Sequence[ModelComparison], command: str = "") -> str:
    """Return a Markdown document with a section for each protocol, and the command that reproduces it."""
    parts = [f"# Measured by vsr {__version__}"]
    if command:
        parts.append(f"```sh\n{command}\n```")
    for comparison in comparisons:
        parts += _section(comparison)
    parts.append("\n".join(f"- {_escape_markdown(note)}" for note in notes(comparisons[0])))
    return "\n\n".join(parts) + "\n"


def to_markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rows = [[_escape_markdown(cell) for cell in row] for row in (table.headings, *table.rows)]
    if table.has_total_row:
        rows[-1] = [f"**{cell}**" if cell else "" for cell in rows[-1]]
    rows.insert(1, [":--", *["--:"] * (len(table.headings) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _with_error(evaluation: Evaluation) -> str:
    """Format the mean gain, with its standard error if there is one."""
    error = evaluation.gain_error
    return f"{evaluation.mean.gain:+.2f}" + ("" if error is None else f" ±{error:.2f}")


def _scores(quality: Quality) -> tuple[str, str, str]:
    return f"{quality.psnr:.2f}", f"{quality.ssim:.4f}", f"{quality.steady:.2f}"


def _times(mean: ClipResult, method: str) -> tuple[str, str]:
    cost = mean.costs.get(method, Cost())
    return _format_duration(cost.ms_per_frame), _format_duration(cost.us_per_pixel)


def _time_line(mean: ClipResult) -> str:
    if not mean.costs.get("model", Cost()).frames:
        return "the clips are too short to measure it"
    baselines = ", ".join(f"{name} {_times(mean, name)[0]} ms" for name in INTERPOLATIONS)
    per_frame, per_pixel = _times(mean, "model")
    return f"{per_frame} ms per frame, {per_pixel} us per low-resolution pixel ({baselines} per frame)"


def _format_duration(value: float | None) -> str:
    """Format a duration with three digits; ``-`` if it was not measured."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _break_lines(parts: Sequence[str]) -> str:
    lines = [""]
    for word in parts:
        if lines[-1] and len(lines[-1]) + len(word) > _MAX_HEADING_LETTERS:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _section(comparison: ModelComparison) -> list[str]:
    evaluations = comparison.evaluations
    clips = evaluations[0].clips
    frames = sum(clip.frames for clip in clips)
    lines = [f"Protocol: {comparison.protocol.summary}; {len(clips)} clips, {frames} frames."]
    lines += engine_lines(comparison) + look_lines(comparison)
    parts = [f"## {comparison.protocol.label}", _escape_markdown("\n".join(lines), breaks="  \n")]
    parts.append(to_markdown(method_table(comparison)))
    further = further_table(comparison)
    if further is not None:
        parts.append(to_markdown(further))
    if len(evaluations) == 1:
        below = _escape_markdown("\n".join(footnotes(evaluations[0])), breaks="  \n")
        parts.append(f"{_escape_markdown(evaluations[0].title)}, clip by clip:")
        return [*parts, to_markdown(clip_table(evaluations[0])), below]
    return [*parts, "PSNR-Y of each clip, dB:", to_markdown(psnr_table(comparison))]


def _escape_markdown(text: str, breaks: str = " ") -> str:
    """Escape text for Markdown, except for underscores inside words, which have no meaning there."""
    text = re.sub(r"([\\`*<\[\]|~])|(?<![^\W_])_|_(?![^\W_])", lambda match: "\\" + match[0], text)
    return breaks.join(text.splitlines())
