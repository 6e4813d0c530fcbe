"""Routes of videos, jobs and results."""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vsrcli.system.signals import current_token
from vsrcli.system.text import format_bytes
from vsrcli.web.auth import require_owned_job, require_owned_upload
from vsrcli.web.cleanup import cancel_job, delete_job
from vsrcli.web.conversion import hide_paths, job_command
from vsrcli.web.errors import NO_MESSAGE, ApiError, not_found, server_stopping
from vsrcli.web.metrics import Metrics, anonymize_id, log_event
from vsrcli.web.options import JobRequest, parse_job_request
from vsrcli.web.serializers import Serializer
from vsrcli.web.settings import Settings
from vsrcli.web.store import DONE, FAILED, QUEUED, READY, JobRecord, Store, Upload, now
from vsrcli.web.subprocesses import ChildCancelledError, ChildTimeoutError, first_value, run_json
from vsrcli.web.uploads import UploadRoutes
from vsrcli.web.worker import JobQueue, QueueUnavailableError

_MAX_BODY = 16 * 1024  # bytes of a request
_RESULT_COPIES = 2  # while segments are joined, a result is on the disk twice
_MEDIA_TYPES = {".mp4": "video/mp4", ".mkv": "video/x-matroska", ".mov": "video/quicktime"}
_PREVIEW_SIDES = ("before", "after")


class VideoRoutes:
    """The routes of ``/api/videos``."""

    def __init__(self, store: Store, serializer: Serializer, uploads: UploadRoutes) -> None:
        self._store, self._serializer, self._uploads = store, serializer, uploads
        self.routes = [
            Route("/api/videos", self.list),
            Route("/api/videos/{video}", self.get),
            Route("/api/videos/{video}", self.delete, methods=["DELETE"]),
        ]

    def list(self, request: Request) -> Response:
        """Return all videos of the session."""
        return JSONResponse({"videos": self._serializer.videos(request.state.session)})

    def get(self, request: Request) -> Response:
        """Return one video."""
        return JSONResponse(self._serializer.video(require_owned_upload(self._store, request)))

    async def delete(self, request: Request) -> Response:
        """Delete a video with its jobs, also while it is being received."""
        await self._uploads.delete(await run_sync(require_owned_upload, self._store, request))
        return Response(status_code=204)


