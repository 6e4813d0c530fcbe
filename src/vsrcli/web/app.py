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
from vsrcli.web.answers import answer
from vsrcli.web.downloads import Downloads
from vsrcli.web.events import Events
from vsrcli.web.films import Films
from vsrcli.web.guard import Guard
from vsrcli.web.health import Health
from vsrcli.web.jobs import Jobs
from vsrcli.web.metrics import Metrics
from vsrcli.web.offer import Offer
from vsrcli.web.page import Page
from vsrcli.web.queues import Queue
from vsrcli.web.records import CHECKING
from vsrcli.web.refusal import Refusal, not_found
from vsrcli.web.sessions import Sessions, secret_key
from vsrcli.web.settings import FILMS, JOBS, Settings
from vsrcli.web.shown import Shown
from vsrcli.web.store import Store
from vsrcli.web.sweep import sweep, sweep_strays
from vsrcli.web.uploads import Uploads


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
    metrics, shown = Metrics(store, settings), Shown(store, settings)
    uploads, offer = Uploads(store, settings, metrics), Offer(store, settings)
    downloads, events = Downloads(store, settings, metrics), Events(store, shown, metrics)

    def in_use(kind: str, id: str) -> bool:
        return uploads.in_use(id) if kind == "film" else downloads.in_use(id)

    async def tidy() -> None:
        while True:
            try:
                await run_sync(sweep, store, settings, in_use)
                await run_sync(store.last_change)
            except Exception:
                logs.LOGGER.exception("sweeping failed")
            await asyncio.sleep(settings.sweep)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await run_sync(sweep_strays, store, settings)
        for film in await run_sync(store.all_films):
            if film.state == CHECKING and not film.deleted:  # the server was killed meanwhile
                uploads.look(film)
        tasks = [asyncio.create_task(each) for each in (tidy(), events.watch(), offer.options())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, uploads.close(), return_exceptions=True)

    rooms = (uploads, Films(store, shown, uploads), Jobs(store, settings, shown, Queue(settings)), downloads)
    others = (events, offer, Health(store, settings, sessions, metrics), Page(sessions, offer))
    return Starlette(
        routes=[route for room in (*rooms, *others) for route in room.routes()],
        middleware=[Middleware(Guard, settings=settings, sessions=sessions, metrics=metrics)],
        exception_handlers={Refusal: _refused, HTTPException: _missing},
        lifespan=lifespan,
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return answer(request, error)


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = Refusal(405, "method", f"{request.method} is not possible here.", headers=error.headers)
    elif error.status_code == 404:
        refusal = not_found()
    else:
        refusal = Refusal(error.status_code, "bad_request", f"{error.detail}.", headers=error.headers)
    return answer(request, refusal)
