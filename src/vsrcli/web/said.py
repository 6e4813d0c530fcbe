"""What the server itself says of a job: a sentence in English, and a code for pages in other languages.

What the command says of a job is told as it is, with the code ``command``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
