"""Films and jobs, as the database holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UPLOADING, CHECKING, READY, REFUSED = "uploading", "checking", "ready", "refused"
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class Upload:
    """An upload.

    Attributes:
        id, session: unguessable names.
        name: as its owner calls it.
        suffix: of the file on disk, with the dot.
        kind: media type as the browser says; told back, otherwise unused.
        size: bytes in all.
        state: ``uploading``, ``checking``, ``ready`` or ``refused``.
        reason, code: why it was refused.
        facts: width, height, fps, frames, duration, sound and container, once it is ready.
        created, touched: seconds since 1970; touched by every byte and by every job.
        deleted: its owner has deleted it; files go when nothing uses them any more.
    """

    id: str
    session: str
    name: str
    suffix: str
    kind: str
    size: int
    state: str
    reason: str | None
    code: str | None
    facts: Mapping[str, Any]
    created: float
    touched: float
    deleted: bool


@dataclass(frozen=True)
class JobRecord:
    """A conversion.

    Attributes:
        id, film, session: unguessable names.
        options: as asked for.
        arguments: of ``vsr upscale``, without the files.
        suffix: of the result, with the dot.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        cancel: its owner does not want it any more; the worker will see.
        done, total, fps, eta: progress; None: not known (yet).
        message: for people; English.
        code, details: the same for pages in other languages, see :class:`vsrcli.web.said.StatusMessage`.
        notices: what had to be changed on the way.
        result: facts of the new film.
        runner: the process that makes it: pid and start.
        bytes: on disk; expected ones while it is pending.
        created, started, finished: seconds since 1970.
        deleted: as of a film.
    """

    id: str
    film: str
    session: str
    options: Mapping[str, Any]
    arguments: list[str]
    suffix: str
    state: str
    cancel: bool
    done: int
    total: int | None
    fps: float | None
    eta: float | None
    message: str
    code: str | None
    details: Mapping[str, Any]
    notices: list[str]
    result: Mapping[str, Any] | None
    runner: Mapping[str, Any] | None
    bytes: int
    created: float
    started: float | None
    finished: float | None
    deleted: bool

    @property
    def pending(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (QUEUED, RUNNING)
