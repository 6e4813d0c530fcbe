"""Server-sent events: a visitor's films and jobs, as they change.

One task looks for changes in the database, whichever process has made them, and hands each listener the
newest state of its session; the listener says what is new in it. A slow one skips states, never the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
from anyio.to_thread import run_sync
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsrcli.web.metrics import LOGGER, Metrics
from vsrcli.web.serializers import Serializer
from vsrcli.web.store import Store

_LOOK = 0.25  # seconds between two looks for changes
_PAUSE = 5.0  # seconds after such a look has failed
_PING = 15  # seconds
_GRACE = 1.0  # seconds in which a listener hears that the server ends
Films = list[dict[str, Any]]


class _Listener:
    """The newest state that one page has not been told yet."""

    def __init__(self) -> None:
        self.newest: Films | None = None
        self.news = asyncio.Event()

    def tell(self, films: Films) -> None:
        self.newest = films
        self.news.set()


class EventRoutes:
    """The handler, and the task behind it.

    Args:
        store: films and jobs.
        shown: makes JSON.
        metrics: told how many listen.
    """

    def __init__(self, store: Store, shown: Serializer, metrics: Metrics) -> None:
        self._store, self._shown, self._metrics = store, shown, metrics
        self._listeners: dict[str, set[_Listener]] = {}
        self._last = 0  # number of the last change that listeners know of
        self._places: dict[str, tuple[int, str]] = {}  # of waiting jobs, as listeners know them

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [Route("/api/events", self.stream, methods=["GET"])]

    async def stream(self, request: Request) -> Response:
        """Everything as it is, then what changes."""
        stopping = anyio.Event()  # set when the server ends: the answer is then ended, not cut off
        return EventSourceResponse(
            self._events(request.state.session, stopping),
            ping=_PING,
            shutdown_event=stopping,
            shutdown_grace_period=_GRACE,
            ping_message_factory=lambda: ServerSentEvent(comment="ping"),
            sep="\n",
            headers={"X-Accel-Buffering": "no"},
        )

    async def _events(self, session: str, stopping: anyio.Event) -> AsyncIterator[ServerSentEvent]:
        listener = _Listener()
        self._listeners.setdefault(session, set()).add(listener)
        self._metrics.listeners.inc()
        end = asyncio.ensure_future(stopping.wait())
        try:
            seen: dict[str, Any] = {}
            listener.tell(await run_sync(self._shown.films, session))
            while await _first(listener.news, end):
                listener.news.clear()
                films = listener.newest or []
                for name, data in changed_records(seen, films):
                    yield ServerSentEvent(json.dumps(data, ensure_ascii=False), event=name)
                seen = {film["id"]: film for film in films}
        finally:
            end.cancel()
            self._metrics.listeners.dec()
            self._listeners[session].discard(listener)
            if not self._listeners[session]:
                del self._listeners[session]

    async def watch(self) -> None:
        """Look for changes for as long as the server runs, also where the database fails for a while."""
        self._last = await run_sync(self._store.last_change)
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._look()
            except Exception:
                LOGGER.exception("watching failed")
                await asyncio.sleep(_PAUSE)

    async def _look(self) -> None:
        last, changed = await run_sync(self._store.changes, self._last)
        if changed and self._listeners:
            places = await run_sync(self._store.queue_positions)
            changed |= {place[1] for job, place in places.items() if self._places.get(job) != place}
            for session in changed & self._listeners.keys():
                films = await run_sync(self._shown.films, session)
                for listener in self._listeners.get(session, ()):
                    listener.tell(films)
            self._places = places
        self._last = last  # what could not be told is told the next time


async def _first(news: asyncio.Event, end: asyncio.Future[None]) -> bool:
    """Wait for either; whether there are news and no end."""
    waiting = asyncio.ensure_future(news.wait())
    try:
        await asyncio.wait((waiting, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return not end.done()


def changed_records(seen: dict[str, Any], films: Films) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events that lead from what was told before to what is now.

    Args:
        seen: films told, by id.
        films: as they are.
    """
    for film in films:
        old = seen.get(film["id"])
        if old is None or _without_jobs(old) != _without_jobs(film):
            yield "film", film
        before = {job["id"]: job for job in old["jobs"]} if old else {}
        for job in film["jobs"]:
            if job["id"] in before and job != before[job["id"]]:
                yield "job", job
    there = {film["id"]: film for film in films}
    for id, film in seen.items():
        if id not in there:
            yield "gone", {"kind": "film", "id": id}
            continue
        for job in {job["id"] for job in film["jobs"]} - {job["id"] for job in there[id]["jobs"]}:
            yield "gone", {"kind": "job", "id": job}


def _without_jobs(film: dict[str, Any]) -> dict[str, Any]:
    return film | {"jobs": [job["id"] for job in film["jobs"]]}
