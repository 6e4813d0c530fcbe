"""The worker: runs queued jobs, one at a time on each device. One worker for each data folder.

The queue is huey's, in a file or in Redis, and carries ids only. The database decides which jobs are queued;
the queue only wakes workers, so an id that is lost or comes twice does no harm.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import psutil

from vsrcli.errors import OutputError
from vsrcli.system.locks import FileLock, LockHeldError
from vsrcli.system.signals import CancelToken, catch_signals
from vsrcli.web.conversion import JobRunner
from vsrcli.web.errors import INTERRUPTED
from vsrcli.web.metrics import anonymize_id, log_event
from vsrcli.web.settings import SQLITE, Settings
from vsrcli.web.store import HEARTBEAT_KEY, QUEUED, RUNNING, Store, now
from vsrcli.web.subprocesses import kill_process_tree

if TYPE_CHECKING:
    from huey.consumer import Consumer

HEARTBEAT_INTERVAL = 5.0  # seconds between two heartbeats
_QUEUE_NAME = "vsr"
_POLL_INTERVAL = 0.5  # seconds between two polls of the SQLite queue; Redis blocks instead
_LOCK_TIMEOUT = 30.0  # seconds that another worker may take to end
_FORCE_EXIT_SECONDS = 7.0  # less than the server's; jobs get five of them
_START_TOLERANCE = 1.0  # seconds by which the start time of the same process may differ


def run_worker(settings: Settings) -> None:
    """Run jobs until SIGTERM, SIGINT or SIGHUP; running jobs go back to the queue then.

    Raises:
        OutputError: another worker has this data folder.
    """
    with catch_signals(force_exit_after=_FORCE_EXIT_SECONDS) as cancel:
        store = Store(settings.database)
        lock = _acquire_lock(settings, cancel)
        try:
            queue = JobQueue(settings, JobRunner(store, settings, cancel))
            requeue_interrupted(store)
            _fill_queue(store, queue, cancel)
            consumer = queue.consumer(len(settings.devices))
            consumer.start()
            log_event("worker ready", devices=list(settings.devices))
            while not cancel.wait(0 if store.counters().get(HEARTBEAT_KEY, 0) == 0 else HEARTBEAT_INTERVAL):
                store.set_counter(HEARTBEAT_KEY, now())
                consumer.check_worker_health()
                _requeue_lost(store, queue)
            consumer.stop(graceful=True)
            log_event("worker stopped")
        finally:
            store.set_counter(HEARTBEAT_KEY, 0)
            lock.release()


class QueueUnavailableError(Exception):
    """The queue does not answer."""


def _not_in_web_server(job_id: str) -> None:
    raise NotImplementedError("jobs run in a worker")


class JobQueue:
    """The queue of job ids.

    Args:
        settings: ``queue`` chooses the backend.
        run_job: runs the job of an id, in a worker; the web server only enqueues.
    """

    def __init__(self, settings: Settings, run_job: Callable[[str], None] = _not_in_web_server) -> None:
        from huey import RedisHuey, SqliteHuey

        if settings.queue == SQLITE:
            self._huey: Any = SqliteHuey(
                _QUEUE_NAME, filename=str(settings.data / "queue.sqlite3"), strict_fifo=True, results=False
            )
        else:
            self._huey = RedisHuey(_QUEUE_NAME, url=settings.queue, results=False)

        def task(job_id: str) -> None:
            run_job(job_id)

        self._task = self._huey.task(name="convert")(task)

    def enqueue(self, job_id: str) -> None:
        """Add a job; an id that comes twice does no harm.

        Raises:
            QueueUnavailableError: the queue does not answer.
        """
        with _queue_errors():
            self._task(job_id)

    def replace(self, job_ids: list[str]) -> None:
        """Replace everything in the queue.

        Raises:
            QueueUnavailableError: the queue does not answer.
        """
        with _queue_errors():
            self._huey.flush()
            for job_id in job_ids:
                self._task(job_id)

    def pending_count(self) -> int:
        """Return the number of ids in the queue.

        Raises:
            QueueUnavailableError: the queue does not answer.
        """
        with _queue_errors():
            return self._huey.pending_count()

    def consumer(self, threads: int) -> Consumer:
        """Return huey's consumer, without its signal handlers."""
        from huey.consumer import Consumer

        class SignalFreeConsumer(Consumer):
            def _set_signal_handlers(self) -> None:
                pass

        return SignalFreeConsumer(
            self._huey, workers=threads, periodic=False, initial_delay=0.1, max_delay=_POLL_INTERVAL
        )


@contextlib.contextmanager
def _queue_errors() -> Iterator[None]:
    """Raise QueueUnavailableError instead of errors of the backends."""
    import redis

    try:
        yield
    except (redis.RedisError, sqlite3.Error, OSError) as error:
        raise QueueUnavailableError(str(error)) from error


def _acquire_lock(settings: Settings, cancel: CancelToken) -> FileLock:
    """Return the lock of the data folder; wait for another worker that ends."""
    lock, deadline = FileLock(settings.data / "worker.lock"), time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            lock.acquire()
            return lock
        except LockHeldError as held:
            if time.monotonic() > deadline or cancel.wait(0.2):
                raise OutputError(
                    f"{settings.data}: another worker uses this folder ({held}); stop it first, or give "
                    "another --data"
                ) from None


def requeue_interrupted(store: Store) -> None:
    """Queue the jobs of a killed worker again, before all others; end their processes."""
    for job in store.list_jobs(state=RUNNING, with_deleted=True):
        stop_job_process(job.process)
        store.transition_job(job.id, RUNNING, QUEUED, **INTERRUPTED.job_columns())
        log_event("job requeued", job=anonymize_id(job.id))


def stop_job_process(process: Mapping[str, Any] | None) -> None:
    """Kill a job's process that outlived its worker, unless the pid belongs to another process by now."""
    if process is None:
        return
    with contextlib.suppress(psutil.Error):
        running = psutil.Process(process["pid"])
        if abs(running.create_time() - process["started"]) < _START_TOLERANCE:
            kill_process_tree(process["pid"])
            running.wait(10)


def _fill_queue(store: Store, queue: JobQueue, cancel: CancelToken) -> None:
    """Put all queued jobs into the queue, in order: its content may be incomplete or doubled."""
    while not cancel.is_cancelled:
        try:
            queue.replace([job.id for job in store.list_jobs(state=QUEUED, with_deleted=True)])
            return
        except QueueUnavailableError as error:
            log_event("queue unavailable", level=30, error=str(error)[:200])
            cancel.wait(2)


def _requeue_lost(store: Store, queue: JobQueue) -> None:
    """Enqueue queued jobs again while the queue is empty and no job runs, as after a restart of Redis."""
    with contextlib.suppress(QueueUnavailableError):
        lost = store.list_jobs(state=QUEUED, with_deleted=True)
        if (
            lost
            and not store.list_jobs(state=RUNNING, with_deleted=True)
            and queue.pending_count() == 0
            and lost[0].created < now() - HEARTBEAT_INTERVAL
        ):
            for job in lost:
                queue.enqueue(job.id)
