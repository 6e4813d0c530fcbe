"""Run the waiting tasks of a batch on workers, which compute pieces of all videos in one queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from vsrcli.batch.ledger import Identity, make_folder
from vsrcli.batch.runner import BatchRun
from vsrcli.batch.task import Status, TaskReporter, outcome_of
from vsrcli.cluster.coordinator import Coordinator
from vsrcli.cluster.places import Workers
from vsrcli.cluster.video import PlannedVideo, has_pieces
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.pipeline.progress import Result


def run_on_workers(batch: BatchRun, workers: Workers, *, strict: bool = False) -> None:
    """Compute the pieces of all videos in one queue, those of the first videos first.

    What cannot be cut into pieces, such as images, is upscaled by this process in the end.

    Args:
        batch: whose tasks are run.
        workers: where they can be.
        strict: refuse workers on another kind of processor than the first one's.

    Raises:
        SignalInterruptError: a signal arrived; running tasks were stopped and have their outcome.
        UsageError: workers are to be on other machines, which do not answer.
    """
    options = batch.options.in_pieces
    statuses: tuple[Status, ...] = ("waiting", "elsewhere")
    for status in statuses:
        if not (indices := batch.with_status(status)):
            continue
        run = PlannedRun(batch, options, indices)
        coordinator = Coordinator(
            workers, run.next_video, run.end, batch.cancel, on_notice=run.notice, strict=strict
        )
        with suppress(_FirstFailure):
            coordinator.run()
        if run.has_ended or not batch.run_here(run.uncut):
            return


class PlannedRun:
    """The videos of a batch for workers, which are opened when these need more.

    Args:
        batch: records and reports what happens.
        options: with ``--segment shots``.
        indices: of the tasks.

    Attributes:
        uncut: indices of tasks that cannot be cut into pieces, in order.
        has_ended: no task may start any more.
    """

    def __init__(self, batch: BatchRun, options: Options, indices: Sequence[int]) -> None:
        self.uncut: list[int] = []
        self.has_ended = False
        self._batch, self._options, self._waiting = batch, options, deque(indices)
        self._latest = indices[0]  # task that was opened last
        self._begun: dict[int, tuple[TaskReporter, float, Identity]] = {}

    def next_video(self) -> PlannedVideo | None:
        """Open the next video that can be cut; None: there is none."""
        while self._waiting and not self.has_ended:
            self._latest = index = self._waiting.popleft()
            if not self._batch.begin(index):
                self.has_ended = self._batch.fail_fast and self._batch.outcomes[index].status == "failed"
                continue
            task, reporter = self._batch.tasks[index], TaskReporter(self._batch.reporter, index)
            start_time = time.perf_counter()
            try:
                make_folder(task.target.parent)
                job = prepare_job(task.source, task.target, self._options)
                if not has_pieces(job):
                    self.uncut.append(index)
                    continue
                for text in job.plan.notices:
                    reporter.notice(text)
                self._begun[index] = reporter, start_time, Identity.of(task.source)
                return PlannedVideo(index, job, reporter).__enter__()
            except Exception as error:
                outcome = outcome_of(error, task.source, task.target, reporter, start_time)
                self.has_ended = not self._batch.end(index, outcome)
        return None

    def notice(self, text: str) -> None:
        """Report a line about the workers."""
        self._batch.reporter.notice(self._latest, text)

    def end(self, video: PlannedVideo, ended: Result | BaseException) -> None:
        """Record what has become of a video; raise what ends the batch."""
        if not isinstance(ended, Result | Exception):
            return
        reporter, start_time, identity = self._begun.pop(video.key)
        task = self._batch.tasks[video.key]
        stopped = self.has_ended or bool(self._batch.cancel.signum)
        outcome = outcome_of(
            ended, task.source, task.target, reporter, start_time, identity=identity, stopped=stopped
        )
        may_go_on, was_ended = self._batch.end(video.key, outcome), self.has_ended
        self.has_ended = was_ended or not may_go_on
        if not may_go_on and not was_ended and not self._batch.cancel.signum:
            raise _FirstFailure


class _FirstFailure(Exception):  # noqa: N818
    """A video has failed, which shall stop the others."""
