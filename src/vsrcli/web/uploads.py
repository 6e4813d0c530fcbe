"""Uploads that can be interrupted: tus 1.0.0 (https://tus.io/protocols/resumable-upload), core, creation,
expiration, termination.

How far an upload has come is the size of its file and nothing else, so a killed server knows, too.

What headers of tus 1.0.0 say, and what a film may be called.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
import shutil
import unicodedata
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsrcli.system.text import format_bytes
from vsrcli.web.auth import require_owned_upload
from vsrcli.web.cleanup import delete_files
from vsrcli.web.errors import ApiError, not_found
from vsrcli.web.metrics import LOGGER, Metrics, anonymize_id, event
from vsrcli.web.settings import Settings
from vsrcli.web.store import CHECKING, READY, REFUSED, UPLOADING, Store, Upload, now
from vsrcli.web.upload_check import check
from vsrcli.web.upload_writer import UploadWriters

VERSION = "1.0.0"
TUS_HEADERS = {"Tus-Resumable": VERSION}
CONTENT_TYPE = "application/offset+octet-stream"
_NAME = 200  # bytes of a name
_SUFFIXES = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|ts|m2ts|mts|mpg|mpeg|vob|wmv|asf|flv|f4v|3gp|3g2|ogv|mxf|y4m|nut|dv|gif|apng|"
    "ivf|h264|h265|hevc|264|265|av1|obu|divx|rm|rmvb|wtv)"
)


def check_version(request: Request) -> None:
    """Refuse another version of the protocol."""
    if request.headers.get("tus-resumable") != VERSION:
        raise ApiError(
            412,
            "bad_request",
            f"Uploads need the header Tus-Resumable: {VERSION}.",
            headers={"Tus-Version": VERSION},
        )


def parse_length(request: Request, header: str) -> int:
    """A header that is a number of bytes."""
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ApiError(400, "bad_request", f"The header {header.title()} has to be a whole number of bytes.")
    return int(text)


def parse_metadata(header: str) -> dict[str, str]:
    """``key BASE64,key BASE64`` as text."""
    found = {}
    for pair in header[:4096].split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeError, ValueError):
            raise ApiError(400, "bad_request", "The header Upload-Metadata cannot be read.") from None
    return found


def encode_metadata(text: str) -> str:
    """A value of Upload-Metadata."""
    return base64.b64encode(text.encode()).decode()


def sanitized_name(name: str) -> str:
    """A file's name without folders, control characters and excess."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(mark for mark in name if mark.isprintable()).strip(" .")
    stem, suffix = Path(name).stem, Path(name).suffix[:16]
    stem = stem.encode()[: _NAME - len(suffix.encode())].decode("utf-8", "ignore")
    return f"{stem}{suffix}" or "film"


def suffix_of(name: str) -> str:
    """Under which a film lies on the disk: its own, if it is a film's."""
    suffix = Path(name).suffix.lower()
    return suffix if _SUFFIXES.fullmatch(suffix) else ".film"


