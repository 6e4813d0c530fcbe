"""Films and jobs as the page sees them, see docs/web.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vsrcli.web.settings import Settings
from vsrcli.web.store import DONE, QUEUED, READY, UPLOADING, JobRecord, Store, Upload

_FACTS = ("width", "height", "fps", "frames", "duration", "sound")


class Serializer:
    """Makes plain JSON of what the store holds.

    Args:
        store: films and jobs.
        settings: of the server.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings

    def films(self, session: str) -> list[dict[str, Any]]:
        """All films of a session, oldest first, with their jobs."""
        films = self._store.list_uploads(session)
        jobs = self._store.list_jobs(session=session) if films else []
        places = self._store.queue_positions() if any(job.state == QUEUED for job in jobs) else {}
        return [self._film(film, [job for job in jobs if job.film == film.id], places) for film in films]

    def film(self, film: Upload) -> dict[str, Any]:
        """One film, with its jobs."""
        return self._film(film, self._store.list_jobs(film=film.id), self._store.queue_positions())

    def job(self, job: JobRecord) -> dict[str, Any]:
        """One job."""
        return self._job(job, self._store.queue_positions() if job.state == QUEUED else {})

    def _film(
        self, film: Upload, jobs: Iterable[JobRecord], places: Mapping[str, tuple[int, str]]
    ) -> dict[str, Any]:
        jobs = list(jobs)
        return {
            "id": film.id,
            "name": film.name,
            "size": film.size,
            "received": self._received(film),
            "state": film.state,
            "reason": film.reason,
            "code": film.code,
            "values": film.facts.get("values", {}),
            **{name: film.facts.get(name) for name in _FACTS},
            "created": film.created,
            "expires": self.expires(film, jobs),
            "jobs": [self._job(job, places) for job in jobs],
        }

    def expires(self, film: Upload, jobs: Iterable[JobRecord]) -> float | None:
        """When a film's files go; None while a job waits or runs."""
        if any(job.pending for job in jobs):
            return None
        return max([film.touched, *(job.finished or 0 for job in jobs)]) + self._settings.keep

    def _received(self, film: Upload) -> int:
        if film.state != UPLOADING:
            return film.size if film.state != "refused" else 0
        try:
            return self._settings.film(film.id, film.suffix).stat().st_size
        except OSError:
            return 0

    def _job(self, job: JobRecord, places: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
        place = places.get(job.id)
        return {
            "id": job.id,
            "film": job.film,
            "options": dict(job.options),
            "state": job.state,
            "position": place[0] if place and job.state == QUEUED else None,
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


def ready(film: Upload) -> bool:
    """Whether a film may be converted."""
    return film.state == READY
