"""The course of a batch as the user sees it: every film is looked at, then made, then told of."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vsrcli.batch.discovery import TaskList
from vsrcli.batch.ledger import Ledger, options_fingerprint
from vsrcli.batch.planning import PlannedTask, plan_task, share_memory
from vsrcli.batch.runner import BatchRun
from vsrcli.batch.task import WAITING
from vsrcli.cli import batch_table
from vsrcli.cli.board import make_batch_progress, print_failure
from vsrcli.cli.meter import make_progress, stderr_console
from vsrcli.pipeline.job import Options
from vsrcli.system.signals import CancelToken

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
                batch_table.print_plans(self._console, self._checked)
            else:
                batch_table.print_outcomes(self._console, tasks, self.outcomes, every=wishes.verbose)
        if wishes.json is not None:
            content = batch_table.batch_document(
                tasks,
                self.outcomes,
                out_dir=str(self._ledger.folder),
                dry_run=wishes.dry_run,
                exit_status=status,
                jobs=self._jobs,
                seconds=round(time.perf_counter() - self._began, 3),
            )
            batch_table.write_document(content, wishes.json)
        return status

    def resume_hint(self, arguments: Sequence[str]) -> str:
        """After a signal: how far it is, and how to go on; ``arguments`` are the command line's."""
        command = shlex.join(["vsr", *(each for each in arguments if each != "--no-resume")])
        finished = sum(outcome.status in ("done", "skipped") for outcome in self.outcomes)
        return f"stopped; {finished} of {len(self.outcomes)} films are finished; to go on: {command}"

    @property
    def _failed(self) -> bool:
        return any(outcome.status == "failed" for outcome in self.outcomes)
