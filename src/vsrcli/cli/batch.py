"""``vsr batch``: many films in, as many out.

The course of a batch as the user sees it: every film is looked at, then made, then told of.

What ``vsr batch`` says at its end: a table for people, a document for programs.
"""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsrcli.batch.discovery import FIELDS, TEMPLATE, Naming, Task, TaskList, find_tasks
from vsrcli.batch.ledger import Ledger, options_fingerprint
from vsrcli.batch.planning import PlannedTask, plan_task, share_memory
from vsrcli.batch.runner import BatchRun
from vsrcli.batch.task import WAITING, Outcome
from vsrcli.cli.console import one_line
from vsrcli.cli.help import Command, option
from vsrcli.cli.options import ARGUMENTS, from_command_line, quiet_option, verbose_option
from vsrcli.cli.progress import (
    make_batch_progress,
    make_progress,
    print_failure,
    stderr_console,
)
from vsrcli.cli.upscale_options import build_options, film_options
from vsrcli.errors import OutputError, SignalInterruptError, UsageError
from vsrcli.images.naming import is_image_name
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.pipeline.job import Options
from vsrcli.system.files import resolve_target
from vsrcli.system.signals import CancelToken, catch_signals
from vsrcli.system.text import format_duration


@click.command(
    cls=Command,
    epilog="Example: vsr batch -r videos/ upscaled/ --scale 2 --container .mkv\n\n"
    "A pattern, in quotes so that vsr expands it: vsr batch 'videos/**/*.avi' upscaled/",
)
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("folder", metavar="OUT_DIR", type=click.Path(path_type=Path))
@option("-r", "--recursive", is_flag=True, group="Batch", help="Also look into subfolders.")
@option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    group="Batch",
    help="Upscale N videos at a time.",
)
@option("--fail-fast", is_flag=True, group="Batch", help="Stop at the first video that fails.")
@film_options
@option(
    "-y",
    "--overwrite",
    is_flag=True,
    group="Output",
    help="Replace files in OUT_DIR that this command did not make; finished videos stay.",
)
@option(
    "-n",
    "--dry-run",
    is_flag=True,
    group="Output",
    help="Show what would happen to each video and write nothing.",
)
@option(
    "--container",
    "--suffix",
    metavar=".EXT",
    group="Output",
    help="Write all videos in this container, such as .mkv.  [default: that of each input, where possible]",
)
@option(
    "--name",
    "template",
    default=TEMPLATE,
    show_default=True,
    metavar="TEMPLATE",
    group="Output",
    help=f"Name each result by this text with {', '.join(f'{{{name}}}' for name in FIELDS)}.",
)
@option(
    "--json",
    metavar="FILE",
    group="Output",
    help="Write the outcome of each video to this file, or - for stdout; see docs/batch.md.",
)
@quiet_option
@verbose_option
def batch(
    inputs: tuple[str, ...],
    folder: Path,
    recursive: bool,
    template: str,
    container: str | None,
    jobs: int,
    fail_fast: bool,
    json: str | None,
    dry_run: bool,
    quiet: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Upscale many videos: files, folders and patterns.

    OUT_DIR mirrors the tree below each folder. A video that fails does not stop the others; one that is
    finished, from the same input and with the same options, is skipped. Run the same command again to resume
    an interrupted batch. Exit status: 0 if every video is there, 3 if some have failed.
    """

    context, options = click.get_current_context(), build_options(**given)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder; the last argument says where the new films go")
    if json not in (None, "-") and not Path(json).absolute().parent.is_dir():
        raise UsageError(f"--json {json}: there is no such folder; create it first")
    if container is not None:
        container = f".{container.lower().lstrip('.')}"
    scale = f"{float(options.scale):g}" if options.size is None else str(options.size).split()[1]
    naming = Naming(find_ffmpeg(options.ffmpeg), template, container, scale, options.model)
    ledger = Ledger(folder)
    found = find_tasks(inputs, folder, naming, recursive=recursive, finished=ledger.targets)
    if not from_command_line(context, "fps") and not any(is_image_name(task.source) for task in found.tasks):
        options = replace(options, fps=None)  # of which no film is another one
    wishes = BatchSettings(jobs, fail_fast, dry_run, quiet, bool(verbose) and not quiet, json)
    stop = None
    with catch_signals() as received:
        course = BatchCommand(found, options, ledger, wishes)
        try:
            course.plan(received)
            course.run(received)
            received.raise_if_cancelled()
        except SignalInterruptError as error:
            stop = error
        status = course.report(stop.exit_status if stop else None)
        if stop:
            raise SignalInterruptError(
                course.resume_hint(context.meta.get(ARGUMENTS, ())), signum=stop.signum
            )
    if status:
        context.exit(status)


FAILURE_STATUSES = 3  # exit status of a batch that came to its end with failures


@dataclass(frozen=True)
class BatchSettings:
    """What is asked of the batch as a whole.

    Attributes:
        jobs: films at a time.
        fail_fast: whether one that fails ends it.
        dry_run: whether nothing is to be made.
        quiet: whether nothing but failures is to be said.
        verbose: whether more is to be said.
        json: where the document goes: a file, ``-``, or None.
    """

    jobs: int = 1
    fail_fast: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False
    json: str | None = None


class BatchCommand:
    """One run of the command.

    Args:
        found: the films.
        options: of each.
        ledger: of the output folder.
        wishes: what else is asked.

    Attributes:
        outcomes: of all films, in their order; right at any moment.
    """

    def __init__(self, found: TaskList, options: Options, ledger: Ledger, wishes: BatchSettings) -> None:
        self.outcomes = [WAITING] * len(found.tasks)
        self._found, self._options, self._ledger, self._wishes = found, options, ledger, wishes
        self._console = stderr_console()
        self._checked: list[PlannedTask] = []
        self._needed = options_fingerprint(options)
        self._jobs, self._began = 1, time.perf_counter()

    def plan(self, received: CancelToken) -> None:
        """Look at every film. Failures are told at once, except in a dry run, whose table has them.

        Raises:
            Interrupted: a signal arrived.
        """
        tasks, wishes, console = self._found.tasks, self._wishes, self._console
        with make_progress(console, "films", quiet=wishes.quiet or not console.is_terminal) as meter:
            for number, task in enumerate(tasks):
                received.raise_if_cancelled()
                meter.update(number, len(tasks), "looked at")
                checked = plan_task(task, self._options, self._ledger, self._needed)
                self._checked.append(checked)
                self.outcomes[number] = checked.outcome
                if checked.outcome.status == "failed" and not wishes.dry_run:
                    print_failure(console, task.name, checked.outcome)

    def run(self, received: CancelToken) -> None:
        """Make those that are waiting.

        Raises:
            Interrupted: a signal arrived.
            OutputError: the output folder cannot be made.
        """
        wishes = self._wishes
        if wishes.dry_run or (wishes.fail_fast and self._failed):
            return
        self._jobs, options, said = share_memory(self._checked, self._options, wishes.jobs)
        if said and not wishes.quiet:
            self._console.print(said)
        self._ledger.make_folder()
        with make_batch_progress(self._console, self._checked, quiet=wishes.quiet) as board:
            batch = BatchRun(
                self._checked,
                options,
                self._ledger,
                self._needed,
                board,
                fail_fast=wishes.fail_fast,
                check=received.raise_if_cancelled,
                stopping=lambda: bool(received.signum),
            )
            self.outcomes = batch.outcomes
            if self._jobs > 1:
                batch.run_parallel(self._jobs)
            else:
                batch.run_sequential()

    def report(self, signalled: int | None) -> int:
        """The table and the document.

        Args:
            signalled: exit status of a signal, if one has ended it.

        Returns:
            The exit status.

        Raises:
            OutputError: the document cannot be written.
        """
        wishes, tasks = self._wishes, self._found.tasks
        status = signalled or (FAILURE_STATUSES if self._failed else 0)
        if not wishes.quiet:
            if self._found.others and wishes.verbose:
                self._console.print(f"files passed over that are no films: {self._found.others}")
            if wishes.dry_run:
                print_plans(self._console, self._checked)
            else:
                print_outcomes(self._console, tasks, self.outcomes, every=wishes.verbose)
        if wishes.json is not None:
            content = batch_document(
                tasks,
                self.outcomes,
                out_dir=str(self._ledger.folder),
                dry_run=wishes.dry_run,
                exit_status=status,
                jobs=self._jobs,
                seconds=round(time.perf_counter() - self._began, 3),
            )
            write_document(content, wishes.json)
        return status

    def resume_hint(self, arguments: Sequence[str]) -> str:
        """After a signal: how far it is, and how to go on; ``arguments`` are the command line's."""
        command = shlex.join(["vsr", *(each for each in arguments if each != "--no-resume")])
        finished = sum(outcome.status in ("done", "skipped") for outcome in self.outcomes)
        return f"stopped; {finished} of {len(self.outcomes)} films are finished; to go on: {command}"

    @property
    def _failed(self) -> bool:
        return any(outcome.status == "failed" for outcome in self.outcomes)


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
    """To a file, whole or not at all; into a pipe or device of that name; or with ``-`` to stdout.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, indent=2) + "\n"
    if place == "-":
        click.echo(text, nl=False)
        return
    path = Path(place)
    try:
        if path.exists() and not path.is_file():  # the superuser would put a file in the place of /dev/null
            path.write_text(text, encoding="utf-8")
            return
        file = resolve_target(path)
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
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
