"""Who a visitor is: an unguessable name in a signed cookie. Nothing is kept on the server."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import deque
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

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
