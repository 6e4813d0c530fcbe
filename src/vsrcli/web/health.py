"""For those who run the server: is it well, and how much does it do?"""

from __future__ import annotations

import os

from anyio.to_thread import run_sync
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli.web.auth import Sessions
from vsrcli.web.errors import ApiError
from vsrcli.web.metrics import Metrics
from vsrcli.web.settings import Settings, is_loopback
from vsrcli.web.store import Store, now
from vsrcli.web.worker import HEARTBEAT_INTERVAL, HEARTBEAT_KEY


class Health:
    """The handlers.

    Args:
        store, settings, sessions, metrics: of the server.
    """

    def __init__(self, store: Store, settings: Settings, sessions: Sessions, metrics: Metrics) -> None:
        self._store, self._settings, self._sessions, self._metrics = store, settings, sessions, metrics

    def routes(self) -> list[Route]:
        """``/healthz`` and ``/metrics``."""
        return [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/metrics", self.figures, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        """For a supervisor."""
        try:
            worker = await run_sync(self._look)
        except Exception as error:
            return JSONResponse(
                {"status": f"the database or the disk does not answer ({type(error).__name__})"}, 503
            )
        return JSONResponse({"status": "ok", "worker": worker})

    def _look(self) -> bool:
        if not os.access(self._settings.data, os.W_OK):
            raise PermissionError
        return self._store.counters().get(HEARTBEAT_KEY, 0) > now() - 4 * HEARTBEAT_INTERVAL

    async def figures(self, request: Request) -> Response:
        """For Prometheus."""
        through_proxy = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via"))
        near = request.client is not None and is_loopback(request.client.host) and not through_proxy
        if not near and not self._sessions.shows_token(request):
            raise ApiError(
                403, "forbidden", "Figures are for this computer itself, or for those who send the token."
            )
        return Response(await run_sync(self._metrics.text), media_type=CONTENT_TYPE_LATEST)
