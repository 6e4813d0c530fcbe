"""Run tasks of a batch in several worker processes: one that dies costs its own task only."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from vsrcli.batch.task import BatchReporter, Outcome, failure_outcome, saved_frames_of
from vsrcli.batch.worker import WorkItem
from vsrcli.errors import SignalInterruptError
from vsrcli.media.process import describe_exit
from vsrcli.system.threads import poll_get
from vsrcli.system.worker_process import WorkerProcess

_WORKER = "vsrcli.batch.worker"


class WorkerPool:
    """Starts workers as needed.

    Args:
        size: maximum number of workers.
        reporter: receives notices and progress; :meth:`run` itself reports ends.
    """

    def __init__(self, size: int, reporter: BatchReporter) -> None:
        self._size, self._reporter = size, reporter
        self._events: queue.Queue[tuple[WorkerProcess, Any]] = queue.Queue()
        self._workers: list[WorkerProcess] = []
        self._stopping = False

    def run(
        self,
        indices: Iterable[int],
        begin: Callable[[int], WorkItem | None],
        on_end: Callable[[int, Outcome], bool],
    ) -> None:
        """Run tasks until none is left, then end the workers, which clean up. Can be called once.

        Tasks that are stopped are reported to ``on_end``, too.

        Args:
            indices: of the tasks.
            begin: returns the work item of a task; None if it has already ended.
            on_end: called with each outcome; returns False to start no other task and stop the running ones.
        """
        waiting = deque(indices)
        try:
            while True:
                self._submit(waiting, begin)
                if not self._is_busy():
                    return
                if not self._handle_event(poll_get(self._events), on_end):
                    waiting.clear()
                    self._stop()
        finally:
            self._stop()
            while self._is_busy():
                self._handle_event(self._events.get(), on_end)
            for worker in self._workers:
                worker.wait()

    def _is_busy(self) -> bool:
        return any(worker.item for worker in self._workers)

    def _submit(self, waiting: deque[int], begin: Callable[[int], WorkItem | None]) -> None:
        """Give every idle worker a task, and start workers that are missing."""
        while waiting and not self._stopping:
            idle = next((worker for worker in self._workers if worker.item is None), None)
            if idle is None and len(self._workers) == self._size:
                return
            if (item := begin(waiting.popleft())) is None:
                continue
            if idle is None:
                idle = WorkerProcess(_WORKER, self._events.put, item.threads)
                self._workers.append(idle)
            idle.submit(item)

    def _handle_event(self, event: tuple[WorkerProcess, Any], on_end: Callable[[int, Outcome], bool]) -> bool:
        """Handle a message of a worker; return False if no other task may start."""
        worker, message = event
        if message is None:
            return self._handle_exit(worker, on_end)
        method, index, argument = message
        if method == "end":
            worker.item = None
            return on_end(index, argument)
        getattr(self._reporter, method)(index, argument)
        return True

    def _handle_exit(self, worker: WorkerProcess, on_end: Callable[[int, Outcome], bool]) -> bool:
        """Remove a worker that has exited; its task failed, or was stopped."""
        self._workers.remove(worker)
        exit_description, item = describe_exit(worker.wait()), worker.item
        if item is None:
            return True
        worker.item = None
        if self._stopping:
            stop = SignalInterruptError("stopped")
            return on_end(item.index, failure_outcome(stop, saved_frames_of(item.target)))
        reason = (
            f"the process that upscaled it ended ({exit_description}), perhaps for want of memory; "
            "run the command again"
        )
        return on_end(item.index, Outcome("failed", reason=reason, details=worker.stderr_tail()))

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.stop()
