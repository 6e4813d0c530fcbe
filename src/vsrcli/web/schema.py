"""The tables of the database of ``vsr serve``, and the triggers that record which sessions have changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vsrcli.errors import OutputError

SCHEMA_VERSION = 3
_TABLES = """
create table uploads (
    id text primary key, session text not null, name text not null, suffix text not null,
    media_type text not null, size integer not null, state text not null, reason text, code text,
    properties json text not null, created real not null, last_used real not null, deleted boolean not null
) without rowid;
create table jobs (
    id text primary key, upload_id text not null references uploads(id) on delete cascade,
    session text not null, options json text not null, arguments json text not null, suffix text not null,
    state text not null, cancel_requested boolean not null, done integer not null, total integer, fps real,
    eta real, message text not null, code text, details json text not null, notices json text not null,
    result json text, process json text, disk_bytes integer not null, created real not null, started real,
    finished real, deleted boolean not null
) without rowid;
create index uploads_by_session on uploads(session);
create index jobs_by_session on jobs(session);
create index jobs_by_upload on jobs(upload_id);
create index jobs_by_state on jobs(state, created);
create table changes (number integer primary key autoincrement, session text not null);
create table counters (name text primary key, value real not null) without rowid;
"""
_TRIGGERS = "".join(
    f"create trigger {table}_{event} after {event} on {table} "
    f"begin insert into changes(session) values ({row}.session); end;\n"
    for table in ("uploads", "jobs")
    for event, row in (("insert", "new"), ("update", "new"), ("delete", "old"))
)


def create_tables(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new database. ``path`` is that of its file, for the error message.

    Raises:
        OutputError: the tables are those of another version of vsr. Nothing is changed then: its videos and
            results would otherwise be deleted as files without a record.
    """
    (version,) = db.execute("pragma user_version").fetchone()
    (tables,) = db.execute("select count(*) from sqlite_master where type = 'table'").fetchone()
    if version == SCHEMA_VERSION:
        return
    if version or tables:
        raise OutputError(
            f"{path.parent} holds videos of another version of vsr serve; give another folder with --data, "
            "or move it away"
        )
    for statement in (_TABLES + _TRIGGERS).split(";\n"):
        db.execute(statement)
    db.execute(f"pragma user_version = {SCHEMA_VERSION}")
