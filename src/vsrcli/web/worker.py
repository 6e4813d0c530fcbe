"""The worker: runs queued jobs, one at a time on each device. One worker for each data folder.

The queue is huey's, in a file or in Redis, and carries ids only. The database decides which jobs are queued;
the queue only wakes workers, so an id that is lost or comes twice does no harm.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import psutil
import redis
from huey import RedisHuey, SqliteHuey
from huey.consumer import Consumer

from vsrcli.errors import OutputError
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.system.locks import FileLock, LockHeldError
from vsrcli.system.signals import CancelToken, catch_signals
from vsrcli.web.conversion import JobRunner
from vsrcli.web.errors import INTERRUPTED, data_folder_errors
from vsrcli.web.metrics import anonymize_id, log_event
from vsrcli.web.settings import SQLITE, Settings
from vsrcli.web.store import HEARTBEAT_KEY, QUEUED, RUNNING, JobRecord, Store, now
from vsrcli.web.subprocesses import kill_process_tree

HEARTBEAT_INTERVAL = 5.0  # seconds between two heartbeats
_QUEUE_NAME = "vsr"
_POLL_INTERVAL = 0.5  # seconds between two polls of the SQLite queue; Redis blocks instead
_LOCK_TIMEOUT = 30.0  # seconds that another worker may take to end
_FORCE_EXIT_SECONDS = 6.0  # less than the server's; jobs get four of them
_START_TOLERANCE = 1.0  # seconds by which the start time of the same process may differ


def run_worker(settings: Settings) -> None:
    """Run jobs until SIGTERM, SIGINT or SIGHUP; running jobs go back to the queue then.

    Raises:
        OutputError: another worker has this data folder, or it or its database cannot be used.
        FfmpegError: there is no usable ffmpeg.
    """
    find_ffmpeg()
    with catch_signals(force_exit_after=_FORCE_EXIT_SECONDS, resume_hint=str) as cancel:
        with data_folder_errors(settings.data):
            store = Store(settings.database)
            lock = _acquire_lock(settings, cancel)
        try:
            runner = JobRunner(store, settings, cancel)
            queue = JobQueue(settings, runner)
            requeue_interrupted(store)
            _fill_queue(store, queue, cancel)
            consumer = queue.consumer(len(settings.devices))
            consumer.start()
            log_event("worker ready", devices=list(settings.devices))
            while not cancel.wait(0 if store.counters().get(HEARTBEAT_KEY, 0) == 0 else HEARTBEAT_INTERVAL):
                store.set_counter(HEARTBEAT_KEY, now())
                consumer.check_worker_health()
                _requeue_lost(store, queue, requeue_interrupted(store, runner.active))
            consumer.stop(graceful=True)
            log_event("worker stopped")
        finally:
            store.set_counter(HEARTBEAT_KEY, 0)
            lock.release()


class QueueUnavailableError(Exception):
    """The queue does not answer."""


class JobQueue:
    """The queue of job ids. Every method raises QueueUnavailableError if the queue does not answer.

    Args:
        settings: ``queue`` chooses the backend.
        run_job: runs the job of an id, in a worker; the web server only enqueues.
    """

    def __init__(self, settings: Settings, run_job: Callable[[str], None] | None = None) -> None:
        if settings.queue == SQLITE:
            file = str(settings.data / "queue.sqlite3")
            self._huey: Any = SqliteHuey(_QUEUE_NAME, filename=file, strict_fifo=True, results=False)
        else:
            self._huey = RedisHuey(_QUEUE_NAME, url=settings.queue, results=False)

        def convert(job_id: str) -> None:  # huey finds it by module and name, the same in both processes
            assert run_job is not None, "jobs run in a worker"
            run_job(job_id)

        self._task = self._huey.task()(convert)

    def enqueue(self, job_id: str) -> None:
        """Add a job; an id that comes twice does no harm."""
        with _queue_errors():
            self._task(job_id)

    def replace(self, jobs: list[JobRecord]) -> None:
        """Replace everything in the queue."""
        with _queue_errors():
            self._huey.flush()
            for job in jobs:
                self._task(job.id)

    def pending_count(self) -> int:
        """Return the number of ids in the queue."""
        with _queue_errors():
            return self._huey.pending_count()

    def consumer(self, threads: int) -> Consumer:
        """Return huey's consumer, without its signal handlers."""
        return _SignalFreeConsumer(
            self._huey, workers=threads, periodic=False, initial_delay=0.1, max_delay=_POLL_INTERVAL
        )


class _SignalFreeConsumer(Consumer):
    def _set_signal_handlers(self) -> None:
        pass


@contextlib.contextmanager
def _queue_errors() -> Iterator[None]:
    """Raise QueueUnavailableError instead of errors of the backends."""
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


def requeue_interrupted(store: Store, active: Collection[str] = ()) -> list[str]:
    """Queue jobs again, before all others, that are recorded as running and are not; end their processes.

    They are those of a killed worker, or of one that could not write the database for a moment.

    Args:
        store: of the jobs.
        active: ids of jobs that do run.

    Returns:
        Their ids.
    """
    requeued = []
    for job in store.list_jobs(state=RUNNING, with_deleted=True):
        if job.id in active:
            continue
        if job.process is not None:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(job.process["pid"])
                if (
                    abs(process.create_time() - job.process["started"]) < _START_TOLERANCE
                ):  # not another's pid
                    kill_process_tree(process.pid)
                    process.wait(10)
        if store.transition_job(job.id, RUNNING, QUEUED, **INTERRUPTED.job_columns()):
            log_event("job requeued", job=anonymize_id(job.id))
            requeued.append(job.id)
    return requeued


def _fill_queue(store: Store, queue: JobQueue, cancel: CancelToken) -> None:
    """Put all queued jobs into the queue, in order: its content may be incomplete or doubled."""
    while not cancel.is_cancelled:
        try:
            queue.replace(store.list_jobs(state=QUEUED, with_deleted=True))
            return
        except QueueUnavailableError as error:
            log_event("queue unavailable", level=logging.WARNING, error=str(error)[:200])
            cancel.wait(2)


def _requeue_lost(store: Store, queue: JobQueue, interrupted: list[str]) -> None:
    """Enqueue interrupted jobs, and queued ones while the queue is empty and no job runs.

    The latter are lost if Redis restarts.
    """
    with contextlib.suppress(QueueUnavailableError):
        for job_id in interrupted:
            queue.enqueue(job_id)
        lost, running = (store.list_jobs(state=state, with_deleted=True) for state in (QUEUED, RUNNING))
        is_idle = lost and not running and lost[0].created < now() - HEARTBEAT_INTERVAL
        if is_idle and queue.pending_count() == 0:
            for job in lost:
                queue.enqueue(job.id)
