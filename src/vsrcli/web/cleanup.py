"""Deletion of uploads and jobs: by their owner, after they have expired, and after a crash."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable

from vsrcli.web.errors import NO_MESSAGE
from vsrcli.web.metrics import log_event
from vsrcli.web.settings import JOBS, UPLOADS, Settings
from vsrcli.web.store import CANCELLED, QUEUED, JobRecord, Store, Upload, now

_ID = re.compile(r"[\w-]{22}")  # of uploads and jobs: secrets.token_urlsafe(16)

IsInUse = Callable[[str], bool]
"""Whether the upload of an id is being received or checked, or files of the job of an id are being sent."""


def expiry_time(upload: Upload, jobs: Iterable[JobRecord], settings: Settings) -> float | None:
    """Return when an upload is deleted with its jobs, these; None while one of them is queued or running."""
    if any(job.is_pending for job in jobs):
        return None
    return max([upload.last_used, *(job.finished or 0 for job in jobs)]) + settings.keep


def delete_upload(store: Store, settings: Settings, upload: Upload) -> None:
    """Delete an upload and its jobs for their owner; :func:`delete_expired` removes files still in use."""
    for job in store.list_jobs(upload_id=upload.id):
        delete_job(store, settings, job, is_in_use=lambda id: False)
    store.update_upload(upload.id, deleted=True)
    _purge_upload(store, settings, upload, is_in_use=lambda id: False)


def delete_job(store: Store, settings: Settings, job: JobRecord, is_in_use: IsInUse) -> None:
    """Delete a job for its owner; :func:`delete_expired` removes what still runs or is in use."""
    cancel_job(store, job)
    present = store.get_job(job.id)
    store.update_job(job.id, deleted=True)
    if present is not None and not present.is_pending and not is_in_use(job.id):
        _purge_job(store, settings, job)


def cancel_job(store: Store, job: JobRecord) -> bool:
    """Cancel a job: at once while it is queued, by a request to the worker while it runs.

    Returns:
        Whether it was queued. Otherwise its files are the worker's, or those of a job that has just ended.
    """
    if store.transition_job(job.id, QUEUED, CANCELLED, cancel_requested=True, **NO_MESSAGE.job_columns()):
        return True
    store.update_job(job.id, cancel_requested=True)
    return False


def delete_expired(store: Store, settings: Settings, is_in_use: IsInUse) -> int:
    """Remove what has expired or was deleted by its owner, unless it is in use.

    Returns:
        Number of uploads and jobs that were removed.
    """
    removed = 0
    jobs = store.list_jobs(with_deleted=True)
    for job in jobs:
        if job.deleted and not job.is_pending and not is_in_use(job.id):
            _purge_job(store, settings, job)
            removed += 1
    for upload in store.list_uploads(with_deleted=True):
        expiry = expiry_time(upload, [job for job in jobs if job.upload_id == upload.id], settings)
        is_expired = upload.deleted or (expiry is not None and expiry < now())
        if is_expired:
            removed += _purge_upload(store, settings, upload, is_in_use)
    if removed:
        log_event("expired deleted", count=removed)
    return removed


def delete_orphans(store: Store, settings: Settings) -> int:
    """Remove folders without a record, which a crash between disk and database left; return how many."""
    known = {UPLOADS: store.list_uploads(with_deleted=True), JOBS: store.list_jobs(with_deleted=True)}
    orphans = [
        folder
        for kind, records in known.items()
        for folder in {*(settings.data / kind).iterdir()}
        - {settings.data / kind / each.id for each in records}
        if _ID.fullmatch(folder.name)  # nothing but what the server has made
    ]
    for folder in orphans:
        shutil.rmtree(folder, ignore_errors=True)
    return len(orphans)


def _purge_job(store: Store, settings: Settings, job: JobRecord) -> None:
    """Remove the files and the record of a job."""
    shutil.rmtree(settings.job_dir(job.id), ignore_errors=True)
    store.delete_job(job.id)


def _purge_upload(store: Store, settings: Settings, upload: Upload, is_in_use: IsInUse) -> int:
    """Remove the files and records of an upload and its jobs, unless one is in use; return their number."""
    jobs = store.list_jobs(upload_id=upload.id, with_deleted=True)
    if is_in_use(upload.id) or any(job.is_pending or is_in_use(job.id) for job in jobs):
        return 0
    for job in jobs:
        _purge_job(store, settings, job)
    shutil.rmtree(settings.upload_path(upload.id, upload.suffix).parent, ignore_errors=True)
    store.delete_upload(upload.id)
    return 1 + len(jobs)
