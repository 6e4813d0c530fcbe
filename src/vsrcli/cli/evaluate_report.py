"""What `vsr evaluate` shows while it measures and afterwards: tables, comparison pictures, a bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vsrcli.evaluate.benchmark import StillFrames
    from vsrcli.evaluate.comparison import ModelComparison
    from vsrcli.evaluate.models import EvaluatedModel
    from vsrcli.evaluate.results import ClipResult
    from vsrcli.evaluate.tables import Table

WIDTH = 118  # of the tables where there is no terminal to ask
_WIDE = 112  # columns from which on headings are spelled out


def print_comparison(comparison: ModelComparison) -> None:
    """The tables of one protocol on stdout, as wide as the terminal."""
    from vsrcli.evaluate.tables import (
        clip_table,
        engine_lines,
        footnotes,
        method_table,
        model_heads,
        psnr_table,
    )

    reports, label = comparison.reports, comparison.protocol.label
    width = _width()
    wide = width >= _WIDE
    if len(reports) == 1:
        click.echo(f"{reports[0].engine}: {label}")
        _print_table(clip_table(reports[0], short=not wide))
        click.echo("\n".join(footnotes(reports[0])))
    else:
        clips = reports[0].clips
        click.echo(
            f"{label}: {len(reports)} models, {len(clips)} clips, {sum(clip.frames for clip in clips)} frames"
        )
        _print_table(method_table(comparison, worst_clip=wide))
        if not wide:
            for report in reports:
                click.echo(f"Worst clip of {report.model}: {report.worst.name}, {report.worst.gain:+.2f} dB.")
        click.echo("\n".join(engine_lines(comparison)))
        click.echo("\nPSNR-Y of each clip, dB:")
        heads = model_heads([report.model for report in reports])
        column = max(len(line) for head in heads for line in head.split())
        at_a_time = max((width - 36) // (max(column, 6) + 2), 1)
        for first in range(0, len(reports), at_a_time):
            _print_table(psnr_table(comparison, slice(first, first + at_a_time)))
    click.echo(f"Protocol: {comparison.protocol.summary}.\n")


def _width() -> int:
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else WIDTH


def _print_table(content: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = _width()
    console = Console(markup=False, highlight=False, emoji=False, width=width)  # names of clips are no markup
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if width >= _WIDE else (0, 0))
    table.add_column(content.heads[0], overflow="fold")
    for head in content.heads[1:]:
        words = head == "worst clip"
        table.add_column(head, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for row in content.rows[: -1 if content.total else None]:
        table.add_row(*row)
    if content.total:
        table.add_section()
        table.add_row(*content.rows[-1], style="bold")
    console.print(table)


class ComparisonStrips:
    """Comparison pictures: one of each clip and protocol, with a panel more for every model that comes."""

    def __init__(self, folder: Path | None, *, several: bool) -> None:
        from vsrcli.inference.tiled import ArraySpool

        self._folder = folder
        self._shelf = ArraySpool() if several and folder else None
        self._places: dict[str, list[tuple[str, int]]] = {}

    def add(self, contestant: EvaluatedModel, *, label: str, result: ClipResult, still: StillFrames) -> None:
        from vsrcli.evaluate.crops import comparison, detailed_crop, save_image, still_panels

        if self._folder is None:
            return
        name = f"{result.name} {label}".replace("/", "-").replace(" ", "-")
        places, others, called = self._places.setdefault(name, []), [], contestant.choice.architecture.name
        if self._shelf is not None:
            called = contestant.name
            others = [(model, self._shelf[place]["still"]) for model, place in places]
            self._shelf.add({"still": still.model})
            places.append((called, len(self._shelf) - 1))
        panels = still_panels(still, called, low=True, others=others)  # type: ignore[arg-type]
        save_image(self._folder / f"{name}.png", comparison(panels, detailed_crop(still.truth)))


class MeasuringBar:
    """A bar on stderr on a terminal, nothing elsewhere: one for each model and protocol.

    Attributes:
        label: of the protocol that is measured now.
    """

    def __init__(self, clips: int) -> None:
        self.label = ""
        self._clips = clips
        self._bar: Any = None

    def begin(self, contestant: EvaluatedModel, protocol: Any) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.end()
        self.label = protocol.label
        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._bar.add_task(f"{contestant.name}, {protocol.label}", total=self._clips)
        self._bar.start()

    def advance(self) -> None:
        self._bar.advance(self._bar.task_ids[0])

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> MeasuringBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
