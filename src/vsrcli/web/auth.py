"""Access control: sessions, the access token, allowed hosts and origins, and security headers.

A session is an unguessable id in a signed cookie; nothing is stored on the server. The middleware is plain
ASGI, so that uploads and downloads stream through it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsrcli.web.errors import SESSION_PATHS, ApiError, error_response, internal_error_response, not_found
from vsrcli.web.metrics import LOGGER, Metrics, anonymize_id, log_event
from vsrcli.web.settings import Settings, parse_address
from vsrcli.web.store import JobRecord, Store, Upload

SESSION_COOKIE, ACCESS_COOKIE = "vsr_session", "vsr_access"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, browsers send forms with "Origin: null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_COOKIE_SECONDS = 90 * 24 * 3600
_MAX_FAILURES_PER_MINUTE, _MAX_ADDRESSES = 10, 10_000
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_PUBLIC_PATHS = ("/healthz", "/metrics", "/login", "/static/")  # need no token; /metrics checks access itself
_OPEN_PATHS = ("/healthz", "/static/")  # say nothing about the token
_UNLOGGED_PATHS = ("/healthz", "/metrics", "/static/")


def secret_key(data: Path) -> bytes:
    """Return the key that signs cookies; create it at the first start, readable by this user only."""
    path = data / "secret"
    if not path.exists():
        temporary = path.with_name(f"secret.{secrets.token_hex(8)}")
        temporary.touch(0o600, exist_ok=False)
        temporary.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # atomic, and never replaces an existing key
        temporary.unlink()
    return path.read_bytes()


class Sessions:
    """Read and write the cookies of sessions and of the access token.

    Args:
        key: signs the cookies.
        token: secret that users must know, or None.

    Attributes:
        requires_token: whether there is one.
    """

    def __init__(self, key: bytes, token: str | None) -> None:
        self._signer = TimestampSigner(key, salt="vsr session")
        self._token, self.requires_token = token, token is not None
        self._access = hmac.new(key, (token or "").encode(), hashlib.sha256).hexdigest()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()  # times of wrong tokens by address

    def session_id(self, request: HTTPConnection) -> str | None:
        """Return the id of the session; None without a cookie, or with one that this server did not sign."""
        try:
            cookie = request.cookies.get(SESSION_COOKIE, "")
            return self._signer.unsign(cookie, max_age=_COOKIE_SECONDS).decode()
        except (BadSignature, UnicodeError, ValueError):
            return None

    def issue_session(self, request: HTTPConnection, response: Response) -> None:
        """Set the session cookie: a new id, or the present one for another period."""
        session_id = self.session_id(request) or secrets.token_urlsafe(24)
        self._set_cookie(request, response, SESSION_COOKIE, self._signer.sign(session_id).decode())

    def is_authorized(self, request: HTTPConnection) -> bool:
        """Return whether no token is needed, or the request carries it, as header or as cookie."""
        return not self.requires_token or self.has_bearer_token(request) or self._has_access_cookie(request)

    def _has_access_cookie(self, request: HTTPConnection) -> bool:
        return _equal(self._access, request.cookies.get(ACCESS_COOKIE, ""))

    def has_bearer_token(self, request: HTTPConnection) -> bool:
        """Return whether the ``Authorization`` header carries the token, as programs send it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        token = token.strip(" \t")
        sent = token.encode("latin-1")  # Starlette decodes headers as Latin-1; most programs send UTF-8
        return self.is_valid_token(token) or self.is_valid_token(sent.decode("utf-8", "replace"))

    def is_valid_token(self, token: str) -> bool:
        """Return whether this is the token; False if there is none."""
        return self._token is not None and _equal(self._token, token)

    def is_rate_limited(self, request: HTTPConnection) -> bool:
        """Return whether so many wrong tokens came from this address lately that none is accepted."""
        failures = self._failures.get(_network(request), deque())
        while failures and failures[0] < time.monotonic() - 60:
            failures.popleft()
        return len(failures) >= _MAX_FAILURES_PER_MINUTE

    def record_failure(self, request: HTTPConnection) -> None:
        """Count a wrong token."""
        network = _network(request)
        failures = self._failures.setdefault(network, deque(maxlen=_MAX_FAILURES_PER_MINUTE))
        failures.append(time.monotonic())
        self._failures.move_to_end(network)
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def check_bearer_token(self, request: HTTPConnection) -> None:
        """Count a wrong token in the ``Authorization`` header, too.

        Raises:
            ApiError: there were too many; the right one is refused then, or guessing would only be slower.
        """
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        if not self.requires_token or scheme.lower() != "bearer" or self._has_access_cookie(request):
            return  # "Basic" is a proxy's affair
        if self.is_rate_limited(request):
            raise ApiError(429, "too_many_attempts", "There were too many wrong tokens; wait a minute.")
        if not self.has_bearer_token(request):
            self.record_failure(request)

    def grant_access(self, request: HTTPConnection, response: Response) -> None:
        """Set the cookie that stands for the token."""
        if self.requires_token:
            self._set_cookie(request, response, ACCESS_COOKIE, self._access)

    def _set_cookie(self, request: HTTPConnection, response: Response, name: str, value: str) -> None:
        secure = request.url.scheme == "https"
        # Not "strict": a link from another site would come without the cookie, and get a new session.
        response.set_cookie(
            name, value, max_age=_COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure
        )


