"""What every request passes before anything else looks at it: host, origin, token, session.

A plain ASGI wrapper, so that uploads and downloads stream through. It also puts the security headers on
every answer, also where a handler fails, counts, and writes the log.
"""

from __future__ import annotations

import ipaddress
import time
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsrcli.web import logs
from vsrcli.web.answers import SESSION_PATHS, error_response, failure_page
from vsrcli.web.metrics import Metrics
from vsrcli.web.refusal import ApiError
from vsrcli.web.sessions import Sessions
from vsrcli.web.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, browsers send forms with "Origin: null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/healthz", "/metrics", "/login", "/static/")  # without a token; metrics asks for itself
_QUIET = ("/healthz", "/metrics", "/static/")  # not worth a line of the log


class SecurityMiddleware:
    """The wrapper.

    Args:
        app: what is guarded.
        settings, sessions, metrics: of the server.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions, metrics: Metrics) -> None:
        self._app, self._settings, self._sessions, self._metrics = app, settings, sessions, metrics
        self._hosts = {"localhost", "127.0.0.1", "::1", _bare(settings.host)} | {
            _bare(host) for host in settings.allowed_hosts
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                fixed = scope["path"].startswith("/static/")  # asked for again: modules of one version only
                headers.setdefault("Cache-Control", "no-cache" if fixed else "no-store")
            await send(message)

        request = Request(scope, receive)
        try:
            try:
                self._check(request)
            except ApiError as refusal:
                await error_response(request, refusal)(scope, receive, told)
            else:
                await self._app(scope, receive, told)
        except ClientDisconnect:
            pass  # nobody hears the answer
        except Exception:
            logs.LOGGER.exception("error", extra={"values": {"route": self._metrics.route(request.url.path)}})
            if status:
                raise  # part of an answer has gone; cut off, it is not taken for a whole one
            await failure_page(request)(scope, receive, told)
        finally:
            self._note(request, status, time.perf_counter() - began)

    def _check(self, request: Request) -> None:
        self._check_host(request)
        self._check_origin(request)
        path = request.url.path
        if not path.startswith(_OPEN) and path != "/" and not self._sessions.is_authorized(request):
            raise ApiError(401, "token", "This server asks for a token first; open its page and enter it.")
        if path.startswith(SESSION_PATHS):
            session = self._sessions.session(request)
            if session is None:
                raise ApiError(
                    401, "session", "This page's session is missing, not valid or too old; reload the page."
                )
            request.state.session = session

    def _check_host(self, request: Request) -> None:
        host = _bare(request.headers.get("host", ""))
        if host in self._hosts or (self._settings.public and _is_address(host)):
            return  # an address is no name that somebody else could have pointed here
        raise ApiError(
            421, "host", f"This server does not go by the name {host[:80]!r}; start it with --allow-host."
        )

    def _check_origin(self, request: Request) -> None:
        if request.method in _HARMLESS:
            return
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        strange = origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower()
        if strange or (site is not None and site not in ("same-origin", "none")):
            raise ApiError(403, "origin", "This request comes from another page, so it is not obeyed.")

    def _note(self, request: Request, status: int, seconds: float) -> None:
        path = request.url.path
        self._metrics.request(request.method, path, status, seconds)
        if not path.startswith(_QUIET) and (request.method not in _HARMLESS or status >= 400):
            session = getattr(request.state, "session", None)
            logs.event(
                "request",
                method=request.method,
                route=self._metrics.route(path),
                status=status,
                seconds=round(seconds, 4),
                session=logs.anonymize_id(session) if session else None,
            )


def _bare(host: str) -> str:
    """Without port and brackets, in small letters."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0].rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
