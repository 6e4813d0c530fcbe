"""What is answered where something is refused: a status, a sentence, a code for pages in other languages.

What the server itself says of a job: a sentence in English, and a code for pages in other languages.

What the command says of a job is told as it is, with the code ``command``.

Answers to requests that are refused, and to those that the server itself fails on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response


@dataclass(frozen=True)
class StatusMessage:
    """A sentence.

    Attributes:
        code: see docs/web.md; None: there is nothing to translate.
        sentence: for people.
        values: the numbers in the sentence, by name.
    """

    code: str | None
    sentence: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Of the job that it is said of."""
        return {"message": self.sentence, "code": self.code, "details": dict(self.values)}


NO_MESSAGE = StatusMessage(None, "")
INTERNAL_ERROR = StatusMessage("error", "Something went wrong on the server; its log says more.")
DISK_FULL = StatusMessage("room", "The result became larger than the room that is left on this server.")
INTERRUPTED = StatusMessage("interrupted", "The server was stopped meanwhile; this goes on where it was.")


def without_message(status: int) -> StatusMessage:
    """The command has ended without a film and without a reason; its exit status, or minus the signal."""
    return StatusMessage("stopped", f"It stopped without a word (status {status}).", {"status": status})


def from_command_output(text: str) -> StatusMessage:
    """In the command's own words."""
    return StatusMessage("command", text)


class ApiError(Exception):
    """An answer with status 4xx (or 500, or 503).

    Args:
        status: of HTTP.
        code: see docs/web.md.
        sentence: for people.
        headers: of the answer, besides the usual ones.
        values: the numbers in the sentence, by name.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
        self.headers, self.values = dict(headers or {}), values

    def content(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": self.sentence, "code": self.code, "values": self.values}


def not_found() -> ApiError:
    """For what does not exist, or belongs to another session: nobody can tell which."""
    return ApiError(404, "not_found", "There is nothing here, or it is not yours; it may have expired.")


def internal_error() -> ApiError:
    """For what nobody expected."""
    return ApiError(500, INTERNAL_ERROR.code or "", INTERNAL_ERROR.sentence)


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
