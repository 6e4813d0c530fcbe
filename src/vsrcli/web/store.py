"""What is known about films and jobs, in one SQLite file that the web server and the worker share.

Every method is one transaction. Connections belong to threads; call it from threads, never from the event
loop. Triggers note whose films or jobs have changed, so that pages can be told.

The tables of the database, and how those of an older version become today's.

Films and jobs, as the database holds them.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
create table if not exists films (
    id text primary key, session text not null, name text not null, suffix text not null, kind text not null,
    size integer not null, state text not null, reason text, code text, facts text not null default '{}',
    created real not null, touched real not null, deleted integer not null default 0
) without rowid;
create table if not exists jobs (
    id text primary key, film text not null references films(id) on delete cascade, session text not null,
    options text not null, arguments text not null, suffix text not null, state text not null,
    cancel integer not null default 0, done integer not null default 0, total integer, fps real, eta real,
    message text not null default '', notices text not null default '[]', result text, runner text,
    bytes integer not null default 0, created real not null, started real, finished real,
    deleted integer not null default 0
) without rowid;
create index if not exists films_of on films(session);
create index if not exists jobs_of on jobs(session);
create index if not exists jobs_of_film on jobs(film);
create index if not exists jobs_in on jobs(state, created);
create table if not exists changes (number integer primary key autoincrement, session text not null);
create table if not exists facts (name text primary key, value real not null) without rowid;
"""
_TRIGGERS = "".join(
    f"create trigger if not exists {table}_{event} after {event} on {table} "
    f"begin insert into changes(session) values ({row}.session); end;\n"
    for table in ("films", "jobs")
    for event, row in (("insert", "new"), ("update", "new"), ("delete", "old"))
)
_LATER = {"jobs": {"code": "text", "details": "text not null default '{}'"}}  # columns of newer versions


def migrate(db: sqlite3.Connection) -> None:
    """Make what is not there yet: tables, triggers, columns of newer versions.

    Args:
        db: in a transaction; its rows can be asked by name.
    """
    for statement in (_SCHEMA + _TRIGGERS).split(";\n"):
        if statement.strip():
            db.execute(statement)
    for table, columns in _LATER.items():
        there = {row["name"] for row in db.execute(f"pragma table_info({table})")}
        for name in columns.keys() - there:
            db.execute(f"alter table {table} add column {name} {columns[name]}")


UPLOADING, CHECKING, READY, REFUSED = "uploading", "checking", "ready", "refused"
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class Upload:
    """An upload.

    Attributes:
        id, session: unguessable names.
        name: as its owner calls it.
        suffix: of the file on disk, with the dot.
        kind: media type as the browser says; told back, otherwise unused.
        size: bytes in all.
        state: ``uploading``, ``checking``, ``ready`` or ``refused``.
        reason, code: why it was refused.
        facts: width, height, fps, frames, duration, sound and container, once it is ready.
        created, touched: seconds since 1970; touched by every byte and by every job.
        deleted: its owner has deleted it; files go when nothing uses them any more.
    """

    id: str
    session: str
    name: str
    suffix: str
    kind: str
    size: int
    state: str
    reason: str | None
    code: str | None
    facts: Mapping[str, Any]
    created: float
    touched: float
    deleted: bool


