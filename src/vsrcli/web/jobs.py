"""Asking for a conversion, and looking at what has become of it."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli.web import cleanup, logs
from vsrcli.web.asked import JobRequest, parse_job_request
from vsrcli.web.own import require_owned_job, require_owned_upload
from vsrcli.web.queues import Queue, QueueGone
from vsrcli.web.records import QUEUED, READY, JobRecord, Upload
from vsrcli.web.refusal import ApiError, format_bytes, not_found
from vsrcli.web.serializers import Serializer
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store, now
from vsrcli.web.subprocesses import ChildTimeoutError, inspect_file, python, run_json

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
        logs.event(
            "job queued", job=logs.anonymize_id(job.id), film=logs.anonymize_id(film.id), **wanted.options
        )
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
        command = upscale(source, target, wanted.arguments, self._settings.devices[0])
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
        logs.event("job cancelled", job=logs.anonymize_id(job.id))
        return self._shown.job(require_owned_job(self._store, request))

    async def delete(self, request: Request) -> Response:
        """Take a job away with its result."""
        await run_sync(
            lambda: cleanup.remove_job(self._store, self._settings, require_owned_job(self._store, request))
        )
        return Response(status_code=204)


def upscale(source: Path, target: Path, arguments: tuple[str, ...] | list[str], device: str) -> list[str]:
    """The command line of a job: the same every time, so that an interrupted one is continued."""
    return python("vsrcli", "upscale", str(source), str(target), *arguments, "--gpu", device, "-q")


def without_paths(text: str, source: Path, target: Path, name: str) -> str:
    """The command's words for somebody who knows neither our files nor our options."""
    for path, shown in ((target, "the result"), (source, name)):
        text = text.replace(repr(str(path)), shown).replace(str(path), shown)
    text = text.replace(str(target.parent), "the server").partition("; see `vsr")[0].partition("; -v -v")[0]
    if text.startswith("Invalid value for "):
        text = text.partition(": ")[2]
    return text.rstrip(".")


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
