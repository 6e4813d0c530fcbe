"""Run the waiting tasks of a batch: one after the other in this process, or several at a time in others.

How workers compute pieces of all of them is in :mod:`vsrcli.batch.on_workers`.

Several batches, also on other machines, may share an output folder and thereby the work: an output that
another one is writing is locked, and left to it. At the end such tasks are looked at again, once: what the
other has finished is skipped, what it has given up is done here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from vsrcli.batch.discovery import Task
from vsrcli.batch.ledger import Identity, Ledger
from vsrcli.batch.planning import PlannedTask, finished_meanwhile
from vsrcli.batch.task import (
    BatchReporter,
    EngineCache,
    Outcome,
    Status,
    TaskReporter,
    failure_outcome,
    upscale_one,
)
from vsrcli.batch.worker import WorkItem
from vsrcli.batch.workers import WorkerPool
from vsrcli.errors import OutputError
from vsrcli.pipeline.options import Options
from vsrcli.system.resources import available_cores
from vsrcli.system.signals import CancelToken


class BatchRun:
    """The run of a batch: :meth:`run_sequential` or :meth:`run_parallel`, once.

    Args:
        planned: all tasks; those that are not waiting are left alone.
        options: of each task.
        ledger: records what is started and finished.
        fingerprint: of the options, see :func:`~vsrcli.batch.ledger.options_fingerprint`.
        reporter: receives everything that happens.
        fail_fast: after a failure, start no task and stop the running ones.
        cancel: asked between frames.

    Attributes:
        outcomes: of all tasks, in their order; up to date at any time.
        tasks, options, reporter, cancel, fail_fast: as passed.
    """

    def __init__(
        self,
        planned: Sequence[PlannedTask],
        options: Options,
        ledger: Ledger,
        fingerprint: Mapping[str, str],
        reporter: BatchReporter,
        cancel: CancelToken,
        *,
        fail_fast: bool = False,
    ) -> None:
        self.outcomes = [each.outcome for each in planned]
        self.tasks = [each.task for each in planned]
        self.options, self._fingerprint, self._ledger = options, fingerprint, ledger
        self.reporter, self.cancel, self.fail_fast = reporter, cancel, fail_fast

    @property
    def waiting(self) -> list[int]:
        """Indices of the tasks that have not started."""
        return self.with_status("waiting")

    def run_sequential(self) -> None:
        """Run one task after the other in this process; every model is loaded once.

        Raises:
            SignalInterruptError: a signal arrived between two tasks.
        """
        engines = EngineCache()

        def run(indices: Sequence[int]) -> bool:
            for index in indices:
                if not self.begin(index):
                    if self.fail_fast and self.outcomes[index].status == "failed":
                        return False
                    continue
                task, reporter = self.tasks[index], TaskReporter(self.reporter, index)
                outcome = upscale_one(task.source, task.target, self.options, engines, reporter, self.cancel)
                if not self.end(index, outcome):
                    return False
            return True

        if run(self.waiting):
            run(self.with_status("elsewhere"))

    def run_parallel(self, jobs: int) -> None:
        """Run ``jobs`` tasks at a time, each in a process that loads every model once.

        Raises:
            SignalInterruptError: a signal arrived; running tasks were stopped and have their outcome.
        """
        threads = max(available_cores() // jobs, 1)

        def begin(index: int) -> WorkItem | None:
            if not self.begin(index):
                return None
            task = self.tasks[index]
            return WorkItem(index, task.source, task.target, self.options, threads)

        ended = True

        def end(index: int, outcome: Outcome) -> bool:
            nonlocal ended
            ended = self.end(index, outcome) and ended
            return ended

        WorkerPool(jobs, self.reporter).run(self.waiting, begin, end)
        if ended and (again := self.with_status("elsewhere")):
            WorkerPool(jobs, self.reporter).run(again, begin, end)

    def run_here(self, indices: Sequence[int]) -> bool:
        """Run tasks that have begun, one after the other; return False if no other may start."""
        engines = EngineCache()
        for index in indices:
            task, reporter = self.tasks[index], TaskReporter(self.reporter, index)
            outcome = upscale_one(task.source, task.target, self.options, engines, reporter, self.cancel)
            if not self.end(index, outcome):
                return False
        return True

    def with_status(self, status: Status) -> list[int]:
        """Return the indices of the tasks with this outcome."""
        return [index for index, outcome in enumerate(self.outcomes) if outcome.status == status]

    def begin(self, index: int) -> bool:
        """Record the start of a task; return False if it has ended: finished by another batch, or failed."""
        task = self.tasks[index]
        self.reporter.start(index)
        if (outcome := self._finished_meanwhile(task)) is not None:
            self.outcomes[index] = outcome
            self.reporter.end(index, outcome)
            return False
        try:
            with contextlib.suppress(OSError):  # a missing source is reported when it is opened
                self._ledger.begin(task.target, Identity.of(task.source), self._fingerprint)
        except OutputError as error:
            self.end(index, failure_outcome(error))
            return False
        return True

    def _finished_meanwhile(self, task: Task) -> Outcome | None:
        return finished_meanwhile(task, self._ledger, self._fingerprint)

    def end(self, index: int, outcome: Outcome) -> bool:
        """Record the outcome of a task; return False if no other may start."""
        if outcome.status == "failed":
            outcome = self._finished_meanwhile(self.tasks[index]) or outcome
        self.outcomes[index] = outcome
        target = self.tasks[index].target
        try:
            if outcome.status == "done" and outcome.source_identity is not None:
                self._ledger.finish(target, outcome.source_identity, self._fingerprint, outcome.frames or 0)
            elif outcome.status not in ("elsewhere", "skipped"):  # its record is the other batch's, too
                self._ledger.abandon(target)
        except (OutputError, OSError) as error:
            self.reporter.notice(index, f"{outcome.status}, but that cannot be recorded: {error}")
        self.reporter.end(index, outcome)
        return outcome.status != "stopped" and not (self.fail_fast and outcome.status == "failed")
