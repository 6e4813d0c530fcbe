"""The application: everything put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from vsrcli.web import logs
from vsrcli.web.answers import error_response
from vsrcli.web.cleanup import delete_expired, delete_orphans
from vsrcli.web.downloads import DownloadRoutes
from vsrcli.web.events import EventRoutes
from vsrcli.web.films import VideoRoutes
from vsrcli.web.guard import SecurityMiddleware
from vsrcli.web.health import Health
from vsrcli.web.jobs import JobRoutes
from vsrcli.web.metrics import Metrics
from vsrcli.web.offer import OptionsRoutes
from vsrcli.web.pages import PageRoutes
from vsrcli.web.queues import Queue
from vsrcli.web.records import CHECKING
from vsrcli.web.refusal import ApiError, not_found
from vsrcli.web.serializers import Serializer
from vsrcli.web.sessions import Sessions, secret_key
from vsrcli.web.settings import FILMS, JOBS, Settings
from vsrcli.web.store import Store
from vsrcli.web.uploads import UploadRoutes


def create_app(settings: Settings) -> Starlette:
    """The web server's application; the worker is another process.

    Args:
        settings: of the server. The data folder is made if it is not there.

    Raises:
        OSError: the data folder cannot be written.
    """
    for folder in (settings.data, settings.data / FILMS, settings.data / JOBS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database)
    sessions = Sessions(secret_key(settings.data), settings.token)
    metrics, shown = Metrics(store, settings), Serializer(store, settings)
    uploads, offer = UploadRoutes(store, settings, metrics), OptionsRoutes(store, settings)
    downloads, events = DownloadRoutes(store, settings, metrics), EventRoutes(store, shown, metrics)

    def in_use(kind: str, id: str) -> bool:
        return uploads.in_use(id) if kind == "film" else downloads.in_use(id)

    async def tidy() -> None:
        while True:
            try:
                await run_sync(delete_expired, store, settings, in_use)
                await run_sync(store.last_change)
            except Exception:
                logs.LOGGER.exception("sweeping failed")
            await asyncio.sleep(settings.sweep)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await run_sync(delete_orphans, store, settings)
        for film in await run_sync(store.list_all_uploads):
            if film.state == CHECKING and not film.deleted:  # the server was killed meanwhile
                uploads.start_check(film)
        tasks = [asyncio.create_task(each) for each in (tidy(), events.watch(), offer.options())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, uploads.close(), return_exceptions=True)

    rooms = (
        uploads,
        VideoRoutes(store, shown, uploads),
        JobRoutes(store, settings, shown, Queue(settings)),
        downloads,
    )
    others = (events, offer, Health(store, settings, sessions, metrics), PageRoutes(sessions, offer))
    return Starlette(
        routes=[route for room in (*rooms, *others) for route in room.routes()],
        middleware=[Middleware(SecurityMiddleware, settings=settings, sessions=sessions, metrics=metrics)],
        exception_handlers={ApiError: _refused, HTTPException: _missing},
        lifespan=lifespan,
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(request, error)


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = ApiError(405, "method", f"{request.method} is not possible here.", headers=error.headers)
    elif error.status_code == 404:
        refusal = not_found()
    else:
        refusal = ApiError(error.status_code, "bad_request", f"{error.detail}.", headers=error.headers)
    return error_response(request, refusal)
