"""What was measured as GitHub Markdown, with all that is needed to measure it again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vsrcli import __version__
from vsrcli.evaluate.comparison import ModelComparison
from vsrcli.evaluate.tables import Table, clip_table, engine_lines, footnotes, method_table, notes, psnr_table


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
