"""The database of uploads and jobs: one SQLite file that the web server and the worker share.

Every method of :class:`Store` is one transaction. Connections belong to threads; call it from threads, never
from the event loop. Triggers record which sessions have changed, so that pages can be notified.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsrcli.web.schema import create_tables

UPLOADING, CHECKING, READY, REJECTED = "uploading", "checking", "ready", "rejected"
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
HEARTBEAT_KEY = "worker heartbeat"  # counter with the time of the worker's last sign of life

sqlite3.register_adapter(dict, json.dumps)
sqlite3.register_adapter(list, json.dumps)
sqlite3.register_converter("json", json.loads)
sqlite3.register_converter("boolean", lambda value: value != b"0")


def now() -> float:
    """Return the time in seconds since 1970."""
    return time.time()


@dataclass(frozen=True)
class Upload:
    """An uploaded video.

    Attributes:
        id, session: unguessable ids.
        name: file name for people.
        suffix: of the file on disk, with the dot.
        media_type: as the browser says; only sent back.
        size: bytes of the whole file.
        state: ``uploading``, ``checking``, ``ready`` or ``rejected``.
        created, last_used: seconds since 1970; every byte and every job counts as use.
        reason, code: why it was rejected.
        properties: of :func:`vsrcli.web.inspection.describe_video`, once it is ready; ``values`` of the error
            if it was rejected.
        deleted: by its owner; the files go when nothing uses them any more.
    """

    id: str
    session: str
    name: str
    suffix: str
    media_type: str
    size: int
    state: str
    created: float
    last_used: float
    reason: str | None = None
    code: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True)
class JobRecord:
    """A conversion.

    Attributes:
        id, upload_id, session: unguessable ids.
        options: as requested.
        arguments: of ``vsr upscale``, without the files.
        suffix: of the result, with the dot.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        created, started, finished: seconds since 1970.
        cancel_requested: by its owner; the worker will stop it.
        done, total, fps, eta: progress in frames and seconds; None: not known (yet).
        message: status message for people, in English.
        code, details: the same for translation, see :class:`vsrcli.web.errors.StatusMessage`.
        notices: notices and warnings of the command.
        result: properties of the result.
        process: pid and start time of the process that runs it.
        disk_bytes: size on disk; the expected one while it is pending; of a failed one what it can resume.
        deleted: by its owner.
    """

    id: str
    upload_id: str
    session: str
    options: Mapping[str, Any]
    arguments: list[str]
    suffix: str
    state: str
    created: float
    started: float | None = None
    finished: float | None = None
    cancel_requested: bool = False
    done: int = 0
    total: int | None = None
    fps: float | None = None
    eta: float | None = None
    message: str = ""
    code: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    result: Mapping[str, Any] | None = None
    process: Mapping[str, Any] | None = None
    disk_bytes: int = 0
    deleted: bool = False

    @property
    def is_resumable(self) -> bool:
        """Whether it has failed, and goes on with what it has finished if it is queued again."""
        return self.state == FAILED and self.disk_bytes > 0

    @property
    def is_pending(self) -> bool:
        """Whether it is queued or running."""
        return self.state in (QUEUED, RUNNING)


class Store:
    """The database.

    Args:
        path: of its file, created if it does not exist.

    Raises:
        OutputError: the file has the schema of another version of vsr.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._local = path, threading.local()
        with self._transaction() as db:
            create_tables(db, path)

    # Uploads

    def add_upload(self, upload: Upload, *, max_count: int, quota: int) -> str | None:
        """Insert a new upload and reserve the space for all of it.

        Returns:
            None, or the limit that is exceeded: ``videos`` or ``quota``.
        """
        with self._transaction() as db:
            if sum(each.state != REJECTED for each in self.list_uploads(session=upload.session)) >= max_count:
                return "videos"
            if self.bytes_used() + upload.size > quota:
                return "quota"
            _insert(db, "uploads", upload)
        return None

    def get_upload(self, upload_id: str) -> Upload | None:
        """Return an upload; None if it does not exist or was deleted."""
        return next((Upload(**row) for row in self._select("uploads", {"id": upload_id})), None)

    def list_uploads(self, *, with_deleted: bool = False, **columns: str) -> list[Upload]:
        """Return the uploads whose columns have these values, oldest first.

        Args:
            with_deleted: return those that their owners have deleted, too.
            columns: such as ``session="..."``.
        """
        return [Upload(**row) for row in self._select("uploads", columns, with_deleted=with_deleted)]

    def update_upload(self, upload_id: str, **columns: Any) -> None:
        """Change columns of an upload."""
        with self._transaction() as db:
            _update(db, "uploads", upload_id, columns)

    def delete_upload(self, upload_id: str) -> None:
        """Delete the records of an upload and of its jobs."""
        with self._transaction() as db:
            db.execute("delete from uploads where id = ?", (upload_id,))

    # Jobs

    def add_job(self, job: JobRecord, *, max_count: int, quota: int) -> str | None:
        """Insert a new job and reserve the space that it is expected to need.

        Returns:
            None, or the limit that is exceeded: ``jobs`` or ``quota``; ``upload`` if that does not exist.
        """
        with self._transaction() as db:
            if not self._select("uploads", {"id": job.upload_id}):
                return "upload"
            if exceeded := self._exceeded_limit(job.session, job.disk_bytes, max_count, quota):
                return exceeded
            _insert(db, "jobs", job)
            _update(db, "uploads", job.upload_id, {"last_used": job.created})
        return None

    def resume_job(
        self, job: JobRecord, *, disk_bytes: int, max_count: int, quota: int, **columns: Any
    ) -> str | None:
        """Queue a failed job again, behind all others.

        Args:
            job: as it failed.
            disk_bytes: space to reserve for it, with what it has finished.
            max_count, quota: as for :meth:`add_job`.
            columns: further changes.

        Returns:
            None, or the limit that is exceeded: ``jobs`` or ``quota``; ``state`` if it has not failed.
        """
        changes = {"state": QUEUED, "created": now(), "finished": None, "cancel_requested": False}
        with self._transaction() as db:
            if not self._select("jobs", {"id": job.id, "state": FAILED}):
                return "state"
            if exceeded := self._exceeded_limit(job.session, disk_bytes - job.disk_bytes, max_count, quota):
                return exceeded
            _update(db, "jobs", job.id, changes | columns | {"disk_bytes": disk_bytes})
            _update(db, "uploads", job.upload_id, {"last_used": changes["created"]})
        return None

    def get_job(self, job_id: str) -> JobRecord | None:
        """Return a job; None if it does not exist or was deleted."""
        return next((JobRecord(**row) for row in self._select("jobs", {"id": job_id})), None)

    def list_jobs(self, *, with_deleted: bool = False, **columns: str) -> list[JobRecord]:
        """Return jobs, see :meth:`list_uploads`."""
        return [JobRecord(**row) for row in self._select("jobs", columns, with_deleted=with_deleted)]

    def queue_positions(self) -> dict[str, tuple[int, str]]:
        """Return position (from 1) and session of every queued job, by id."""
        rows = self._select("jobs", {"state": QUEUED}, with_deleted=True)
        return {row["id"]: (position, row["session"]) for position, row in enumerate(rows, 1)}

    def update_job(self, job_id: str, **columns: Any) -> None:
        """Change columns of a job."""
        with self._transaction() as db:
            _update(db, "jobs", job_id, columns)

    def transition_job(
        self, job_id: str, before: str, after: str, *, unless_cancelled: bool = False, **columns: Any
    ) -> bool:
        """Change the state of a job if it is ``before``; return whether it was.

        The process and speed of a job that does not run are reset, and so are the bytes on disk of one that
        ended without a result, unless ``columns`` say what it keeps. A job that ended is counted.

        Args:
            job_id: the job.
            before, after: states.
            unless_cancelled: change nothing if its owner has requested to cancel it.
            columns: further changes.
        """
        changes: dict[str, Any] = {"state": after}
        if after != RUNNING:
            changes |= {"process": None, "fps": None, "eta": None}
        is_final = after in (DONE, FAILED, CANCELLED)
        if is_final:
            changes["finished"] = now()
        if is_final and after != DONE:
            changes["disk_bytes"] = 0
        with self._transaction() as db:
            row = db.execute("select state, cancel_requested from jobs where id = ?", (job_id,)).fetchone()
            if row is None or row["state"] != before or (unless_cancelled and row["cancel_requested"]):
                return False
            _update(db, "jobs", job_id, changes | columns)
        if is_final:
            self.increase_counter(f"jobs {after}", 1)
        return True

    def is_cancel_requested(self, job_id: str) -> bool:
        """Return whether the owner has cancelled the job, or it does not exist any more."""
        rows = self._select("jobs", {"id": job_id}, with_deleted=True)
        return not rows or rows[0]["cancel_requested"]

    def delete_job(self, job_id: str) -> None:
        """Delete the record of a job."""
        with self._transaction() as db:
            db.execute("delete from jobs where id = ?", (job_id,))

    # Totals, changes and counters

    def bytes_used(self) -> int:
        """Return the bytes of uploads and results, reserved ones included."""
        (row,) = self._read(
            f"select (select ifnull(sum(size), 0) from uploads where state != '{REJECTED}') + "
            "(select ifnull(sum(disk_bytes), 0) from jobs)"
        )
        return row[0]

    def bytes_left(self, quota: int) -> int:
        """Return how many bytes may still be used; 0 if it is too many already."""
        return max(quota - self.bytes_used(), 0)

    def job_counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        return dict(map(tuple, self._read("select state, count(*) from jobs group by state")))

    def changes_since(self, number: int) -> tuple[int, set[str]]:
        """Return the number of the last change, and the sessions that changed after change ``number``."""
        rows = self._read("select number, session from changes where number > ?", number)
        return max((row["number"] for row in rows), default=number), {row["session"] for row in rows}

    def prune_changes(self) -> int:
        """Delete old changes; return the number of the last one."""
        with self._transaction() as db:
            (last,) = db.execute("select ifnull(max(number), 0) from changes").fetchone()
            db.execute("delete from changes where number < ? - 1000", (last,))
        return last

    def set_counter(self, name: str, value: float) -> None:
        """Set a named number."""
        with self._transaction() as db:
            db.execute("insert or replace into counters values (?, ?)", (name, value))

    def increase_counter(self, name: str, amount: float) -> None:
        """Add to a named number, which starts at 0."""
        with self._transaction() as db:
            db.execute(
                "insert into counters values (?, ?) on conflict(name) do update set value = value + ?",
                (name, amount, amount),
            )

    def counters(self) -> dict[str, float]:
        """Return all named numbers."""
        return dict(map(tuple, self._read("select name, value from counters")))

    def _exceeded_limit(self, session: str, more_bytes: int, max_count: int, quota: int) -> str | None:
        """Return the limit that another pending job of a session exceeds: ``jobs``, ``quota`` or None."""
        if sum(job.is_pending for job in self.list_jobs(session=session, with_deleted=True)) >= max_count:
            return "jobs"
        return "quota" if self.bytes_used() + more_bytes > quota else None

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            self._local.db = _ThreadConnection(
                self._path,
                timeout=30,
                detect_types=sqlite3.PARSE_DECLTYPES,
                isolation_level=None,
                check_same_thread=False,
            )
            self._local.db.row_factory = sqlite3.Row
            for setting in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
                self._local.db.execute(f"pragma {setting}")
        return self._local.db

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection().execute(query, values).fetchall()

    def _select(
        self, table: str, columns: Mapping[str, str], *, with_deleted: bool = False
    ) -> list[sqlite3.Row]:
        where = [f"{name} = ?" for name in columns] + ([] if with_deleted else ["deleted = 0"])
        query = f"select * from {table} where {' and '.join(where) or 'true'} order by created"
        return self._read(query, *columns.values())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:  # commits at its end, or rolls back
            db.execute("begin immediate")
            yield db


class _ThreadConnection(sqlite3.Connection):
    """The connection of one thread, closed when the thread ends."""

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # it could not be opened
            self.close()


def _insert(db: sqlite3.Connection, table: str, record: Upload | JobRecord) -> None:
    columns = vars(record)
    marks = ", ".join("?" for _ in columns)
    db.execute(f"insert into {table} ({', '.join(columns)}) values ({marks})", tuple(columns.values()))


def _update(db: sqlite3.Connection, table: str, id: str, columns: Mapping[str, Any]) -> None:
    changes = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"update {table} set {changes} where id = ?", (*columns.values(), id))
