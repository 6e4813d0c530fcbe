"""All films of a batch, one after the other in this process, or several at a time in others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from vsrcli.batch.ledger import Identity, Ledger
from vsrcli.batch.planning import PlannedTask
from vsrcli.batch.task import BatchObserver, Callbacks, EngineCache, Outcome, failure_outcome, upscale_one
from vsrcli.batch.worker import WorkItem
from vsrcli.batch.workers import WorkerPool
from vsrcli.errors import OutputError
from vsrcli.pipeline.job import Options
from vsrcli.pipeline.run import Progress


class BatchRun:
    """Films on their way.

    Args:
        checked: all of them; those that have ended already are left alone.
        options: of each film.
        ledger: told of films that are begun and finished.
        wanted: what films depend on, see :func:`~vsrcli.batch.ledger.options_fingerprint`.
        watch: told what happens.
        fail_fast: begin no film after one has failed, and stop those in hand.
        check: raises if a signal has arrived.
        stopping: whether one has.

    Attributes:
        outcomes: of all films, in their order; right at any moment.
    """

    def __init__(
        self,
        checked: Sequence[PlannedTask],
        options: Options,
        ledger: Ledger,
        wanted: Mapping[str, str],
        watch: BatchObserver,
        *,
        fail_fast: bool = False,
        check: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.outcomes = [each.outcome for each in checked]
        self._tasks = [each.task for each in checked]
        self._options, self._wanted, self._ledger, self._watch = options, wanted, ledger, watch
        self._fail_fast, self._check, self._stopping = fail_fast, check, stopping

    @property
    def waiting(self) -> list[int]:
        """Numbers of the films that are still to be made."""
        return [number for number, outcome in enumerate(self.outcomes) if outcome.status == "waiting"]

    def run_sequential(self) -> None:
        """One after the other, in this process; every model is loaded once.

        Raises:
            Interrupted: a signal arrived between two films.
        """
        engines = EngineCache()
        for number in self.waiting:
            if not self._begin(number):
                if self._fail_fast:
                    return
                continue
            task, hearing = self._tasks[number], self._hearing(number)
            if not self._end(number, upscale_one(task.source, task.target, self._options, engines, hearing)):
                return

    def run_parallel(self, jobs: int) -> None:
        """So many at a time, each in a process that loads its models once.

        Raises:
            Interrupted: a signal arrived; films in hand have ended in order.
        """
        threads = max(_cores() // jobs, 1)

        def begin(number: int) -> WorkItem | None:
            if not self._begin(number):
                return None
            task = self._tasks[number]
            return WorkItem(number, task.source, task.target, self._options, threads)

        with WorkerPool(jobs, self._watch) as crew:
            crew.run(self.waiting, begin, self._end)

    def _hearing(self, number: int) -> Callbacks:
        def progress(now: Progress) -> None:
            self._check()
            self._watch.on_progress(number, now)

        return Callbacks(partial(self._watch.on_notice, number), progress, self._stopping)

    def _begin(self, number: int) -> bool:
        """Whether it can be begun; else it has ended."""
        task = self._tasks[number]
        self._watch.on_start(number)
        try:
            with contextlib.suppress(OSError):  # a source that is gone: that will be said where it is opened
                self._ledger.begin(task.target, Identity.of(task.source), self._wanted)
        except OutputError as error:
            self._end(number, failure_outcome(error))
            return False
        return True

    def _end(self, number: int, outcome: Outcome) -> bool:
        """Write down how it ended; False if no more is to be begun."""
        self.outcomes[number] = outcome
        target = self._tasks[number].target
        try:
            if outcome.status == "done" and outcome.source is not None:
                self._ledger.finish(target, outcome.source, self._wanted, outcome.frames or 0)
            else:
                self._ledger.abandon(target)
        except (OutputError, OSError) as error:
            self._watch.on_notice(number, f"done, but that cannot be written down: {error}")
        self._watch.on_end(number, outcome)
        return outcome.status != "stopped" and not (self._fail_fast and outcome.status == "failed")


def _cores() -> int:
    """That this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
