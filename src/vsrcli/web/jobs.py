"""Asking for a conversion, and looking at what has become of it.

A visitor's films.

Results: the film itself, in ranges where that is asked for, and frames to compare.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vsrcli.system.text import format_bytes
from vsrcli.web import cleanup
from vsrcli.web.auth import require_owned_job, require_owned_upload
from vsrcli.web.conversion import job_command, without_paths
from vsrcli.web.errors import ApiError, not_found
from vsrcli.web.metrics import Metrics, anonymize_id, event
from vsrcli.web.options import JobRequest, parse_job_request
from vsrcli.web.serializers import Serializer
from vsrcli.web.settings import Settings
from vsrcli.web.store import DONE, QUEUED, READY, JobRecord, Store, Upload, now
from vsrcli.web.subprocesses import ChildTimeoutError, inspect_file, run_json
from vsrcli.web.uploads import UploadRoutes
from vsrcli.web.worker import Queue, QueueGone

_BODY = 16 * 1024  # bytes of a request
_JOINED = 2  # while segments are joined, a result lies on the disk twice


class JobRoutes:
    """The handlers.

    Args:
        store: films and jobs.
        settings: limits.
        shown: makes JSON.
        queue: where jobs wait for a worker.
    """

    def __init__(self, store: Store, settings: Settings, shown: Serializer, queue: Queue) -> None:
        self._store, self._settings, self._shown, self._queue = store, settings, shown, queue
        self._trials = CapacityLimiter(2)

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [
            Route("/api/films/{film}/jobs", self.create, methods=["POST"]),
            Route("/api/jobs/{job}", self.get, methods=["GET"]),
            Route("/api/jobs/{job}", self.delete, methods=["DELETE"]),
            Route("/api/jobs/{job}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """A new job, if ``vsr upscale`` would do it."""
        wanted = parse_job_request(await _json(request))
        film = await run_sync(require_owned_upload, self._store, request)
        if film.state != READY:
            raise ApiError(
                409, "not_ready", f"{film.name} cannot be converted yet: it has not arrived, or is looked at."
            )
        job = await run_sync(self._try, film, wanted, limiter=self._trials)
        content = await run_sync(self._add, film, job)
        event("job queued", job=anonymize_id(job.id), film=anonymize_id(film.id), **wanted.options)
        return JSONResponse(content, 201, {"Location": f"/api/jobs/{job.id}"})

    def _try(self, film: Upload, wanted: JobRequest) -> JobRecord:
        """The command itself, dry: what it would make."""
        settings, job = self._settings, secrets.token_urlsafe(16)
        suffix = wanted.suffix(film.facts["container"])
        source, target = settings.film(film.id, film.suffix), settings.result(job, suffix)
        target.parent.mkdir(parents=True)
        try:
            plan = self._plan(film, wanted, source, target)
            width, height = plan["target_size"]
            if width * height > settings.max_result:
                raise ApiError(
                    413,
                    "result_too_large",
                    f"{film.name} would have {width}x{height} pixels, more than this server makes "
                    f"({settings.max_result:,}); choose a smaller size.",
                    limit=settings.max_result,
                    width=width,
                    height=height,
                )
        except BaseException:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        growth = max(width / plan["source_size"][0], 1)
        return JobRecord(
            id=job,
            film=film.id,
            session=film.session,
            options=wanted.options,
            arguments=list(wanted.arguments),
            suffix=suffix,
            state=QUEUED,
            cancel=False,
            done=0,
            total=film.facts["frames"],
            fps=None,
            eta=None,
            message="",
            code=None,
            details={},
            notices=[without_paths(text, source, target, film.name) for text in plan["notices"]],
            result={"width": width, "height": height},
            runner=None,
            bytes=round(film.size * growth * _JOINED),
            created=now(),
            started=None,
            finished=None,
            deleted=False,
        )

    def _plan(self, film: Upload, wanted: JobRequest, source: Path, target: Path) -> dict[str, Any]:
        command = job_command(source, target, wanted.arguments, self._settings.devices[0])
        try:
            found = run_json(
                [*command, "--dry-run", "--progress-fd", "1"],
                seconds=self._settings.check_seconds,
                cwd=str(target.parent),
            )
        except ChildTimeoutError:
            raise ApiError(422, "plan_time", f"{film.name}: planning the conversion took too long.") from None
        for message in found:
            if message.get("message_type") == "plan":
                return message
        error = inspect_file(found, "text")
        if error is None:
            raise RuntimeError("vsr upscale --dry-run ended without a word")  # for the log: status 500
        raise ApiError(
            422, "unknown_option", f"{without_paths(error, source, target, film.name)}.", option="body"
        )

    def _add(self, film: Upload, job: JobRecord) -> dict[str, Any]:
        settings = self._settings
        exceeded = self._store.add_job(job, most=settings.jobs, quota=settings.quota)
        try:
            if exceeded == "film":
                raise not_found()
            if exceeded == "jobs":
                raise ApiError(
                    429,
                    "too_many_jobs",
                    f"{settings.jobs} jobs of yours wait or run already; let one finish, or cancel it.",
                    limit=settings.jobs,
                )
            if exceeded == "quota":
                left = max(settings.quota - self._store.bytes_used(), 0)
                raise ApiError(
                    413,
                    "quota",
                    f"There is no room for the result of {film.name}: about {format_bytes(job.bytes)} are "
                    f"needed, and {format_bytes(left)} are left on this server. Delete what you have downloaded, "
                    "or come back later.",
                    left=left,
                )
            self._queue.put(job.id)
        except QueueGone as error:
            self._store.delete_job(job.id)
            shutil.rmtree(settings.job(job.id), ignore_errors=True)
            raise ApiError(
                503, "queue", "The queue of jobs does not answer; try again in a moment."
            ) from error
        except ApiError:
            shutil.rmtree(settings.job(job.id), ignore_errors=True)
            raise
        return self._shown.job(job)

    async def get(self, request: Request) -> Response:
        """What has become of it."""
        return JSONResponse(await run_sync(lambda: self._shown.job(require_owned_job(self._store, request))))

    async def cancel(self, request: Request) -> Response:
        """Nobody wants it any more; what it has made goes."""
        return JSONResponse(await run_sync(self._cancel, request))

    def _cancel(self, request: Request) -> dict[str, Any]:
        job = require_owned_job(self._store, request)
        if not job.pending:
            raise ApiError(409, "finished", "This job is over; there is nothing to cancel.")
        cleanup.cancel(self._store, job)
        event("job cancelled", job=anonymize_id(job.id))
        return self._shown.job(require_owned_job(self._store, request))

    async def delete(self, request: Request) -> Response:
        """Take a job away with its result."""
        await run_sync(
            lambda: cleanup.remove_job(self._store, self._settings, require_owned_job(self._store, request))
        )
        return Response(status_code=204)


async def _json(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "bad_request", "The request's body has to be JSON (application/json).")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY:
            raise ApiError(413, "bad_request", "The request's body is too long.")
    try:
        return json.loads(body or b"{}")
    except ValueError:
        raise ApiError(400, "bad_request", "The request's body is no JSON.") from None


class VideoRoutes:
    """The handlers.

    Args:
        store: films.
        shown: makes JSON.
        uploads: knows which of them are being written.
    """

    def __init__(self, store: Store, shown: Serializer, uploads: UploadRoutes) -> None:
        self._store, self._shown, self._uploads = store, shown, uploads

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [
            Route("/api/films", self.list, methods=["GET"]),
            Route("/api/films/{film}", self.get, methods=["GET"]),
            Route("/api/films/{film}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """All that this visitor has."""
        return JSONResponse({"films": await run_sync(self._shown.films, request.state.session)})

    async def get(self, request: Request) -> Response:
        """One of them."""
        return JSONResponse(
            await run_sync(lambda: self._shown.film(require_owned_upload(self._store, request)))
        )

    async def delete(self, request: Request) -> Response:
        """Take one away."""
        await self._uploads.delete(await run_sync(require_owned_upload, self._store, request))
        return Response(status_code=204)


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
            event("download", job=anonymize_id(job.id), range=request.headers.get("range", "")[:40])
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
