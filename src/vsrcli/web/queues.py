"""The queue of jobs: huey, in a file or in Redis. The database decides; the queue only wakes workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vsrcli.web.settings import SQLITE, Settings

if TYPE_CHECKING:
    from huey.consumer import Consumer

_NAME = "vsr"
_POLL = 0.5  # seconds between two looks into the file; Redis wakes by itself


class QueueGone(Exception):  # noqa: N818 - says itself what is wrong
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


class _answering:  # noqa: N801 - a context manager, written as one
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import sqlite3

        import redis

        if isinstance(error, redis.RedisError | sqlite3.Error | OSError):
            raise QueueGone(str(error)) from error