class UploadRoutes:
    """The handlers.

    Args:
        store: films.
        settings: limits.
        metrics: told how much has come.
    """

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        self._store, self._settings, self._metrics = store, settings, metrics
        self._receiver = UploadWriters(settings.stall, metrics.received.inc)
        self._looks = CapacityLimiter(2)
        self._checks: dict[str, asyncio.Task[ApiError | None]] = {}

    def routes(self) -> list[Route]:
        """Of ``/files``."""
        return [
            Route("/files", self.options, methods=["OPTIONS"]),
            Route("/files", self.create, methods=["POST"]),
            Route("/files/{film}", self.options, methods=["OPTIONS"]),
            Route("/files/{film}", self.head, methods=["HEAD"]),
            Route("/files/{film}", self.patch, methods=["PATCH"]),
            Route("/files/{film}", self.terminate, methods=["DELETE"]),
        ]

    def in_use(self, film: str) -> bool:
        """Whether somebody writes to it, or looks at it, at this moment."""
        return self._receiver.in_use(film) or film in self._checks

    async def options(self, request: Request) -> Response:
        """What this server knows of tus."""
        return Response(
            status_code=204,
            headers=TUS_HEADERS
            | {
                "Tus-Version": VERSION,
                "Tus-Extension": "creation,expiration,termination",
                "Tus-Max-Size": str(self._settings.max_upload),
            },
        )

    async def create(self, request: Request) -> Response:
        """A new upload: every limit that can be known is looked at before there is a byte."""
        check_version(request)
        if "upload-defer-length" in request.headers:
            raise ApiError(400, "bad_request", "The size of a film has to be known when its upload begins.")
        size = parse_length(request, "upload-length")
        metadata = parse_metadata(request.headers.get("upload-metadata", ""))
        name = sanitized_name(metadata.get("filename", ""))
        limit = self._settings.max_upload
        if size > limit:
            raise ApiError(
                413,
                "too_large",
                f"{name} is too large ({format_bytes(size)}): this server takes films up to {format_bytes(limit)}.",
                limit=limit,
            )
        if size == 0:
            raise ApiError(422, "empty", f"{name} is empty (0 bytes); choose another file.")
        film = await run_sync(self._begin, request.state.session, name, metadata.get("filetype", ""), size)
        event("upload begun", film=anonymize_id(film.id), size=size)
        headers = {"Location": f"/files/{film.id}", "Upload-Expires": self._expires(film)}
        return Response(status_code=201, headers=TUS_HEADERS | headers)

    def _begin(self, session: str, name: str, kind: str, size: int) -> Upload:
        film = Upload(
            id=secrets.token_urlsafe(16),
            session=session,
            name=name,
            suffix=suffix_of(name),
            kind=kind[:100],
            size=size,
            state=UPLOADING,
            reason=None,
            code=None,
            facts={},
            created=now(),
            touched=now(),
            deleted=False,
        )
        exceeded = self._store.add_upload(film, most=self._settings.films, quota=self._settings.quota)
        if exceeded == "films":
            most = self._settings.films
            raise ApiError(
                429, "too_many_films", f"You have {most} films here already; delete one first.", limit=most
            )
        if exceeded == "quota":
            left = max(self._settings.quota - self._store.bytes_used(), 0)
            raise ApiError(
                413,
                "quota",
                f"There is no room for {name} ({format_bytes(size)}): {format_bytes(left)} are left on this server. "
                "Delete films that you have downloaded, or come back later.",
                left=left,
            )
        path = self._path(film)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return film

    async def head(self, request: Request) -> Response:
        """How far an upload has come; whoever asks takes it over."""
        check_version(request)
        film = await self._own(request)
        await self._receiver.interrupt(film.id)
        offset = await run_sync(self._offset, film)
        metadata = f"filename {encode_metadata(film.name)}" + (
            f",filetype {encode_metadata(film.kind)}" if film.kind else ""
        )
        headers = {
            "Upload-Offset": str(offset),
            "Upload-Length": str(film.size),
            "Upload-Metadata": metadata,
            "Upload-Expires": self._expires(film),
            "Cache-Control": "no-store",
        }
        return Response(status_code=200, headers=TUS_HEADERS | headers)

    async def patch(self, request: Request) -> Response:
        """More bytes, at the place where the others end; after the last one the film is looked at."""
        check_version(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != CONTENT_TYPE:
            raise ApiError(415, "bad_request", f"An upload's bytes come as {CONTENT_TYPE}.")
        at = parse_length(request, "upload-offset")
        film = await self._own(request)
        async with self._receiver.exclusive(film.id) as hold:
            film = await self._own(request)  # as it is now
            offset = await run_sync(self._offset, film)
            if at != offset:
                raise ApiError(
                    409,
                    "offset",
                    f"The upload goes on at byte {offset}, not at {at}.",
                    headers={"Upload-Offset": str(offset)},
                    offset=offset,
                )
            if film.state == UPLOADING:
                try:
                    offset = await hold.receive(request, self._path(film), film.size, offset)
                finally:
                    with anyio.CancelScope(shield=True):
                        await run_sync(self._set, film.id, {"touched": now()})
                if offset == film.size:
                    await run_sync(self._set, film.id, {"state": CHECKING, "touched": now()})
                    self.start_check(film)
        if film.id in self._checks and (refusal := await asyncio.shield(self._checks[film.id])):
            raise refusal
        headers = {"Upload-Offset": str(offset), "Upload-Expires": self._expires(film)}
        return Response(status_code=204, headers=TUS_HEADERS | headers)

    async def terminate(self, request: Request) -> Response:
        """An upload, or a film, that nobody wants any more."""
        check_version(request)
        film = await self._own(request)
        await self.delete(film)
        return Response(status_code=204, headers=TUS_HEADERS)

    async def delete(self, film: Upload) -> None:
        """Take a film away, with everything that was made of it."""
        await self._receiver.interrupt(film.id)
        await run_sync(delete_files, self._store, self._settings, film)
        event("film deleted", film=anonymize_id(film.id))

    def start_check(self, film: Upload) -> None:
        """Begin to look at a film that is complete. Called in the event loop."""
        task = asyncio.create_task(self._check(film), name="check")
        self._checks[film.id] = task
        task.add_done_callback(lambda _: self._checks.pop(film.id, None))

    async def close(self) -> None:
        """Wait for nothing: checks are done anew after a restart."""
        for task in [*self._checks.values()]:
            task.cancel()

    async def _check(self, film: Upload) -> ApiError | None:
        path = self._path(film)
        try:
            facts = await run_sync(check, path, film.name, self._settings, limiter=self._looks)
        except ApiError as refusal:
            await self._refuse(film, refusal)
            return refusal
        except Exception:
            LOGGER.exception("check failed", extra={"values": {"film": anonymize_id(film.id)}})
            sentence = f"{film.name} could not be looked at; the server's log says more."
            refusal = ApiError(422, "error", sentence)
            await self._refuse(film, refusal)
            return refusal
        await run_sync(self._set, film.id, {"state": READY, "facts": facts, "touched": now()})
        told = {key: facts[key] for key in ("width", "height", "frames", "duration")}
        event("film ready", film=anonymize_id(film.id), **told)
        return None

    async def _refuse(self, film: Upload, refusal: ApiError) -> None:
        await run_sync(lambda: shutil.rmtree(self._path(film).parent, ignore_errors=True))
        told = {"state": REFUSED, "reason": refusal.sentence, "code": refusal.code, "touched": now()}
        await run_sync(self._set, film.id, told | {"facts": {"values": dict(refusal.values)}})
        self._metrics.refused.labels(refusal.code).inc()
        event("film refused", film=anonymize_id(film.id), code=refusal.code)

    async def _own(self, request: Request) -> Upload:
        film = await run_sync(require_owned_upload, self._store, request)
        if film.state == REFUSED:
            raise ApiError(410, "gone", film.reason or "The film was refused, and its file is gone.")
        return film

    def _offset(self, film: Upload) -> int:
        try:
            return self._path(film).stat().st_size
        except FileNotFoundError:
            raise not_found() from None

    def _path(self, film: Upload) -> Path:
        return self._settings.film(film.id, film.suffix)

    def _set(self, film: str, columns: dict[str, Any]) -> None:
        self._store.update_upload(film, **columns)

    def _expires(self, film: Upload) -> str:
        return formatdate(film.touched + self._settings.keep, usegmt=True)
