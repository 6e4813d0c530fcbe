"""The page, and the page that asks for the token. Templates and their files lie beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from vsrcli._version import __version__
from vsrcli.web.auth import Sessions
from vsrcli.web.options import OptionsRoutes

_HERE = Path(__file__).parent
TEMPLATES, STATIC = _HERE / "templates", _HERE / "static"
_BODY = 4096  # bytes of the login's form
_PLAIN = {
    "page.html": "<!doctype html><html lang=en><meta charset=utf-8><title>vsr</title>"
    "<h1>vsr {{ version }}</h1><p>The page is not installed; /api and /files answer.</p></html>",
    "login.html": "<!doctype html><html lang=en><meta charset=utf-8><title>vsr</title><h1>vsr</h1>"
    '<form method=post action="/login"><label>Token <input type=password name=token required></label>'
    "<button>Enter</button>{% if wrong %}<p>That was not it.</p>{% endif %}</form></html>",
}


class PageRoutes:
    """The handlers.

    Args:
        sessions: cookies.
        offer: what may be asked for.
    """

    def __init__(self, sessions: Sessions, offer: OptionsRoutes) -> None:
        from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader

        self._sessions, self._offer = sessions, offer
        loader = ChoiceLoader([FileSystemLoader(TEMPLATES), DictLoader(_PLAIN)])
        self._templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)

    def routes(self) -> list[BaseRoute]:
        """``/``, ``/login`` and ``/static``."""
        routes: list[BaseRoute] = [
            Route("/", self.page, methods=["GET"]),
            Route("/login", self.login_form, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
        ]
        if STATIC.is_dir():
            routes.append(Mount("/static", StaticFiles(directory=STATIC)))
        return routes

    async def page(self, request: Request) -> Response:
        """The page; every visitor gets a session here."""
        if "token" in request.query_params:
            return self._try(request, request.query_params["token"])
        if not self._sessions.is_authorized(request):
            return self._render(request, "login.html", 401, wrong=False)
        response = self._render(request, "page.html", options=await self._offer.options())
        self._sessions.issue_session(request, response)
        return response

    async def login_form(self, request: Request) -> Response:
        """The form."""
        if self._sessions.is_authorized(request):
            return RedirectResponse("/", 303)
        return self._render(request, "login.html", wrong=False)

    async def login(self, request: Request) -> Response:
        """The form, filled in."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY:
                break
        form = parse_qs(bytes(body[:_BODY]).decode("utf-8", "replace"))
        return self._try(request, form.get("token", [""])[0])

    def _try(self, request: Request, token: str) -> Response:
        sessions = self._sessions
        if sessions.requires_token and sessions.is_rate_limited():
            return self._render(request, "login.html", 429, wrong=True, too_often=True)
        if sessions.requires_token and not sessions.is_token(token):
            sessions.record_failure()
            return self._render(request, "login.html", 403, wrong=True)
        response = RedirectResponse("/", 303)
        sessions.grant_access(request, response)
        return response

    def _render(self, request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
        context |= {"version": __version__, "language": language(request)}
        return HTMLResponse(self._templates.get_template(name).render(**context), status)


LANGUAGES = ("en", "ko")


def language(request: Request) -> str:
    """What the visitor reads: ``?lang=``, then a cookie, then what the browser says."""
    for wanted in (request.query_params.get("lang"), request.cookies.get("vsr_language")):
        if wanted in LANGUAGES:
            return wanted
    weighed = []
    for number, part in enumerate(request.headers.get("accept-language", "").split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weighed.append((-float(quality or 1), number, name.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(weighed) if name in LANGUAGES), LANGUAGES[0])
