"""Error responses, status messages of jobs (English text, and a code for translation), errors at the start.

The codes are listed in docs/web.md.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from vsrcli.errors import OutputError

SESSION_PATHS = ("/api/", "/files")  # need a session, and answer errors as JSON


class ApiError(Exception):
    """An error response with status 4xx, 500 or 503.

    Args:
        status: HTTP status.
        code: for translation, see docs/web.md.
        message: a sentence in English.
        headers: further headers of the response.
        values: numbers in the message, by name.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.values = dict(headers or {}), values


def not_found() -> ApiError:
    """Return the error for what does not exist or belongs to another session; both look the same."""
    return ApiError(404, "not_found", "There is nothing here, or it is not yours; it may have expired.")


def server_stopping() -> ApiError:
    """Return the error for what was cut short since the server has to end."""
    return ApiError(503, "stopping", "The server is being stopped; try again in a moment.")


def error_response(request: Request, error: ApiError) -> Response:
    """Return an error as JSON; responses of the upload protocol carry its version header."""
    headers = dict(error.headers)
    if request.url.path.startswith("/files"):
        headers.setdefault("Tus-Resumable", "1.0.0")
    body = {"error": error.message, "code": error.code, "values": error.values}
    return JSONResponse(body, error.status, headers)


def internal_error_response(request: Request) -> Response:
    """Return status 500, as JSON or as a page, without details of the exception."""
    if request.url.path.startswith(SESSION_PATHS):
        return error_response(request, ApiError(500, "error", INTERNAL_ERROR.message))
    return HTMLResponse(_INTERNAL_ERROR_PAGE, 500)


# No template, no file, no language detection: none of these could fail as well.
_INTERNAL_ERROR_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>vsr</title>
<h1>vsr</h1>
<p>Something went wrong on the server. <a href="/">Try again</a></p>
<p lang="ko">서버에서 문제가 발생했습니다. <a href="/">다시 시도</a></p>
</html>
"""


@dataclass(frozen=True)
class StatusMessage:
    """A status message of a job.

    Attributes:
        code: for translation, see docs/web.md; None: there is nothing to translate.
        message: a sentence in English.
        values: numbers in the message, by name.
    """

    code: str | None
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def job_columns(self) -> dict[str, Any]:
        """Return the columns of a job that hold the message."""
        return {"message": self.message, "code": self.code, "details": dict(self.values)}


NO_MESSAGE = StatusMessage(None, "")
INTERNAL_ERROR = StatusMessage("error", "Something went wrong on the server; its log says more.")
DISK_FULL = StatusMessage("disk_full", "The result became larger than the space that is left on this server.")
INTERRUPTED = StatusMessage("interrupted", "The server was stopped; the job continues where it was.")


def without_message(status: int) -> StatusMessage:
    """Return the message for a command that ended without a result and without an error message.

    Args:
        status: exit status of the process; minus the signal that ended it.
    """
    return StatusMessage(
        "stopped", f"It stopped without an error message (status {status}).", {"status": status}
    )


@contextlib.contextmanager
def data_folder_errors(data: Path) -> Iterator[None]:
    """Raise OutputError instead of errors of the system and of SQLite while a data folder is opened."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{data} cannot be written ({error.strerror}); give another folder with --data"
        ) from error
    except sqlite3.Error as error:
        raise OutputError(
            f"{data}: its database cannot be used ({error}); check the folder's rights and free space, or "
            "give another folder with --data"
        ) from error
