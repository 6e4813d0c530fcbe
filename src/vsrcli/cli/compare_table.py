"""The figures of ``vsr compare`` for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from vsrcli.compare.inputs import Comparison
    from vsrcli.compare.scoring import ScoreSeries


def print_figures(line: Comparison, figures: ScoreSeries) -> None:
    """Means and lowest figures, a row for each film, on standard output."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mean / worst frame", overflow="fold")
    for metric in figures.metrics:
        unit = f", {metric.unit}" if metric.unit else ""
        table.add_column(metric.name + unit, justify="right", no_wrap=True)
    for number, film in enumerate(line.films):
        cells = []
        for metric in figures.metrics:
            lowest = figures.values[metric.key][number][figures.worst(metric, number)]
            cells.append(f"{figures.mean(metric, number):.{metric.digits}f} / {lowest:.{metric.digits}f}")
        table.add_row(Text(film.title), *cells)
    Console(markup=False, highlight=False, emoji=False).print(table)
