"""The tables of the database, and how those of an older version become today's."""

from __future__ import annotations

import sqlite3

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
