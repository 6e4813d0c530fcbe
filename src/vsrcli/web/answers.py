"""Answers to requests that are refused, and to those that the server itself fails on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from vsrcli.web.refusal import ApiError, internal_error

SESSION_PATHS = ("/api/", "/files")  # of programs and of the page's scripts; belongs to a session

# Nothing that could fail, too: no template, no file, no language to be found out.
_PLAIN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>vsr</title>
<h1>vsr</h1>
<p>Something went wrong on the server. <a href="/">Try again</a></p>
<p lang="ko">서버에서 문제가 발생했습니다. <a href="/">다시 시도</a></p>
</html>
"""


def error_response(request: Request, refusal: ApiError) -> Response:
    """A refusal as a response; uploads carry tus' own header."""
    headers = dict(refusal.headers)
    if request.url.path.startswith("/files"):
        headers.setdefault("Tus-Resumable", "1.0.0")
    return JSONResponse(refusal.content(), refusal.status, headers)


def failure_page(request: Request) -> Response:
    """What is told where a handler has raised something that nobody expected: nothing of what it was."""
    if request.url.path.startswith(SESSION_PATHS):
        return error_response(request, internal_error())
    return HTMLResponse(_PLAIN, 500)