class JobRoutes:
    """The routes of ``/api/jobs``, and the one that creates jobs."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        serializer: Serializer,
        queue: JobQueue,
        downloads: DownloadRoutes,
    ) -> None:
        self._store, self._settings, self._serializer, self._queue = store, settings, serializer, queue
        self._downloads = downloads
        self._planning = CapacityLimiter(2)
        self.routes = [
            Route("/api/videos/{video}/jobs", self.create, methods=["POST"]),
            Route("/api/jobs/{job}", self.get),
            Route("/api/jobs/{job}", self.delete, methods=["DELETE"]),
            Route("/api/jobs/{job}/cancel", self.cancel, methods=["POST"]),
            Route("/api/jobs/{job}/resume", self.resume, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """Queue a new job if ``vsr upscale --dry-run`` accepts it."""
        job_request = parse_job_request(await _read_json(request), all_models=self._settings.all_models)
        upload = await run_sync(require_owned_upload, self._store, request)
        if upload.state != READY:
            raise ApiError(
                409, "not_ready", f"{upload.name} cannot be converted yet: it is being uploaded or checked."
            )
        job = await run_sync(self._plan_job, upload, job_request, limiter=self._planning)
        try:
            await run_sync(self._enqueue, upload, job)
        except ApiError:
            shutil.rmtree(self._settings.job_dir(job.id), ignore_errors=True)
            raise
        log_event(
            "job queued", job=anonymize_id(job.id), video=anonymize_id(upload.id), **job_request.options
        )
        content = await run_sync(self._serializer.job, job)
        return JSONResponse(content, 201, {"Location": f"/api/jobs/{job.id}"})

    def get(self, request: Request) -> Response:
        """Return one job."""
        return JSONResponse(self._serializer.job(require_owned_job(self._store, request)))

    def cancel(self, request: Request) -> Response:
        """Cancel a job; its files are deleted."""
        job = require_owned_job(self._store, request)
        if not job.is_pending:
            raise ApiError(409, "finished", "This job has finished; there is nothing to cancel.")
        if cancel_job(self._store, job):  # what it had finished before an interruption
            shutil.rmtree(self._settings.job_dir(job.id), ignore_errors=True)
        log_event("job cancelled", job=anonymize_id(job.id))
        return self.get(request)

    def resume(self, request: Request) -> Response:
        """Queue a failed job again, which goes on with what it has finished."""
        job = require_owned_job(self._store, request)
        upload = self._store.get_upload(job.upload_id)
        if upload is None:
            raise not_found()
        if not job.is_pending:  # by another page, perhaps
            self._resume(upload, job)
            log_event("job resumed", job=anonymize_id(job.id))
        return self.get(request)

    def delete(self, request: Request) -> Response:
        """Delete a job with its result."""
        job = require_owned_job(self._store, request)
        delete_job(self._store, self._settings, job, self._downloads.is_in_use)
        return Response(status_code=204)

    def _plan_job(self, upload: Upload, job_request: JobRequest) -> JobRecord:
        """Plan the conversion with the command itself; raise ApiError if it is not possible."""
        settings, job_id = self._settings, secrets.token_urlsafe(16)
        suffix = job_request.result_suffix(upload.properties["container"])
        source = settings.upload_path(upload.id, upload.suffix)
        target = settings.result_path(job_id, suffix)
        arguments = job_request.arguments_for(upload.properties["width"], upload.properties["height"])
        target.parent.mkdir(parents=True)
        try:
            plan = self._plan(upload, arguments, source, target)
            width, height = plan["target_size"]
            if width * height > settings.max_result:
                text = f"{upload.name} would have {width}x{height} pixels, more than this server allows "
                text += f"({settings.max_result:,}); choose a smaller size."
                limit = settings.max_result
                raise ApiError(413, "result_too_large", text, limit=limit, width=width, height=height)
        except BaseException:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        return JobRecord(
            id=job_id,
            upload_id=upload.id,
            session=upload.session,
            options=job_request.options,
            arguments=arguments,
            suffix=suffix,
            state=QUEUED,
            created=now(),
            total=upload.properties["frames"],
            notices=[hide_paths(text, source, target, upload.name) for text in plan["notices"]],
            result={"width": width, "height": height},
            disk_bytes=_expected_bytes(upload, width),
        )

    def _plan(self, upload: Upload, arguments: list[str], source: Path, target: Path) -> dict[str, Any]:
        command = job_command(source, target, arguments, self._settings.devices[0])
        cancel = current_token()  # the server's, also after it has ended
        try:
            messages = run_json(
                [*command, "--dry-run", "--progress-fd", "1"],
                timeout=self._settings.check_timeout,
                cwd=target.parent,
                is_cancelled=lambda: cancel.is_cancelled,
            )
        except ChildTimeoutError:
            text = f"{upload.name}: planning the conversion took too long."
            raise ApiError(422, "plan_timeout", text) from None
        except ChildCancelledError:
            raise server_stopping() from None
        for message in messages:
            if message.get("message_type") == "plan":
                return message
        error = first_value(messages, "text")
        if error is None:
            raise RuntimeError("vsr upscale --dry-run ended without a message")  # for the log: status 500
        text = f"{hide_paths(error, source, target, upload.name)}."
        raise ApiError(422, "unknown_option", text, option="body")

    def _enqueue(self, upload: Upload, job: JobRecord) -> None:
        settings = self._settings
        exceeded = self._store.add_job(job, max_count=settings.max_jobs, quota=settings.quota)
        if exceeded == "upload":
            raise not_found()
        self._check_limits(exceeded, upload, job.disk_bytes)
        try:
            self._queue.enqueue(job.id)
        except QueueUnavailableError as error:
            self._store.delete_job(job.id)
            raise _queue_error() from error

    def _resume(self, upload: Upload, job: JobRecord) -> None:
        gone = ApiError(410, "gone", "Nothing is left to go on with; convert the video again.")
        if not job.is_resumable or job.result is None:
            raise gone
        settings, size = self._settings, max(job.disk_bytes, _expected_bytes(upload, job.result["width"]))
        exceeded = self._store.resume_job(
            job,
            disk_bytes=size,
            max_count=settings.max_jobs,
            quota=settings.quota,
            **NO_MESSAGE.job_columns(),
        )
        if exceeded == "state":
            raise gone
        self._check_limits(exceeded, upload, size)
        try:
            self._queue.enqueue(job.id)
        except QueueUnavailableError as error:
            before = {name: getattr(job, name) for name in ("message", "code", "details", "disk_bytes")}
            self._store.transition_job(job.id, QUEUED, FAILED, **before)
            raise _queue_error() from error

    def _check_limits(self, exceeded: str | None, upload: Upload, size: int) -> None:
        """Raise ApiError if a limit is exceeded, ``jobs`` or ``quota``."""
        settings = self._settings
        if exceeded == "jobs":
            limit = settings.max_jobs
            text = f"{limit} of your jobs are queued or running; let one finish, or cancel it."
            raise ApiError(429, "too_many_jobs", text, limit=limit)
        if exceeded == "quota":
            left = self._store.bytes_left(settings.quota)
            text = f"There is not enough space for the result of {upload.name}: it needs about "
            text += f"{format_bytes(size)}, and {format_bytes(left)} are left on this server. "
            text += "Delete what you have downloaded, or come back later."
            raise ApiError(413, "quota", text, left=left)


def _expected_bytes(upload: Upload, width: int) -> int:
    """Return the bytes that a result of this width is expected to need."""
    growth = max(width / upload.properties["width"], 1)
    return round(upload.size * growth * _RESULT_COPIES)


def _queue_error() -> ApiError:
    return ApiError(503, "queue", "The queue of jobs does not answer; try again in a moment.")


async def _read_json(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "bad_request", "The request's body has to be JSON (application/json).")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise ApiError(413, "bad_request", "The request's body is too long.")
    try:
        return json.loads(body or b"{}")
    except ValueError:
        raise ApiError(400, "bad_request", "The request's body is no JSON.") from None


class DownloadRoutes:
    """The routes of results: the video itself, with ranges, and previews."""

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        self._store, self._settings, self._metrics = store, settings, metrics
        self._active: Counter[str] = Counter()  # responses by job
        self.routes = [
            Route("/api/jobs/{job}/download", self.download),
            Route("/api/jobs/{job}/frames/{number:int}/{side}.png", self.frame),
        ]

    def is_in_use(self, job_id: str) -> bool:
        """Return whether files of a job are being sent."""
        return self._active[job_id] > 0

    def download(self, request: Request) -> Response:
        """Send the upscaled video."""
        job = self._finished_job(request)
        assert job.result is not None
        if request.method == "GET":
            self._metrics.downloads.inc()
            log_event("download", job=anonymize_id(job.id), range=request.headers.get("range", "")[:40])
        return _TrackedFileResponse(
            self._active,
            job.id,
            self._settings.result_path(job.id, job.suffix),
            media_type=_MEDIA_TYPES[job.suffix],
            filename=job.result["name"],
        )

    def frame(self, request: Request) -> Response:
        """Send a preview: a frame of the source, or the same frame of the result."""
        job = self._finished_job(request)
        number, side = request.path_params["number"], request.path_params["side"]
        previews = len(job.result.get("preview_times", ())) if job.result else 0
        if side not in _PREVIEW_SIDES or number >= previews:
            raise not_found()
        path = self._settings.job_dir(job.id) / f"{side}-{number}.png"
        caching = {"Cache-Control": "private, max-age=3600, immutable"}
        return _TrackedFileResponse(self._active, job.id, path, media_type="image/png", headers=caching)

    def _finished_job(self, request: Request) -> JobRecord:
        job = require_owned_job(self._store, request)
        if job.state != DONE:
            raise ApiError(409, "not_finished", "This job has no result (yet).")
        if not self._settings.result_path(job.id, job.suffix).exists():
            raise ApiError(410, "gone", "The result has expired and was deleted; convert the video again.")
        return job


class _TrackedFileResponse(FileResponse):
    """A file that is not deleted while it is sent: its job counts as in use."""

    def __init__(self, active: Counter[str], job_id: str, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._active, self._job_id = active, job_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._active[self._job_id] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._active[self._job_id] -= 1
            if not self._active[self._job_id]:
                del self._active[self._job_id]
