"""What every request passes before anything else looks at it: host, origin, token, session.

A plain ASGI wrapper, so that uploads and downloads stream through. It also puts the security headers on
every answer, also where a handler fails, counts, and writes the log.

Who a visitor is: an unguessable name in a signed cookie. Nothing is kept on the server.

Whose it is: what the path names, for its owner only.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections import deque
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsrcli.web.errors import SESSION_PATHS, ApiError, error_response, failure_page, not_found
from vsrcli.web.metrics import LOGGER, Metrics, anonymize_id, event
from vsrcli.web.settings import Settings
from vsrcli.web.store import JobRecord, Store, Upload

SESSION, ACCESS = "vsr_session", "vsr_access"  # cookies
_AGE = 90 * 24 * 3600
_WRONG_A_MINUTE = 10


def secret_key(data: Path) -> bytes:
    """The key that signs cookies, made at the first start; readable by this user only."""
    path = data / "secret"
    fresh = path.with_name(f"secret.{secrets.token_hex(8)}")
    if not path.exists():
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(fresh, path)  # whole or not at all, and never over another one
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()


class Sessions:
    """Reads and writes the cookies.

    Args:
        key: that signs them.
        token: what visitors must know, or None.
    """

    def __init__(self, key: bytes, token: str | None) -> None:
        self._signer = TimestampSigner(key, salt="vsr session")
        self._token = token
        self._access = None if token is None else hmac.new(key, token.encode(), hashlib.sha256).hexdigest()
        self._wrong: deque[float] = deque()

    @property
    def requires_token(self) -> bool:
        """Whether visitors must know a token."""
        return self._token is not None

    def session(self, request: HTTPConnection) -> str | None:
        """The visitor's name; None without a cookie, or with one that this server has not made."""
        return self._signed(request.cookies.get(SESSION, ""))

    def _signed(self, cookie: str) -> str | None:
        try:
            return self._signer.unsign(cookie, max_age=_AGE).decode()
        except (BadSignature, UnicodeError, ValueError):
            return None

    def issue_session(self, request: HTTPConnection, response: Response) -> None:
        """Give the visitor a cookie; whoever has one keeps its name."""
        name = self.session(request) or secrets.token_urlsafe(24)
        self._set(request, response, SESSION, self._signer.sign(name).decode())

    def is_authorized(self, request: HTTPConnection) -> bool:
        """Whether the visitor has shown the token, now or before."""
        return (
            self._access is None
            or self.shows_token(request)
            or _same(self._access, request.cookies.get(ACCESS))
        )

    def shows_token(self, request: HTTPConnection) -> bool:
        """Whether the request itself carries the token, as programs send it."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        """Whether this is it."""
        return self._token is not None and _same(self._token, given)

    def is_rate_limited(self) -> bool:
        """Whether so many wrong tokens have come lately that none is looked at."""
        while self._wrong and self._wrong[0] < time.monotonic() - 60:
            self._wrong.popleft()
        return len(self._wrong) >= _WRONG_A_MINUTE

    def record_failure(self) -> None:
        """A wrong token has come."""
        self._wrong.append(time.monotonic())

    def grant_access(self, request: HTTPConnection, response: Response) -> None:
        """Remember that the visitor has shown the token."""
        if self._access is not None:
            self._set(request, response, ACCESS, self._access)

    def _set(self, request: HTTPConnection, response: Response, name: str, value: str) -> None:
        secure = request.url.scheme == "https"
        response.set_cookie(name, value, max_age=_AGE, httponly=True, samesite="strict", secure=secure)


def _same(secret: str, given: str | None) -> bool:
    return hmac.compare_digest(secret.encode(), (given or "").encode())


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
            LOGGER.exception("error", extra={"values": {"route": self._metrics.route(request.url.path)}})
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
            event(
                "request",
                method=request.method,
                route=self._metrics.route(path),
                status=status,
                seconds=round(seconds, 4),
                session=anonymize_id(session) if session else None,
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


_Record = TypeVar("_Record", Upload, JobRecord)


def require_owned_upload(store: Store, request: Request) -> Upload:
    """The film that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.get_upload(request.path_params["film"]), request)


def require_owned_job(store: Store, request: Request) -> JobRecord:
    """The job that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.get_job(request.path_params["job"]), request)


def _own(found: _Record | None, request: Request) -> _Record:
    if found is None or found.session != request.state.session:
        raise not_found()
    return found
