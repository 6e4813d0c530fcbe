"""What is answered where something is refused: a status, a sentence, a code for pages in other languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vsrcli.web.said import INTERNAL_ERROR


class ApiError(Exception):  # noqa: N818 - says itself what it is
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


def format_bytes(count: float) -> str:
    """``4 GiB`` for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.3g} {unit}"
