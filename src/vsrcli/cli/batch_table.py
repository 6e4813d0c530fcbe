"""What ``vsr batch`` says at its end: a table for people, a document for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsrcli.batch.discovery import Task
from vsrcli.batch.planning import PlannedTask
from vsrcli.batch.task import Outcome
from vsrcli.cli.failure import one_line
from vsrcli.cli.meter import format_duration
from vsrcli.errors import OutputError

VERSION = 1
STATUSES = ("done", "skipped", "failed", "stopped", "waiting")
_STYLES = {"done": "green", "skipped": "dim", "failed": "bold red", "stopped": "yellow", "waiting": "dim"}
_ENDLESS = 100_000  # columns
_MANY = 24  # films; in longer tables, those that nothing happened to are only counted


def print_outcomes(
    console: Console, tasks: Sequence[Task], outcomes: Sequence[Outcome], *, every: bool = False
) -> None:
    """The table and a line with the counts; ``every``: films that nothing happened to, too."""
    table = _table("film", "status", "frames", "time", "fps", "remark")
    idle = () if every or len(tasks) <= _MANY else ("skipped", "waiting")
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.status not in idle:
            table.add_row(
                _name(task),
                Text(outcome.status, _STYLES[outcome.status]),
                "" if outcome.frames is None else f"{outcome.frames:,}",
                format_duration(outcome.seconds) if outcome.seconds else "",
                "" if outcome.fps is None else f"{outcome.fps:.1f}",
                Text(one_line(_remark(outcome))),
            )
    if table.row_count:
        _print(console, table)
    counts = Counter(outcome.status for outcome in outcomes)
    films = f"{len(tasks)} film{'s' * (len(tasks) != 1)}"
    console.print(f"{films}: {', '.join(f'{counts[each]} {each}' for each in STATUSES if counts[each])}")


def print_plans(console: Console, checked: Sequence[PlannedTask]) -> None:
    """What would happen, for ``--dry-run``."""
    table = _table("film", "would be", "frames", "size", "encoder", "target")
    for each in checked:
        job, status = each.job, each.outcome.status
        if job is None:
            table.add_row(
                _name(each.task), Text(status, _STYLES[status]), "", "", "", one_line(each.outcome.reason)
            )
            continue
        plan = job.plan
        notes = f"; {'; '.join(plan.notices)}" if plan.notices else ""
        table.add_row(
            _name(each.task),
            Text("made", "green"),
            "" if job.expected_frames is None else f"{job.expected_frames:,}",
            f"{plan.width}x{plan.height}",
            plan.codec,
            Text(one_line(f"{each.task.target}{notes}")),
        )
    _print(console, table)
    made = sum(each.job is not None for each in checked)
    console.print(f"dry run: {made} of {len(checked)} films would be made; nothing was written")


def batch_document(tasks: Sequence[Task], outcomes: Sequence[Outcome], **facts: Any) -> dict[str, Any]:
    """For ``--json``; docs/batch.md explains it. ``facts``: of the batch as a whole."""
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "version": VERSION,
        **facts,
        "counts": {each: counts[each] for each in STATUSES},
        "films": [outcome.as_dict(task) for task, outcome in zip(tasks, outcomes, strict=True)],
    }


def write_document(content: dict[str, Any], place: str) -> None:
    """To a file, whole or not at all; or with ``-`` to stdout.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, indent=2)
    if place == "-":
        click.echo(text)
        return
    path = Path(place)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --json") from error


def _remark(outcome: Outcome) -> str:
    if outcome.reason:
        return outcome.reason
    warnings = outcome.warnings
    return f"{warnings[0]}{f' and {len(warnings) - 1} more' if len(warnings) > 1 else ''}" if warnings else ""


def _name(task: Task) -> Text:
    return Text(one_line(task.name))


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(heads[0], overflow="fold", min_width=12)
    table.add_column(heads[1], no_wrap=True)
    for head in heads[2:5]:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column(heads[5], overflow="fold")
    return table


def _print(console: Console, table: Table) -> None:
    """In the terminal's width; into a file, every film on one line."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_ENDLESS, markup=False, highlight=False, emoji=False)
    console.print(table, soft_wrap=False)
