"""Report of ``vsr batch``: a table on stderr for people, a document for programs, see docs/batch.md."""

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
from vsrcli.cli.console import one_line
from vsrcli.errors import OutputError
from vsrcli.system.files import atomic_write
from vsrcli.system.text import format_duration

DOCUMENT_VERSION = 2  # of the JSON document; grows when a key changes its meaning
STATUSES = ("done", "skipped", "failed", "elsewhere", "stopped", "waiting")
_STYLES = {
    "done": "green", "skipped": "dim", "failed": "bold red",
    "elsewhere": "cyan", "stopped": "yellow", "waiting": "dim",
}  # fmt: skip
_LONG_TABLE = 24  # videos; longer tables leave out those that nothing happened to
_UNLIMITED_WIDTH = 100_000  # columns


def print_outcomes(
    console: Console, tasks: Sequence[Task], outcomes: Sequence[Outcome], *, every: bool = False
) -> None:
    """Print a table of outcomes and a line with their counts.

    Args:
        console: of stderr.
        tasks, outcomes: in the same order.
        every: list videos that nothing happened to, even in long tables.
    """
    table = _make_table("video", "status", "frames", "time", "fps", "remark")
    left_out = () if every or len(tasks) <= _LONG_TABLE else ("skipped", "waiting")
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.status not in left_out:
            table.add_row(
                _name(task),
                Text(outcome.status, _STYLES[outcome.status]),
                "" if outcome.frames is None else f"{outcome.frames:,}",
                format_duration(outcome.seconds) if outcome.seconds else "",
                "" if outcome.fps is None else f"{outcome.fps:.1f}",
                Text(one_line(_remark(outcome))),
            )
    if table.row_count:
        _print_table(console, table)
    counts = Counter(outcome.status for outcome in outcomes)
    videos = f"{len(tasks)} video{'s' * (len(tasks) != 1)}"
    console.print(f"{videos}: {', '.join(f'{counts[each]} {each}' for each in STATUSES if counts[each])}")


def print_plans(console: Console, planned: Sequence[PlannedTask]) -> None:
    """Print what would happen to each video, for ``--dry-run``."""
    table = _make_table("video", "would be", "frames", "size", "encoder", "target")
    for each in planned:
        job, status = each.job, each.outcome.status
        if job is None:
            table.add_row(
                _name(each.task), Text(status, _STYLES[status]), "", "", "", one_line(each.outcome.reason)
            )
            continue
        plan = job.plan
        notices = f"; {'; '.join(plan.notices)}" if plan.notices else ""
        table.add_row(
            _name(each.task),
            Text("upscaled", "green"),
            "" if job.expected_frames is None else f"{job.expected_frames:,}",
            f"{plan.width}x{plan.height}",
            plan.codec,
            Text(one_line(f"{each.task.target}{notices}")),
        )
    _print_table(console, table)
    count = sum(each.job is not None for each in planned)
    console.print(f"dry run: {count} of {len(planned)} videos would be upscaled; nothing was written")


def batch_document(tasks: Sequence[Task], outcomes: Sequence[Outcome], **facts: Any) -> dict[str, Any]:
    """Return the document for ``--json``, see docs/batch.md.

    Args:
        tasks, outcomes: in the same order.
        facts: further keys about the batch as a whole.
    """
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "version": DOCUMENT_VERSION,
        **facts,
        "counts": {each: counts[each] for each in STATUSES},
        "videos": [outcome.as_dict(task) for task, outcome in zip(tasks, outcomes, strict=True)],
    }


def write_document(document: dict[str, Any], destination: str) -> None:
    """Write JSON to stdout (``-``), atomically to a file, or into an existing pipe or device.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(document, indent=2) + "\n"
    if destination == "-":
        click.echo(text, nl=False)
        return
    path = Path(destination)
    try:
        atomic_write(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --json") from error


def _remark(outcome: Outcome) -> str:
    if outcome.reason:
        return outcome.reason
    warnings = outcome.warnings
    return f"{warnings[0]}{f' and {len(warnings) - 1} more' if len(warnings) > 1 else ''}" if warnings else ""


def _name(task: Task) -> Text:
    return Text(one_line(task.name))


def _make_table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(headings[0], overflow="fold", min_width=12)
    table.add_column(headings[1], no_wrap=True)
    for heading in headings[2:5]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(headings[5], overflow="fold")
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table as wide as the terminal; into a file, with every video on one line."""
    if not console.is_terminal:
        console = Console(
            file=console.file, width=_UNLIMITED_WIDTH, markup=False, highlight=False, emoji=False
        )
    console.print(table, soft_wrap=False)
