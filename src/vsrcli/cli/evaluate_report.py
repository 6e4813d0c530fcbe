"""Output of ``vsr evaluate``: a progress bar, tables on stdout, comparison images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.system.text import replace_undecodable

if TYPE_CHECKING:
    from vsrcli.evaluate.comparison import ModelComparison
    from vsrcli.evaluate.crops import StillFrames
    from vsrcli.evaluate.models import EvaluatedModel
    from vsrcli.evaluate.results import ClipResult
    from vsrcli.evaluate.tables import Table

DEFAULT_WIDTH = 118  # of tables that do not go to a terminal
_WIDE = 112  # columns from which on headings are spelled out


def print_comparison(comparison: ModelComparison) -> None:
    """Print the tables of one protocol on stdout, as wide as the terminal."""
    from vsrcli.evaluate import tables

    reports, label = comparison.evaluations, comparison.protocol.label
    width = _table_width()
    wide = width >= _WIDE
    if len(reports) == 1:
        strength = reports[0].title.removeprefix(reports[0].model)
        click.echo(f"{reports[0].engine}{strength}: {label}")
        _print_table(tables.clip_table(reports[0], short=not wide))
        footnotes = [*tables.look_lines(comparison), *tables.footnotes(reports[0])]
        click.echo(replace_undecodable("\n".join(footnotes)))
        _print_further(comparison)
    else:
        clips, others = reports[0].clips, sum(report.folder is not None for report in reports)
        models = [_count(len(reports) - others, "model"), *([_count(others, "other tool")] if others else [])]
        frames = sum(clip.frames for clip in clips)
        click.echo(f"{label}: {', '.join(models)}, {_count(len(clips), 'clip')}, {frames} frames")
        _print_table(tables.method_table(comparison, worst_clip=wide))
        if not wide:
            for report in reports:
                worst = replace_undecodable(report.worst.name)
                click.echo(f"Worst clip of {report.model}: {worst}, {report.worst.gain:+.2f} dB.")
        click.echo("\n".join(tables.engine_lines(comparison) + tables.look_lines(comparison)))
        _print_further(comparison)
        click.echo("\nPSNR-Y of each clip, dB:")
        headings = tables.model_headings([report.model for report in reports])
        longest_word = max(len(word) for heading in headings for word in heading.split())
        models_per_table = max((width - 36) // (max(longest_word, 6) + 2), 1)
        for first in range(0, len(reports), models_per_table):
            _print_table(tables.psnr_table(comparison, slice(first, first + models_per_table)))
    click.echo(f"Protocol: {comparison.protocol.summary}.\n")


def _print_further(comparison: ModelComparison) -> None:
    from vsrcli.evaluate import tables

    further = tables.further_table(comparison)
    if further is not None:
        click.echo("\nFurther measures, means over clips:")
        _print_table(further)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table_width() -> int:
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else DEFAULT_WIDTH


def _print_table(content: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = _table_width()
    console = Console(
        markup=False, highlight=False, emoji=False, width=width
    )  # clip names may look like markup
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if width >= _WIDE else (0, 0))
    table.add_column(content.headings[0], overflow="fold")
    for heading in content.headings[1:]:
        is_text = heading == "worst clip"
        table.add_column(
            heading, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold"
        )
    for row in content.rows[: -1 if content.has_total_row else None]:
        table.add_row(*map(replace_undecodable, row))
    if content.has_total_row:
        table.add_section()
        table.add_row(*map(replace_undecodable, content.rows[-1]), style="bold")
    console.print(table)


class ComparisonStrips:
    """Writes comparison images: one for each clip and protocol, with one more panel for every further model.

    Args:
        folder: of the images; None: none are written.
        several: whether there is more than one model; then their frames are stored until the next one's come.
    """

    def __init__(self, folder: Path | None, *, several: bool) -> None:
        from vsrcli.inference.array_spool import ArraySpool

        self._folder = folder
        self._spool = ArraySpool() if several and folder else None
        self._names: dict[tuple[str, str], str] = {}  # of files, by clip and protocol
        self._spooled: dict[str, list[tuple[str, int]]] = {}  # models and indices in the spool, by file name

    def add(self, model: EvaluatedModel, *, label: str, result: ClipResult, frames: StillFrames) -> None:
        """Write the image of a clip, or again with a panel for this model; ``label`` is the protocol's."""
        from vsrcli.evaluate import crops

        if self._folder is None:
            return
        name = self._file_name(result.name, label)
        title, others = model.choice.architecture.name, []
        if self._spool is not None:
            title = model.name
            spooled = self._spooled.setdefault(name, [])
            others = [(other, self._spool[index]["still"]) for other, index in spooled]
            self._spool.add({"still": frames.model})
            spooled.append((title, len(self._spool) - 1))
        panels = crops.comparison_panels(frames, title, with_low_resolution=True, other_models=others)  # type: ignore[arg-type]
        strip = crops.comparison_strip(panels, crops.most_detailed_crop(frames.truth))
        crops.save_image(self._folder / f"{name}.png", strip)

    def _file_name(self, clip: str, label: str) -> str:
        """Return the name of a clip's image, without suffix; another one for each clip."""
        if (clip, label) not in self._names:
            plain = f"{clip} {label}".replace("/", "-").replace(" ", "-")
            taken, number, name = {each.casefold() for each in self._names.values()}, 2, plain
            while name.casefold() in taken:
                name, number = f"{plain}-{number}", number + 1
            self._names[clip, label] = name
        return self._names[clip, label]


class EvaluationBar:
    """A progress bar on stderr for each model and protocol; nothing where stderr is no terminal.

    Attributes:
        label: of the current protocol.
    """

    def __init__(self, clip_count: int) -> None:
        self.label = ""
        self._clip_count = clip_count
        self._bar: Any = None

    def begin(self, model: EvaluatedModel, protocol: Any) -> None:
        """Replace the bar by one for another model or protocol."""
        from rich.console import Console
        from rich.progress import Progress

        self.end()
        self.label = protocol.label
        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._bar.add_task(f"{model.name}, {protocol.label}", total=self._clip_count)
        self._bar.start()

    def advance(self) -> None:
        """Count one clip as done."""
        self._bar.advance(self._bar.task_ids[0])

    def end(self, *exception: object) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    __exit__ = end

    def __enter__(self) -> EvaluationBar:
        return self
