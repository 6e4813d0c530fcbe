"""Results: the film itself, in ranges where that is asked for, and frames to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vsrcli.web import logs
from vsrcli.web.metrics import Metrics
from vsrcli.web.own import require_owned_job
from vsrcli.web.records import DONE, JobRecord
from vsrcli.web.refusal import ApiError, not_found
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store

_TYPES = {".mp4": "video/mp4", ".mkv": "video/x-matroska", ".mov": "video/quicktime"}
_SIDES = ("before", "after")


class DownloadRoutes:
    """The handlers.

    Args:
        store: jobs.
        settings: where files lie.
        metrics: told of downloads.
    """

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        self._store, self._settings, self._metrics = store, settings, metrics
        self._running: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [
            Route("/api/jobs/{job}/download", self.download, methods=["GET"]),
            Route("/api/jobs/{job}/frames/{number:int}/{side}.png", self.frame, methods=["GET"]),
        ]

    def in_use(self, job: str) -> bool:
        """Whether somebody reads a job's files at this moment."""
        return self._running[job] > 0

    async def download(self, request: Request) -> Response:
        """The new film."""
        job = await run_sync(self._finished, request)
        assert job.result is not None
        path = self._settings.result(job.id, job.suffix)
        if request.method == "GET":
            self._metrics.sent.inc()
            logs.event("download", job=logs.anonymize_id(job.id), range=request.headers.get("range", "")[:40])
        media_type = _TYPES.get(job.suffix, "application/octet-stream")
        return self._file(job, path, media_type=media_type, filename=job.result["name"])

    async def frame(self, request: Request) -> Response:
        """A frame of the film, or of the result."""
        job = await run_sync(self._finished, request)
        number, side = request.path_params["number"], request.path_params["side"]
        if job.result is None or side not in _SIDES or number >= job.result.get("previews", 0):
            raise not_found()
        path = self._settings.job(job.id) / f"{side}-{number}.png"
        keep = {"Cache-Control": "private, max-age=3600, immutable"}
        return self._file(job, path, media_type="image/png", headers=keep)

    def _finished(self, request: Request) -> JobRecord:
        job = require_owned_job(self._store, request)
        if job.state != DONE:
            raise ApiError(409, "not_finished", "This job has no result (yet).")
        if not self._settings.result(job.id, job.suffix).exists():
            raise ApiError(410, "gone", "The result has expired and was deleted; convert the film again.")
        return job

    def _file(self, job: JobRecord, path: Path, **options: Any) -> Response:
        return _Held(self._running, job.id, path, options)


class _Held(Response):
    """A file that is not swept away while it is sent."""

    def __init__(self, running: Counter[str], job: str, path: Path, options: Mapping[str, Any]) -> None:
        self._running, self._job = running, job
        self._file = FileResponse(path, **options)
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running[self._job] += 1
        try:
            await self._file(scope, receive, send)
        finally:
            self._running[self._job] -= 1
            if not self._running[self._job]:
                del self._running[self._job]
