"""Routes for operators: health check and metrics."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli.web.auth import Sessions
from vsrcli.web.errors import ApiError
from vsrcli.web.metrics import Metrics
from vsrcli.web.settings import Settings, is_loopback
from vsrcli.web.store import HEARTBEAT_KEY, Store, now
from vsrcli.web.worker import HEARTBEAT_INTERVAL


class HealthRoutes:
    """The routes of ``/healthz`` and ``/metrics``."""

    def __init__(self, store: Store, settings: Settings, sessions: Sessions, metrics: Metrics) -> None:
        self._store, self._settings, self._sessions, self._metrics = store, settings, sessions, metrics
        self.routes = [Route("/healthz", self.health), Route("/metrics", self.metrics)]

    def health(self, request: Request) -> Response:
        """Return whether database, disk and worker are available; 503 without the first two."""
        try:
            if not os.access(self._settings.data, os.W_OK):
                raise PermissionError
            heartbeat = self._store.counters().get(HEARTBEAT_KEY, 0)
        except Exception as error:
            return JSONResponse(
                {"status": f"the database or the disk does not answer ({type(error).__name__})"}, 503
            )
        return JSONResponse({"status": "ok", "worker": heartbeat > now() - 4 * HEARTBEAT_INTERVAL})

    def metrics(self, request: Request) -> Response:
        """Return metrics for Prometheus, to this computer or to who sends the token."""
        through_proxy = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via"))
        is_local = request.client is not None and is_loopback(request.client.host) and not through_proxy
        if not is_local and not self._sessions.has_bearer_token(request):
            raise ApiError(403, "forbidden", "Metrics are for this computer, or for requests with the token.")
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
