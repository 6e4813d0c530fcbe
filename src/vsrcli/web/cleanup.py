"""Tidying up: what has expired, what its owner has deleted, what a crash has left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from vsrcli.web.errors import NO_MESSAGE
from vsrcli.web.metrics import event
from vsrcli.web.settings import FILMS, JOBS, Settings
from vsrcli.web.store import CANCELLED, QUEUED, RUNNING, JobRecord, Store, Upload, now


def delete_files(store: Store, settings: Settings, film: Upload) -> None:
    """Take away a film and its jobs for their owner; files that are in use go later, by :func:`sweep`."""
    for job in store.list_jobs(film=film.id):
        remove_job(store, settings, job)
    store.update_upload(film.id, deleted=1)
    _bury(store, settings, film, in_use=lambda kind, id: False)


def remove_job(store: Store, settings: Settings, job: JobRecord) -> None:
    """The same for one job; one that runs is stopped by its worker first."""
    cancel(store, job)
    store.update_job(job.id, deleted=1)


def cancel(store: Store, job: JobRecord) -> None:
    """Say that nobody wants it any more: at once if it waits, by the worker if it runs."""
    if not store.transition_job(
        job.id, QUEUED, CANCELLED, cancel=1, finished=now(), bytes=0, **NO_MESSAGE.columns()
    ):
        store.update_job(job.id, cancel=1)
    else:
        store.set_counter(f"jobs {CANCELLED}", add=1)


InUse = Callable[[str, str], bool]


def delete_expired(store: Store, settings: Settings, in_use: InUse) -> int:
    """One round.

    Args:
        store: films and jobs.
        settings: of the server.
        in_use: whether a ``film`` is being uploaded or a ``job`` downloaded, by kind and id.

    Returns:
        How many films and jobs have gone.
    """
    gone, old = 0, now() - settings.keep
    jobs = store.list_all_jobs()
    for job in jobs:
        if job.state == RUNNING or job.state == QUEUED or in_use("job", job.id):
            continue
        if job.deleted or (job.finished or 0) < old:
            delete_upload(store, settings, job)
            gone += 1
    for film in store.list_all_uploads():
        latest = max([film.touched, *(job.finished or 0 for job in jobs if job.film == film.id)])
        if (film.deleted or latest < old) and _bury(store, settings, film, in_use):
            gone += 1
    if gone:
        event("swept", gone=gone)
    return gone


def delete_upload(store: Store, settings: Settings, job: JobRecord) -> None:
    """A job with its files."""
    shutil.rmtree(settings.job(job.id), ignore_errors=True)
    store.delete_job(job.id)


def _bury(store: Store, settings: Settings, film: Upload, in_use: InUse) -> bool:
    """A film with its files, unless something still needs it; whether it has gone."""
    jobs = [job for job in store.list_all_jobs() if job.film == film.id]
    if in_use("film", film.id) or any(job.pending or in_use("job", job.id) for job in jobs):
        return False
    for job in jobs:
        delete_upload(store, settings, job)
    shutil.rmtree(settings.film(film.id, film.suffix).parent, ignore_errors=True)
    store.delete_upload(film.id)
    return True


def delete_orphans(store: Store, settings: Settings) -> int:
    """Folders that nobody knows any more: left by a crash between disk and database."""
    known = {
        FILMS: {film.id for film in store.list_all_uploads()},
        JOBS: {job.id for job in store.list_all_jobs()},
    }
    gone = 0
    for kind, ids in known.items():
        for folder in (settings.data / kind).glob("*"):
            if folder.name not in ids:
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
    return gone
