"""Routes of the page, of the login page, and of the static files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from vsrcli._version import __version__
from vsrcli.web.auth import Sessions
from vsrcli.web.options import OptionsRoutes

LANGUAGES = ("en", "ko")
_FOLDER = Path(__file__).parent
_MAX_BODY = 4096  # bytes of the login form


class PageRoutes:
    """The routes of ``/``, ``/login`` and ``/static``."""

    def __init__(self, sessions: Sessions, options: OptionsRoutes) -> None:
        self._sessions, self._options = sessions, options
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.routes = [
            Route("/", self.page),
            Route("/login", self.login_form),
            Route("/login", self.login, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_FOLDER / "static")),
        ]

    async def page(self, request: Request) -> Response:
        """Send the page and set the session cookie; accept ``?token=``."""
        if "token" in request.query_params:
            return self._check_token(request, request.query_params["token"])
        if not self._sessions.is_authorized(request):
            return self._render(request, "login.html", 401, is_wrong=False)
        response = self._render(request, "page.html", options=await self._options.options())
        self._sessions.issue_session(request, response)
        return response

    def login_form(self, request: Request) -> Response:
        """Send the login page."""
        if self._sessions.is_authorized(request):
            return RedirectResponse("/", 303)
        return self._render(request, "login.html", is_wrong=False)

    async def login(self, request: Request) -> Response:
        """Check the token in the submitted form."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                break
        form = parse_qs(body[:_MAX_BODY].decode("utf-8", "replace"))
        return self._check_token(request, form.get("token", [""])[0])

    def _check_token(self, request: Request, token: str) -> Response:
        sessions = self._sessions
        if sessions.requires_token and sessions.is_rate_limited(request):
            return self._render(request, "login.html", 429, is_wrong=True, is_rate_limited=True)
        if sessions.requires_token and not sessions.is_valid_token(token):
            sessions.record_failure(request)
            return self._render(request, "login.html", 403, is_wrong=True)
        response = RedirectResponse("/", 303)
        sessions.grant_access(request, response)
        return response

    def _render(self, request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
        context |= {"version": __version__, "language": preferred_language(request)}
        return HTMLResponse(self._templates.get_template(name).render(**context), status)


def preferred_language(request: Request) -> str:
    """Return the language of the page: from ``?lang=``, then the cookie, then ``Accept-Language``."""
    for chosen in (request.query_params.get("lang"), request.cookies.get("vsr_language")):
        if chosen in LANGUAGES:
            return chosen
    accepted = []
    for number, part in enumerate(request.headers.get("accept-language", "").split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            accepted.append((-float(quality or 1), number, name.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(accepted) if name in LANGUAGES), LANGUAGES[0])
