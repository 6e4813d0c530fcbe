"""Several films at a time, each in a process of its own: one that dies costs its film and no other.

Workers are fresh interpreters, since TensorFlow and OpenVINO do not survive a fork. They live in process
groups of their own: Ctrl-C in a terminal reaches this process only, which then tells them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from vsrcli.batch.task import BatchObserver, Outcome
from vsrcli.batch.worker import WorkItem
from vsrcli.media.process import describe_exit

_MOMENT = 0.5  # seconds; on Windows, no signal ends a wait that has no end of its own
_TAIL = 24  # lines of a worker's stderr
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")  # of networks; ffmpeg's change what it writes


class WorkerPool:
    """A context manager; leaving it stops every worker and waits until it has cleaned up.

    Args:
        size: how many workers at most.
        watch: told what they tell; of a film's end only by what :meth:`run` calls.
    """

    def __init__(self, size: int, watch: BatchObserver) -> None:
        self._size, self._watch = size, watch
        self._events: queue.SimpleQueue[tuple[WorkerProcess, Any]] = queue.SimpleQueue()
        self._workers: list[WorkerProcess] = []
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        for worker in self._workers:
            worker.wait()

    def run(
        self,
        numbers: Iterable[int],
        begin: Callable[[int], WorkItem | None],
        ended: Callable[[int, Outcome], bool],
    ) -> None:
        """Make films until there are no more; also those that are stopped end in ``ended``.

        Args:
            numbers: of the films.
            begin: what to do for one; None: nothing, it has ended already.
            ended: told of an end; False: begin no more, and stop those in hand.
        """
        waiting = deque(numbers)
        try:
            while True:
                self._give(waiting, begin)
                if not self._busy():
                    return
                if not self._take(ended):
                    waiting.clear()
                    self._stop()
        finally:
            self._stop()
            while self._busy():
                self._take(ended)

    def _busy(self) -> bool:
        return any(worker.order for worker in self._workers)

    def _give(self, waiting: deque[int], begin: Callable[[int], WorkItem | None]) -> None:
        """Work for every worker that has none; a new one where one is missing."""
        while waiting and not self._stopping:
            idle = next((worker for worker in self._workers if worker.order is None), None)
            if idle is None and len(self._workers) == self._size:
                return
            if (order := begin(waiting.popleft())) is None:
                continue
            if idle is None:
                idle = WorkerProcess(self._events.put, order.threads)
                self._workers.append(idle)
            idle.submit(order)

    def _take(self, ended: Callable[[int, Outcome], bool]) -> bool:
        """The next thing that a worker says; False if no more is to be begun."""
        worker, message = self._next()
        if message is None:
            return self._lost(worker, ended)
        kind, number, content = message
        if kind == "ended":
            worker.order = None
            return ended(number, content)
        getattr(self._watch, kind)(number, content)
        return True

    def _next(self) -> tuple[WorkerProcess, Any]:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=_MOMENT)

    def _lost(self, worker: WorkerProcess, ended: Callable[[int, Outcome], bool]) -> bool:
        """A worker is no more."""
        self._workers.remove(worker)
        ending, order = worker.wait(), worker.order
        if order is None:
            return True
        worker.order = None
        if self._stopping:
            return ended(order.number, Outcome("stopped", reason="before it had gone on"))
        reason = (
            f"the process that made it ended ({ending}), perhaps for want of memory; run the command again"
        )
        return ended(order.number, Outcome("failed", reason=reason, details=worker.tail()))

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.stop()


class WorkerProcess:
    """A child that makes films, see :mod:`vsrcli.batch.worker`.

    Args:
        tell: called with this worker and whatever it says, in a thread; with None when it has ended.
        threads: that its networks may use.

    Attributes:
        order: what it works on; None if on nothing.
    """

    def __init__(self, tell: Callable[[tuple[WorkerProcess, Any]], None], threads: int | None) -> None:
        self.order: WorkItem | None = None
        self._tell = tell
        self._lines: deque[str] = deque(maxlen=_TAIL)
        shares = {} if threads is None else {name: str(threads) for name in _THREADS}
        windows = sys.platform == "win32"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "vsrcli.batch.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **shares},
            process_group=None if windows else 0,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if windows else 0,
        )
        self._threads = [
            threading.Thread(target=target, name=target.__name__, daemon=True)
            for target in (self._hear, self._drain)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, order: WorkItem) -> None:
        """Have a film made."""
        assert self._child.stdin is not None
        self.order = order
        with contextlib.suppress(OSError):  # it is no more: that will be heard, too
            pickle.dump(order, self._child.stdin)
            self._child.stdin.flush()

    def stop(self) -> None:
        """Let it leave its film as soon as it can, or end at once if it has none. Safe to call again."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it is no more, or has been told
            if self.order is None:
                pickle.dump(None, self._child.stdin)
            self._child.stdin.close()

    def wait(self) -> str:
        """Until it has ended; how, in words."""
        status = self._child.wait()
        for thread in self._threads:
            thread.join()
        return describe_exit(status)

    def tail(self) -> str:
        """The last lines of its stderr."""
        return "\n".join(self._lines)

    def _hear(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as pipe, contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._tell((self, pickle.load(pipe)))
        self._tell((self, None))

    def _drain(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as pipe:
            for line in pipe:
                self._lines.append(line.decode("utf-8", "replace").rstrip())
