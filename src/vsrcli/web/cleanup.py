"""Deletion of uploads and jobs: by their owner, after they have expired, and after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from vsrcli.web.errors import NO_MESSAGE
from vsrcli.web.metrics import log_event
from vsrcli.web.settings import JOBS, UPLOADS, Settings
from vsrcli.web.store import CANCELLED, QUEUED, RUNNING, JobRecord, Store, Upload, now

IsInUse = Callable[[str, str], bool]
"""Whether an ``upload`` is being received, or a ``job`` downloaded, by kind and id."""


def delete_upload(store: Store, settings: Settings, upload: Upload) -> None:
    """Delete an upload and its jobs for their owner; :func:`delete_expired` removes files still in use."""
    for job in store.list_jobs(upload_id=upload.id):
        delete_job(store, job)
    store.update_upload(upload.id, deleted=1)
    _purge_upload(store, settings, upload, is_in_use=lambda kind, id: False)


def delete_job(store: Store, job: JobRecord) -> None:
    """Delete a job for its owner; the worker stops it first, :func:`delete_expired` removes its files."""
    cancel_job(store, job)
    store.update_job(job.id, deleted=1)


def cancel_job(store: Store, job: JobRecord) -> None:
    """Cancel a job: at once while it is queued, by a request to the worker while it runs."""
    if not store.transition_job(
        job.id,
        QUEUED,
        CANCELLED,
        cancel_requested=1,
        finished=now(),
        disk_bytes=0,
        **NO_MESSAGE.job_columns(),
    ):
        store.update_job(job.id, cancel_requested=1)
    else:
        store.increase_counter(f"jobs {CANCELLED}", 1)


def delete_expired(store: Store, settings: Settings, is_in_use: IsInUse) -> int:
    """Remove what has expired or was deleted by its owner, unless it is in use.

    Returns:
        Number of uploads and jobs that were removed.
    """
    removed, oldest = 0, now() - settings.keep
    jobs = store.list_all_jobs()
    for job in jobs:
        if job.state == RUNNING or job.state == QUEUED or is_in_use("job", job.id):
            continue
        if job.deleted or (job.finished or 0) < oldest:
            _purge_job(store, settings, job)
            removed += 1
    for upload in store.list_all_uploads():
        last_used = max(
            [upload.last_used, *(job.finished or 0 for job in jobs if job.upload_id == upload.id)]
        )
        if (upload.deleted or last_used < oldest) and _purge_upload(store, settings, upload, is_in_use):
            removed += 1
    if removed:
        log_event("expired deleted", count=removed)
    return removed


def delete_orphans(store: Store, settings: Settings) -> int:
    """Remove folders without a record, which a crash between disk and database left; return how many."""
    known = {
        UPLOADS: {upload.id for upload in store.list_all_uploads()},
        JOBS: {job.id for job in store.list_all_jobs()},
    }
    removed = 0
    for kind, ids in known.items():
        for folder in (settings.data / kind).glob("*"):
            if folder.name not in ids:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _purge_job(store: Store, settings: Settings, job: JobRecord) -> None:
    """Remove the files and the record of a job."""
    shutil.rmtree(settings.job_dir(job.id), ignore_errors=True)
    store.delete_job(job.id)


def _purge_upload(store: Store, settings: Settings, upload: Upload, is_in_use: IsInUse) -> bool:
    """Remove the files and records of an upload and its jobs, unless one is in use; return whether it did."""
    jobs = [job for job in store.list_all_jobs() if job.upload_id == upload.id]
    if is_in_use("upload", upload.id) or any(job.is_pending or is_in_use("job", job.id) for job in jobs):
        return False
    for job in jobs:
        _purge_job(store, settings, job)
    shutil.rmtree(settings.upload_path(upload.id, upload.suffix).parent, ignore_errors=True)
    store.delete_upload(upload.id)
    return True
