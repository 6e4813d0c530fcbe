"""JSON of videos and jobs, as docs/web.md describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vsrcli.web.cleanup import expiry_time
from vsrcli.web.settings import Settings
from vsrcli.web.store import DONE, QUEUED, REJECTED, UPLOADING, JobRecord, Store, Upload

_UPLOAD_FIELDS = ("id", "name", "size", "state", "reason", "code", "created")
_PROPERTIES = ("width", "height", "pixel_aspect", "fps", "frames", "duration", "audio")
_JOB_FIELDS = (
    *("id", "options", "state", "done", "total", "fps", "eta", "message", "code"),
    *("created", "started", "finished"),
)


class Serializer:
    """Convert records of the database to JSON.

    Args:
        store: uploads and jobs.
        settings: of the server.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings

    def videos(self, session: str) -> list[dict[str, Any]]:
        """Return all videos of a session with their jobs, oldest first."""
        uploads = self._store.list_uploads(session=session)
        jobs = self._store.list_jobs(session=session) if uploads else []
        positions = self._store.queue_positions() if any(job.state == QUEUED for job in jobs) else {}
        return [
            self._video(upload, [job for job in jobs if job.upload_id == upload.id], positions)
            for upload in uploads
        ]

    def video(self, upload: Upload) -> dict[str, Any]:
        """Return one video with its jobs."""
        return self._video(upload, self._store.list_jobs(upload_id=upload.id), self._store.queue_positions())

    def job(self, job: JobRecord) -> dict[str, Any]:
        """Return one job."""
        positions = self._store.queue_positions() if job.state == QUEUED else {}
        upload, jobs = self._store.get_upload(job.upload_id), self._store.list_jobs(upload_id=job.upload_id)
        expires = None if upload is None else expiry_time(upload, jobs, self._settings)
        return self._job(job, positions, expires)

    def _video(
        self, upload: Upload, jobs: list[JobRecord], positions: Mapping[str, tuple[int, str]]
    ) -> dict[str, Any]:
        received = upload.size
        if upload.state == REJECTED:
            received = 0
        elif upload.state == UPLOADING:
            try:
                received = self._settings.upload_path(upload.id, upload.suffix).stat().st_size
            except OSError:
                received = 0
        expires = expiry_time(upload, jobs, self._settings)
        return {
            **{name: getattr(upload, name) for name in _UPLOAD_FIELDS},
            **{name: upload.properties.get(name) for name in _PROPERTIES},
            "values": upload.properties.get("values", {}),
            "received": received,
            "expires": expires,
            "jobs": [self._job(job, positions, expires) for job in jobs],
        }

    def _job(
        self, job: JobRecord, positions: Mapping[str, tuple[int, str]], expires: float | None
    ) -> dict[str, Any]:
        result = None
        if job.state == DONE and job.result is not None:
            result = {**job.result, "notices": job.notices, "expires": expires}
        return {
            **{name: getattr(job, name) for name in _JOB_FIELDS},
            "video": job.upload_id,
            "position": positions[job.id][0] if job.state == QUEUED and job.id in positions else None,
            "values": job.details,
            "resumable": job.is_resumable,
            "result": result,
        }