def _network(request: HTTPConnection) -> str:
    """Return the address of a client; of IPv6 the half that a household has to itself."""
    host = request.client.host if request.client else ""
    address = parse_address(host)
    if address is not None and address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host if address is None else str(address)


def _equal(secret: str, value: str) -> bool:
    return hmac.compare_digest(secret.encode(), value.encode())


class SecurityMiddleware:
    """Check host, origin, token and session of every request; add security headers; log and count.

    The headers are also on responses of handlers that raised.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions, metrics: Metrics) -> None:
        self._app, self._settings, self._sessions, self._metrics = app, settings, sessions, metrics
        self._hosts = {"localhost", "127.0.0.1", "::1", _host_name(settings.host)} | {
            _host_name(host) for host in settings.allowed_hosts
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                is_static = scope["path"].startswith("/static/")  # revalidated: modules of one version only
                headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
            await send(message)

        request = Request(scope, receive)
        try:
            try:
                self._check(request)
            except ApiError as error:
                await error_response(request, error)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # no response can be sent
        except Exception:
            LOGGER.exception("error", extra={"values": {"route": self._metrics.route(request.url.path)}})
            if status:
                raise  # a part was sent already; closing the connection marks the response as incomplete
            await internal_error_response(request)(scope, receive, send_with_headers)
        finally:
            self._record(request, status, time.perf_counter() - started)

    def _check(self, request: Request) -> None:
        """Raise ApiError for a request that is not accepted; find the session of others."""
        path = request.url.path
        host = _host_name(request.headers.get("host", ""))
        # Unknown names: DNS rebinding. No DNS name of somebody else resolves to here through an IP address.
        if host not in self._hosts and not (self._settings.is_public and parse_address(host) is not None):
            raise ApiError(
                421, "host", f"This server does not go by the name {host[:80]!r}; start it with --allow-host."
            )
        if request.method not in _SAFE_METHODS and _is_from_another_site(request):
            raise ApiError(403, "origin", "This request comes from another site and is not accepted.")
        if not path.startswith(_OPEN_PATHS):
            self._sessions.check_bearer_token(request)
        if not path.startswith(_PUBLIC_PATHS) and path != "/" and not self._sessions.is_authorized(request):
            raise ApiError(401, "token", "This server needs a token; open its page and enter it.")
        if path.startswith(SESSION_PATHS):
            request.state.session = self._sessions.session_id(request)
            if request.state.session is None:
                raise ApiError(
                    401, "session", "This page's session is missing, not valid or too old; reload the page."
                )

    def _record(self, request: Request, status: int, seconds: float) -> None:
        path = request.url.path
        self._metrics.record_request(request.method, path, status, seconds)
        if not path.startswith(_UNLOGGED_PATHS) and (request.method not in _SAFE_METHODS or status >= 400):
            session = getattr(request.state, "session", None)
            log_event(
                "request",
                method=request.method,
                route=self._metrics.route(path),
                status=status,
                seconds=round(seconds, 4),
                session=anonymize_id(session) if session else None,
            )


def _is_from_another_site(request: Request) -> bool:
    """Return whether a browser says so, against CSRF; programs send neither header."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower()
    return is_foreign or site not in ("same-origin", "none")


def _host_name(host: str) -> str:
    """Return a host in lower case, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0].rstrip(".")


_Record = TypeVar("_Record", Upload, JobRecord)


def require_owned_upload(store: Store, request: Request) -> Upload:
    """Return the upload named in the path; raise ApiError 404 unless it belongs to this session."""
    return _require_owned(store.get_upload(request.path_params["video"]), request)


def require_owned_job(store: Store, request: Request) -> JobRecord:
    """Return the job named in the path; raise ApiError 404 unless it belongs to this session."""
    return _require_owned(store.get_job(request.path_params["job"]), request)


def _require_owned(record: _Record | None, request: Request) -> _Record:
    if record is None or record.session != request.state.session:
        raise not_found()
    return record
