"""JSON of videos and jobs, as docs/web.md describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vsrcli.web.settings import Settings
from vsrcli.web.store import DONE, QUEUED, REJECTED, UPLOADING, JobRecord, Store, Upload

_PROPERTIES = ("width", "height", "fps", "frames", "duration", "audio")


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
        uploads = self._store.list_uploads(session)
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
        return self._job(job, self._store.queue_positions() if job.state == QUEUED else {})

    def expires(self, upload: Upload, jobs: Iterable[JobRecord]) -> float | None:
        """Return when the files of an upload are deleted; None while a job is queued or running."""
        if any(job.is_pending for job in jobs):
            return None
        return max([upload.last_used, *(job.finished or 0 for job in jobs)]) + self._settings.keep

    def _video(
        self, upload: Upload, jobs: list[JobRecord], positions: Mapping[str, tuple[int, str]]
    ) -> dict[str, Any]:
        return {
            "id": upload.id,
            "name": upload.name,
            "size": upload.size,
            "received": self._received_bytes(upload),
            "state": upload.state,
            "reason": upload.reason,
            "code": upload.code,
            "values": upload.properties.get("values", {}),
            **{name: upload.properties.get(name) for name in _PROPERTIES},
            "created": upload.created,
            "expires": self.expires(upload, jobs),
            "jobs": [self._job(job, positions) for job in jobs],
        }

    def _received_bytes(self, upload: Upload) -> int:
        if upload.state != UPLOADING:
            return upload.size if upload.state != REJECTED else 0
        try:
            return self._settings.upload_path(upload.id, upload.suffix).stat().st_size
        except OSError:
            return 0

    def _job(self, job: JobRecord, positions: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
        position = positions.get(job.id)
        return {
            "id": job.id,
            "video": job.upload_id,
            "options": dict(job.options),
            "state": job.state,
            "position": position[0] if position and job.state == QUEUED else None,
            "done": job.done,
            "total": job.total,
            "fps": job.fps,
            "eta": job.eta,
            "message": job.message,
            "code": job.code,
            "values": dict(job.details),
            "created": job.created,
            "started": job.started,
            "finished": job.finished,
            "result": self._result(job),
        }

    def _result(self, job: JobRecord) -> dict[str, Any] | None:
        if job.state != DONE or job.result is None:
            return None
        return {
            **job.result,
            "notices": job.notices,
            "expires": None if job.finished is None else job.finished + self._settings.keep,
        }