@dataclass(frozen=True)
class JobRecord:
    """A conversion.

    Attributes:
        id, film, session: unguessable names.
        options: as asked for.
        arguments: of ``vsr upscale``, without the files.
        suffix: of the result, with the dot.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        cancel: its owner does not want it any more; the worker will see.
        done, total, fps, eta: progress; None: not known (yet).
        message: for people; English.
        code, details: the same for pages in other languages, see :class:`vsrcli.web.errors.StatusMessage`.
        notices: what had to be changed on the way.
        result: facts of the new film.
        runner: the process that makes it: pid and start.
        bytes: on disk; expected ones while it is pending.
        created, started, finished: seconds since 1970.
        deleted: as of a film.
    """

    id: str
    film: str
    session: str
    options: Mapping[str, Any]
    arguments: list[str]
    suffix: str
    state: str
    cancel: bool
    done: int
    total: int | None
    fps: float | None
    eta: float | None
    message: str
    code: str | None
    details: Mapping[str, Any]
    notices: list[str]
    result: Mapping[str, Any] | None
    runner: Mapping[str, Any] | None
    bytes: int
    created: float
    started: float | None
    finished: float | None
    deleted: bool

    @property
    def pending(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (QUEUED, RUNNING)


_PENDING = f"('{QUEUED}', '{RUNNING}')"


class Store:
    """The database.

    Args:
        path: of its file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._local = path, threading.local()
        with self._writing() as db:
            migrate(db)

    # Films

    def add_upload(self, film: Upload, *, most: int, quota: int) -> str | None:
        """Put down a new upload, with room for all of it.

        Returns:
            None, or what is exceeded: ``films`` or ``quota``.
        """
        with self._writing() as db:
            (count,) = db.execute(
                f"select count(*) from films where session = ? and deleted = 0 and state != '{REFUSED}'",
                (film.session,),
            ).fetchone()
            if count >= most:
                return "films"
            if _used(db) + film.size > quota:
                return "quota"
            _insert(db, "films", film)
        return None

    def get_upload(self, film: str) -> Upload | None:
        """By its id; None if there is none, or it was deleted."""
        row = self._read("select * from films where id = ? and deleted = 0", film)
        return _film(row[0]) if row else None

    def list_uploads(self, session: str) -> list[Upload]:
        """Of a session, oldest first."""
        rows = self._read("select * from films where session = ? and deleted = 0 order by created", session)
        return [_film(row) for row in rows]

    def list_all_uploads(self) -> list[Upload]:
        """Of all sessions, deleted ones too."""
        return [_film(row) for row in self._read("select * from films")]

    def update_upload(self, film: str, **columns: Any) -> None:
        """Change columns of a film."""
        with self._writing() as db:
            _update(db, "films", film, columns)

    def delete_upload(self, film: str) -> None:
        """Forget a film and its jobs."""
        with self._writing() as db:
            db.execute("delete from films where id = ?", (film,))

    # Jobs

    def add_job(self, job: JobRecord, *, most: int, quota: int) -> str | None:
        """Put down a new job, with room for what it is expected to write.

        Returns:
            None, or what is exceeded: ``jobs`` or ``quota``; ``film`` if that has gone meanwhile.
        """
        with self._writing() as db:
            if not db.execute("select 1 from films where id = ? and deleted = 0", (job.film,)).fetchone():
                return "film"
            (count,) = db.execute(
                f"select count(*) from jobs where session = ? and state in {_PENDING}", (job.session,)
            ).fetchone()
            if count >= most:
                return "jobs"
            if _used(db) + job.bytes > quota:
                return "quota"
            _insert(db, "jobs", job)
            _update(db, "films", job.film, {"touched": job.created})
        return None

    def get_job(self, job: str) -> JobRecord | None:
        """By its id; None if there is none, or it was deleted."""
        rows = self._read("select * from jobs where id = ? and deleted = 0", job)
        return _job(rows[0]) if rows else None

    def list_jobs(self, *, session: str | None = None, film: str | None = None) -> list[JobRecord]:
        """Of a session, a film, or all that are not deleted; oldest first."""
        column, value = ("session", session) if film is None else ("film", film)
        where = "deleted = 0" if value is None else f"{column} = ? and deleted = 0"
        rows = self._read(
            f"select * from jobs where {where} order by created", *(() if value is None else (value,))
        )
        return [_job(row) for row in rows]

    def list_all_jobs(self) -> list[JobRecord]:
        """Of all sessions, deleted ones too."""
        return [_job(row) for row in self._read("select * from jobs")]

    def in_state(self, state: str) -> list[JobRecord]:
        """Jobs of all sessions, deleted ones too, in the order in which they were asked for."""
        return [_job(row) for row in self._read("select * from jobs where state = ? order by created", state)]

    def queue_positions(self) -> dict[str, tuple[int, str]]:
        """Place in the queue (from 1) and session of every waiting job."""
        rows = self._read("select id, session from jobs where state = ? order by created", QUEUED)
        return {row["id"]: (place, row["session"]) for place, row in enumerate(rows, 1)}

    def update_job(self, job: str, **columns: Any) -> None:
        """Change columns of a job."""
        with self._writing() as db:
            _update(db, "jobs", job, columns)

    def transition_job(
        self, job: str, before: str, after: str, *, if_wanted: bool = False, **columns: Any
    ) -> bool:
        """Change a job's state if it is still what it is thought to be, and whether it was.

        Args:
            job: its id.
            before, after: states.
            if_wanted: only if its owner has not cancelled it, either.
            columns: to be changed with it.
        """
        with self._writing() as db:
            row = db.execute("select state, cancel from jobs where id = ?", (job,)).fetchone()
            if row is None or row["state"] != before or (if_wanted and row["cancel"]):
                return False
            _update(db, "jobs", job, {"state": after, **columns})
        return True

    def cancel_wanted(self, job: str) -> bool:
        """Whether its owner does not want it any more; also if it has vanished."""
        rows = self._read("select cancel from jobs where id = ?", job)
        return not rows or bool(rows[0]["cancel"])

    def delete_job(self, job: str) -> None:
        """Forget a job."""
        with self._writing() as db:
            db.execute("delete from jobs where id = ?", (job,))

    # Everything

    def bytes_used(self) -> int:
        """Bytes that films and results take, those to come included."""
        return _used(self._connection())

    def counts(self) -> dict[str, int]:
        """Number of jobs in each state."""
        rows = self._read("select state, count(*) as jobs from jobs group by state")
        return {row["state"]: row["jobs"] for row in rows}

    def changes(self, since: int) -> tuple[int, set[str]]:
        """Number of the last change, and the sessions that were touched after ``since``."""
        rows = self._read("select number, session from changes where number > ?", since)
        return max((row["number"] for row in rows), default=since), {row["session"] for row in rows}

    def last_change(self) -> int:
        """Number of the last change; what was before may be forgotten."""
        with self._writing() as db:
            (last,) = db.execute("select ifnull(max(number), 0) from changes").fetchone()
            db.execute("delete from changes where number < ? - 1000", (last,))
        return last

    def set_counter(self, name: str, value: float | None = None, *, add: float = 0) -> None:
        """Put down a number by name, or count it up."""
        with self._writing() as db:
            db.execute(
                "insert into facts values (?, ?) "
                "on conflict(name) do update set value = ifnull(?, value + ?)",
                (name, add if value is None else value, value, add),
            )

    def counters(self) -> dict[str, float]:
        """All such numbers."""
        return {row["name"]: row["value"] for row in self._read("select * from facts")}

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _Held(self._path)
        return held.db

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection().execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        db.execute("begin immediate")
        try:
            yield db
        except BaseException:
            db.execute("rollback")
            raise
        db.execute("commit")


class _Held:
    """A thread's connection, closed when the thread ends."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = normal")
        self.db.execute("pragma foreign_keys = on")

    def __del__(self) -> None:
        self.db.close()


def now() -> float:
    """Seconds since 1970."""
    return time.time()


_PLAIN = (str, int, float, type(None))


def _column(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else json.dumps(value, ensure_ascii=False)


def _insert(db: sqlite3.Connection, table: str, record: Upload | JobRecord) -> None:
    columns = {name: _column(value) for name, value in record.__dict__.items()}
    marks = ", ".join("?" for _ in columns)
    db.execute(f"insert into {table} ({', '.join(columns)}) values ({marks})", tuple(columns.values()))


def _update(db: sqlite3.Connection, table: str, key: str, columns: Mapping[str, Any]) -> None:
    changes = ", ".join(f"{name} = ?" for name in columns)
    values = tuple(_column(value) for value in columns.values())
    db.execute(f"update {table} set {changes} where id = ?", (*values, key))


def _used(db: sqlite3.Connection) -> int:
    (films,) = db.execute(f"select ifnull(sum(size), 0) from films where state != '{REFUSED}'").fetchone()
    (jobs,) = db.execute("select ifnull(sum(bytes), 0) from jobs").fetchone()
    return films + jobs


def _film(row: sqlite3.Row) -> Upload:
    columns = dict(row)
    return Upload(**columns | {"facts": json.loads(columns["facts"]), "deleted": bool(columns["deleted"])})


def _job(row: sqlite3.Row) -> JobRecord:
    columns = dict(row)
    plain: dict[str, Any] = {name: bool(columns[name]) for name in ("deleted", "cancel")}
    for name in ("options", "arguments", "details", "notices", "result", "runner"):
        plain[name] = json.loads(columns[name]) if columns[name] is not None else None
    return JobRecord(**columns | plain)
