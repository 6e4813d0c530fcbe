"""The worker: takes jobs from the queue, one at a time for each device. One worker for each data folder.

The queue of jobs: huey, in a file or in Redis. The database decides; the queue only wakes workers.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psutil

from vsrcli.errors import OutputError
from vsrcli.system.locks import FileLock, LockHeldError
from vsrcli.web.conversion import JobRunner
from vsrcli.web.errors import INTERRUPTED
from vsrcli.web.metrics import anonymize_id, event
from vsrcli.web.settings import SQLITE, Settings
from vsrcli.web.store import QUEUED, RUNNING, Store, now
from vsrcli.web.subprocesses import kill_tree

if TYPE_CHECKING:
    from huey.consumer import Consumer


_NAME = "vsr"
_POLL = 0.5  # seconds between two looks into the file; Redis wakes by itself


class QueueGone(Exception):
    """The queue does not answer."""


def _elsewhere(job: str) -> None:
    raise NotImplementedError("jobs are done by a worker")


class Queue:
    """Where jobs wait.

    Args:
        settings: ``queue`` says where.
        convert: what a worker does with a job's id; the web server only puts them there.
    """

    def __init__(self, settings: Settings, convert: Callable[[str], None] = _elsewhere) -> None:
        from huey import RedisHuey, SqliteHuey

        if settings.queue == SQLITE:
            self._huey: Any = SqliteHuey(
                _NAME, filename=str(settings.data / "queue.sqlite3"), strict_fifo=True, results=False
            )
        else:
            self._huey = RedisHuey(_NAME, url=settings.queue, results=False)

        def task(job: str) -> None:
            convert(job)

        self._task = self._huey.task(name="convert")(task)

    def put(self, job: str) -> None:
        """Wake a worker for a job; twice does no harm.

        Raises:
            QueueGone: nobody answers.
        """
        with _answering():
            self._task(job)

    def refill(self, jobs: list[str]) -> None:
        """Empty it, and put these there.

        Raises:
            QueueGone: nobody answers.
        """
        with _answering():
            self._huey.flush()
            for job in jobs:
                self._task(job)

    def waiting(self) -> int:
        """How many are there.

        Raises:
            QueueGone: nobody answers.
        """
        with _answering():
            return self._huey.pending_count()

    def consumer(self, workers: int) -> Consumer:
        """huey's consumer, with so many threads; signals are its caller's affair."""
        from huey.consumer import Consumer

        class Quiet(Consumer):
            def _set_signal_handlers(self) -> None:
                pass

        return Quiet(self._huey, workers=workers, periodic=False, initial_delay=0.1, max_delay=_POLL)


class _answering:
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import sqlite3

        import redis

        if isinstance(error, redis.RedisError | sqlite3.Error | OSError):
            raise QueueGone(str(error)) from error


HEARTBEAT_KEY = "worker"  # name of the time at which a worker was last seen
HEARTBEAT_INTERVAL = 5.0  # seconds between two such notes
_WAIT = 30.0  # seconds that the worker before may take to end
_SAME_START = 1.0  # seconds by which a process's start may seem to differ


def run_worker(settings: Settings) -> None:
    """Do jobs until SIGTERM or SIGINT; the one in hand goes back to the queue then.

    Raises:
        OutputError: another worker has this data folder.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    store = Store(settings.database)
    lock = _alone(settings, stopping)
    try:
        queue = Queue(settings, JobRunner(store, settings, stopping))
        _recover(store)
        _refill(store, queue, stopping)
        consumer = queue.consumer(len(settings.devices))
        consumer.start()
        event("worker ready", devices=list(settings.devices))
        while not stopping.wait(0 if store.counters().get(HEARTBEAT_KEY, 0) == 0 else HEARTBEAT_INTERVAL):
            store.set_counter(HEARTBEAT_KEY, now())
            consumer.check_worker_health()
            _look_for_lost(store, queue)
        consumer.stop(graceful=True)
        event("worker stopped")
    finally:
        store.set_counter(HEARTBEAT_KEY, 0)
        lock.release()


def _alone(settings: Settings, stopping: threading.Event) -> FileLock:
    lock, deadline = FileLock(settings.data / "worker.lock"), time.monotonic() + _WAIT
    while True:
        try:
            lock.acquire()
            return lock
        except LockHeldError as held:
            if time.monotonic() > deadline or stopping.wait(0.2):
                raise OutputError(
                    f"{settings.data}: a worker is at work there already ({held}); stop it first, or give "
                    "another --data"
                ) from None


def _recover(store: Store) -> None:
    """What a killed worker has left: its processes are ended, its jobs wait again, before all others."""
    for job in store.in_state(RUNNING):
        stop_job_process(job.runner)
        store.transition_job(
            job.id, RUNNING, QUEUED, runner=None, fps=None, eta=None, **INTERRUPTED.columns()
        )
        event("job found again", job=anonymize_id(job.id))


def stop_job_process(runner: Mapping[str, Any] | None) -> None:
    """End a job's process that has outlived its worker, unless the number is another one's by now."""
    if runner is None:
        return
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(runner["pid"])
        if abs(process.create_time() - runner["started"]) < _SAME_START:
            kill_tree(runner["pid"])
            process.wait(10)


def _refill(store: Store, queue: Queue, stopping: threading.Event) -> None:
    """Put all waiting jobs into the queue, in their order; what was there may be lost or double."""
    while not stopping.is_set():
        try:
            queue.refill([job.id for job in store.in_state(QUEUED)])
            return
        except QueueGone as error:
            event("queue does not answer", level=30, error=str(error)[:200])
            stopping.wait(2)


def _look_for_lost(store: Store, queue: Queue) -> None:
    """Jobs that wait although the queue is empty and nobody works: Redis was restarted without its memory."""
    with contextlib.suppress(QueueGone):
        lost = store.in_state(QUEUED)
        if (
            lost
            and not store.in_state(RUNNING)
            and queue.waiting() == 0
            and lost[0].created < now() - HEARTBEAT_INTERVAL
        ):
            for job in lost:
                queue.put(job.id)
