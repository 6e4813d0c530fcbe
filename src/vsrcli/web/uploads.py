"""Resumable uploads: tus 1.0.0 (https://tus.io/protocols/resumable-upload), core, creation, expiration and
termination.

The offset of an upload is the size of its file and nothing else, so it survives a killed server.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import secrets
import shutil
import sqlite3
import unicodedata
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsrcli.system.processes import python_command
from vsrcli.system.signals import current_token
from vsrcli.system.text import format_bytes
from vsrcli.web.auth import require_owned_upload
from vsrcli.web.cleanup import delete_upload
from vsrcli.web.errors import ApiError, not_found, server_stopping
from vsrcli.web.metrics import LOGGER, Metrics, anonymize_id, log_event
from vsrcli.web.settings import Settings
from vsrcli.web.store import CHECKING, READY, REJECTED, UPLOADING, Store, Upload, now
from vsrcli.web.subprocesses import (
    ChildCancelledError,
    ChildTimeoutError,
    first_value,
    run_json,
)
from vsrcli.web.upload_writer import UploadWriters

TUS_VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
_MAX_NAME_BYTES = 200
_SUFFIXES = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|ts|m2ts|mts|mpg|mpeg|vob|wmv|asf|flv|f4v|3gp|3g2|ogv|mxf|y4m|nut|dv|gif|apng|"
    "ivf|h264|h265|hevc|264|265|av1|obu|divx|rm|rmvb|wtv)"
)


class UploadRoutes:
    """The routes of ``/files``."""

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        self._store, self._settings, self._metrics = store, settings, metrics
        self._writers = UploadWriters(settings.stall_timeout, metrics.uploaded_bytes.inc)
        self._check_limiter = CapacityLimiter(2)
        self._checks: dict[str, asyncio.Task[ApiError | None]] = {}
        self.routes = [
            Route("/files", self.options, methods=["OPTIONS"]),
            Route("/files", self.create, methods=["POST"]),
            Route("/files/{video}", self.options, methods=["OPTIONS"]),
            Route("/files/{video}", self.head, methods=["HEAD"]),
            Route("/files/{video}", self.patch, methods=["PATCH"]),
            Route("/files/{video}", self.terminate, methods=["DELETE"]),
        ]

    def is_in_use(self, upload_id: str) -> bool:
        """Return whether an upload is being received or checked."""
        return self._writers.is_in_use(upload_id) or upload_id in self._checks

    async def options(self, request: Request) -> Response:
        """Describe the server's support of tus."""
        headers = {
            "Tus-Version": TUS_VERSION,
            "Tus-Extension": "creation,expiration,termination",
            "Tus-Max-Size": self._settings.max_upload,
        }
        return _tus_response(204, headers)

    async def create(self, request: Request) -> Response:
        """Create an upload; every limit that can be known is checked before the first byte."""
        _check_version(request)
        if "upload-defer-length" in request.headers:
            raise ApiError(400, "bad_request", "The size of a video has to be known when its upload starts.")
        size = _parse_length(request, "upload-length")
        metadata = _parse_metadata(request.headers.get("upload-metadata", ""))
        name = sanitize_name(metadata.get("filename", ""))
        limit = self._settings.max_upload
        if size > limit:
            text = f"{name} is too large ({format_bytes(size)}): this server accepts videos up to "
            raise ApiError(413, "too_large", f"{text}{format_bytes(limit)}.", limit=limit)
        if size == 0:
            raise ApiError(422, "empty", f"{name} is empty (0 bytes); choose another file.")
        upload = await run_sync(self._create, request.state.session, name, metadata.get("filetype", ""), size)
        log_event("upload started", video=anonymize_id(upload.id), size=size)
        headers = {"Location": f"/files/{upload.id}", "Upload-Expires": self._expires(upload)}
        return _tus_response(201, headers)

    async def head(self, request: Request) -> Response:
        """Send the offset of an upload; a request that still writes is ended first.

        Clients send nothing more when all bytes are there, so the check is started if no request could.
        """
        _check_version(request)
        upload = await self._require_upload(request)
        async with self._writers.exclusive(upload.id):
            upload = await self._require_upload(request)  # its state after the request that was interrupted
            offset = await run_sync(self._offset, upload)
            await self._check_if_complete(upload, offset)
        metadata = {"filename": upload.name, "filetype": upload.media_type}
        headers = {
            "Upload-Offset": offset,
            "Upload-Length": upload.size,
            "Upload-Metadata": ",".join(
                f"{key} {base64.b64encode(value.encode()).decode()}"
                for key, value in metadata.items()
                if value
            ),
            "Upload-Expires": self._expires(upload),
            "Cache-Control": "no-store",
        }
        return _tus_response(200, headers)

    async def patch(self, request: Request) -> Response:
        """Append bytes at the offset; after the last one, wait for the check of the video."""
        _check_version(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != CONTENT_TYPE:
            raise ApiError(415, "bad_request", f"An upload's bytes come as {CONTENT_TYPE}.")
        requested_offset = _parse_length(request, "upload-offset")
        upload = await self._require_upload(request)
        async with self._writers.exclusive(upload.id) as writer:
            upload = await self._require_upload(request)  # its state after the request that was interrupted
            offset = await run_sync(self._offset, upload)
            if requested_offset != offset:
                text = f"The upload continues at byte {offset}, not at {requested_offset}."
                headers = {"Upload-Offset": str(offset)}
                raise ApiError(409, "offset", text, headers=headers, offset=offset)
            if upload.state == UPLOADING:
                try:
                    offset = await writer.receive(request, self._path(upload), upload.size, offset)
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._update(upload)
                await self._check_if_complete(upload, offset)
        if upload.id in self._checks and (error := await asyncio.shield(self._checks[upload.id])):
            raise error
        return _tus_response(204, {"Upload-Offset": offset, "Upload-Expires": self._expires(upload)})

    async def terminate(self, request: Request) -> Response:
        """Delete an upload, complete or not."""
        _check_version(request)
        upload = await self._require_upload(request)
        await self.delete(upload)
        return _tus_response(204, {})

    async def delete(self, upload: Upload) -> None:
        """Delete an upload with its jobs; a request that still writes is ended first."""
        await self._writers.interrupt(upload.id)
        await run_sync(delete_upload, self._store, self._settings, upload)
        log_event("video deleted", video=anonymize_id(upload.id))

    async def resume_checks(self) -> None:
        """Start the checks that the server was killed during, or before. Call once, at its start."""
        for upload in await run_sync(lambda: self._store.list_uploads(state=CHECKING)):
            self._start_check(upload)
        for upload in await run_sync(lambda: self._store.list_uploads(state=UPLOADING)):
            with contextlib.suppress(ApiError, sqlite3.Error):  # its file is missing, or the disk is full
                await self._check_if_complete(upload, await run_sync(self._offset, upload))

    async def _check_if_complete(self, upload: Upload, offset: int) -> None:
        """Start to check an upload that was not complete before if its last byte is there."""
        if upload.state == UPLOADING and offset == upload.size:
            await self._update(upload, state=CHECKING)
            self._start_check(upload)

    def _start_check(self, upload: Upload) -> None:
        task = asyncio.create_task(self._check(upload), name="check")
        self._checks[upload.id] = task
        task.add_done_callback(lambda _: self._checks.pop(upload.id, None))

    def close(self) -> None:
        """Cancel running checks; they are repeated after a restart."""
        for task in [*self._checks.values()]:
            task.cancel()

    def _create(self, session: str, name: str, media_type: str, size: int) -> Upload:
        upload = Upload(
            id=secrets.token_urlsafe(16),
            session=session,
            name=name,
            suffix=_video_suffix(name),
            media_type=media_type[:100],
            size=size,
            state=UPLOADING,
            created=now(),
            last_used=now(),
        )
        limit = self._settings.max_videos
        exceeded = self._store.add_upload(upload, max_count=limit, quota=self._settings.quota)
        if exceeded == "videos":
            text = f"You have {limit} videos here already; delete one first."
            raise ApiError(429, "too_many_videos", text, limit=limit)
        if exceeded == "quota":
            left = self._store.bytes_left(self._settings.quota)
            text = (
                f"There is not enough space for {name} ({format_bytes(size)}): {format_bytes(left)} are left "
            )
            text += "on this server. Delete videos that you have downloaded, or come back later."
            raise ApiError(413, "quota", text, left=left)
        path = self._path(upload)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return upload

    async def _check(self, upload: Upload) -> ApiError | None:
        """Check a complete upload; return why it was rejected, or None.

        If the server has to end meanwhile, its state stays, and the next start checks it again.
        """
        path, limiter = self._path(upload), self._check_limiter
        try:
            properties = await run_sync(_inspect_upload, path, upload.name, self._settings, limiter=limiter)
        except ChildCancelledError:
            return server_stopping()
        except Exception as error:
            if not isinstance(error, ApiError):
                LOGGER.exception("check failed", extra={"values": {"video": anonymize_id(upload.id)}})
                text = f"{upload.name} could not be checked; the server's log says more."
                error = ApiError(422, "error", text)
            await self._reject(upload, error)
            return error
        await self._update(upload, state=READY, properties=properties)
        logged = {key: properties[key] for key in ("width", "height", "frames", "duration")}
        log_event("video ready", video=anonymize_id(upload.id), **logged)
        return None

    async def _reject(self, upload: Upload, error: ApiError) -> None:
        await run_sync(lambda: shutil.rmtree(self._path(upload).parent, ignore_errors=True))
        properties = {"values": error.values}
        await self._update(
            upload, state=REJECTED, reason=error.message, code=error.code, properties=properties
        )
        self._metrics.rejected_videos.labels(error.code).inc()
        log_event("video rejected", video=anonymize_id(upload.id), code=error.code)

    async def _require_upload(self, request: Request) -> Upload:
        upload = await run_sync(require_owned_upload, self._store, request)
        if upload.state == REJECTED:
            raise ApiError(410, "gone", upload.reason or "The video was rejected, and its file is deleted.")
        return upload

    def _offset(self, upload: Upload) -> int:
        try:
            return self._path(upload).stat().st_size
        except FileNotFoundError:
            raise not_found() from None

    def _path(self, upload: Upload) -> Path:
        return self._settings.upload_path(upload.id, upload.suffix)

    async def _update(self, upload: Upload, **columns: Any) -> None:
        await run_sync(lambda: self._store.update_upload(upload.id, last_used=now(), **columns))

    def _expires(self, upload: Upload) -> str:
        return formatdate(upload.last_used + self._settings.keep, usegmt=True)


def _tus_response(status: int, headers: Mapping[str, object]) -> Response:
    texts = {name: str(value) for name, value in headers.items()}
    return Response(status_code=status, headers={"Tus-Resumable": TUS_VERSION, **texts})


def _check_version(request: Request) -> None:
    """Raise ApiError 412 for another version of tus."""
    if request.headers.get("tus-resumable") != TUS_VERSION:
        raise ApiError(
            412,
            "bad_request",
            f"Uploads need the header Tus-Resumable: {TUS_VERSION}.",
            headers={"Tus-Version": TUS_VERSION},
        )


def _parse_length(request: Request, header: str) -> int:
    """Return a header that holds a number of bytes; raise ApiError 400 for anything else."""
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ApiError(400, "bad_request", f"The header {header.title()} has to be a whole number of bytes.")
    return int(text)


def _parse_metadata(header: str) -> dict[str, str]:
    """Return the decoded values of ``key BASE64,key BASE64``; raise ApiError 400 for anything else."""
    values = {}
    for pair in header[:4096].split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            values[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeError, ValueError):
            raise ApiError(400, "bad_request", "The header Upload-Metadata cannot be read.") from None
    return values


def sanitize_name(name: str) -> str:
    """Return a file name without folders and control characters, of limited length, never empty."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip(" .")
    stem, suffix = Path(name).stem, Path(name).suffix[:16]
    stem = stem.encode()[: _MAX_NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore")
    return f"{stem}{suffix}" or "video"


def _video_suffix(name: str) -> str:
    """Return the suffix of an upload on the disk: that of its name if it is a known one, else ``.video``."""
    suffix = Path(name).suffix.lower()
    return suffix if _SUFFIXES.fullmatch(suffix) else ".video"


def _inspect_upload(path: Path, name: str, settings: Settings) -> dict[str, Any]:
    """Return the properties of an uploaded video, see :func:`vsrcli.web.inspection.describe_video`.

    Another process opens the file. Raise ApiError if it is no video, or exceeds a limit; ChildCancelledError
    if the server has to end.
    """
    cancel = current_token()  # the server's, also after it has ended
    try:
        messages = run_json(
            python_command("vsrcli.web.inspection", str(path)),
            timeout=settings.check_timeout,
            memory=settings.check_memory,
            is_cancelled=lambda: cancel.is_cancelled,
        )
    except ChildTimeoutError:
        text = f"{name}: checking it took longer than {settings.check_timeout:g} s; "
        text += "convert it to a common format first, such as MP4."
        raise ApiError(422, "check_timeout", text) from None
    video, error = first_value(messages, "video"), first_value(messages, "error")
    if error is not None:
        text = error.replace(repr(str(path)), name).replace(str(path), name).removesuffix(".")
        raise ApiError(422, "not_a_video", f"{text}.")
    if video is None:
        text = f"{name} could not be read: it took more memory than a video does; check the file."
        raise ApiError(422, "not_a_video", text)
    width, height, duration = video["width"], video["height"], video["duration"]
    if width * height > settings.max_pixels:
        text = f"{name} has {width}x{height} pixels, more than this server accepts "
        text += f"({settings.max_pixels:,}); scale it down first."
        limit = settings.max_pixels
        raise ApiError(422, "too_many_pixels", text, limit=limit, width=width, height=height)
    if duration > settings.max_duration:
        text = f"{name} lasts {duration:,.0f} s, longer than this server accepts "
        text += f"({settings.max_duration:,.0f} s); trim it first."
        raise ApiError(422, "too_long", text, limit=settings.max_duration, duration=duration)
    if not video["frames"]:
        raise ApiError(422, "not_a_video", f"{name} holds no frame; check the file.")
    return video
