"""Server-sent events: changes of a session's videos and jobs.

One task polls the database for changes, whichever process made them, and gives each listener the newest state
of its session; the listener sends the difference to what it sent before. A slow listener skips states, never
the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
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

_POLL_INTERVAL = 0.25  # seconds between two queries for changes
_ERROR_DELAY = 5.0  # seconds after a query that failed
_PING_INTERVAL = 15  # seconds
_SHUTDOWN_TIMEOUT = 1.0  # seconds for streams to end when the server ends
Videos = Mapping[str, dict[str, Any]]
"""The JSON of videos, by id."""


class EventRoutes:
    """The route of ``/api/events``, and the task that publishes changes."""

    def __init__(self, store: Store, serializer: Serializer, metrics: Metrics) -> None:
        self._store, self._serializer, self._metrics = store, serializer, metrics
        self._listeners: dict[str, set[_Listener]] = {}
        self._last_change = 0  # the last one that was published
        self._positions: dict[str, tuple[int, str]] = {}  # of queued jobs, as published
        self.routes = [Route("/api/events", self.stream)]

    async def stream(self, request: Request) -> Response:
        """Send all videos of the session, then every change."""
        stopping = anyio.Event()  # set when the server ends: the stream is then ended, not cut off
        return EventSourceResponse(
            self._events(request.state.session, stopping),
            ping=_PING_INTERVAL,
            shutdown_event=stopping,
            shutdown_grace_period=_SHUTDOWN_TIMEOUT,
            ping_message_factory=lambda: ServerSentEvent(comment="ping"),
            sep="\n",
            headers={"X-Accel-Buffering": "no"},
        )

    async def watch(self) -> None:
        """Publish changes until cancelled; continue after errors of the database."""
        self._last_change = await run_sync(self._store.prune_changes)
        while True:
            await asyncio.sleep(_POLL_INTERVAL)
            try:
                await self._publish_changes()
            except Exception:
                LOGGER.exception("publishing events failed")
                await asyncio.sleep(_ERROR_DELAY)

    async def _events(self, session: str, stopping: anyio.Event) -> AsyncIterator[ServerSentEvent]:
        listener = _Listener()
        self._listeners.setdefault(session, set()).add(listener)
        self._metrics.event_listeners.inc()
        try:
            sent: Videos = {}
            listener.publish(await run_sync(self._serializer.videos, session))
            while not stopping.is_set():
                with anyio.move_on_after(_POLL_INTERVAL):
                    await listener.changed.wait()
                if listener.changed.is_set():
                    listener.changed.clear()
                    videos = {video["id"]: video for video in listener.videos}
                    for name, data in changed_records(sent, videos):
                        yield ServerSentEvent(json.dumps(data, ensure_ascii=False), event=name)
                    sent = videos
        finally:
            self._metrics.event_listeners.dec()
            self._listeners[session].discard(listener)
            if not self._listeners[session]:
                del self._listeners[session]

    async def _publish_changes(self) -> None:
        last, changed = await run_sync(self._store.changes_since, self._last_change)
        if changed and self._listeners:
            positions = await run_sync(self._store.queue_positions)
            changed |= {
                position[1] for job, position in positions.items() if self._positions.get(job) != position
            }
            for session in changed & self._listeners.keys():
                videos = await run_sync(self._serializer.videos, session)
                for listener in self._listeners.get(session, ()):
                    listener.publish(videos)
            self._positions = positions
        self._last_change = last  # only now: after an error, these changes are published the next time


def changed_records(old: Videos, new: Videos) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and data of the events that lead from one state of a session to another."""
    for id, video in new.items():
        old_jobs = _jobs_by_id(old[id]) if id in old else {}
        if id not in old or old[id] | {"jobs": [*old_jobs]} != video | {"jobs": [*_jobs_by_id(video)]}:
            yield "video", video
        for job in video["jobs"]:
            if job["id"] in old_jobs and job != old_jobs[job["id"]]:
                yield "job", job
    for id, video in old.items():
        if id not in new:
            yield "gone", {"kind": "video", "id": id}
            continue
        for job in _jobs_by_id(video).keys() - _jobs_by_id(new[id]).keys():
            yield "gone", {"kind": "job", "id": job}


def _jobs_by_id(video: dict[str, Any]) -> dict[str, Any]:
    return {job["id"]: job for job in video["jobs"]}


@dataclass(eq=False)
class _Listener:
    """The newest videos of a session, for one page."""

    videos: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, videos: list[dict[str, Any]]) -> None:
        self.videos = videos
        self.changed.set()
