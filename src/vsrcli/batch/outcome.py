"""How a film has ended, and what can be told of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from vsrcli.batch.films import Task
from vsrcli.batch.ledger import Identity
from vsrcli.pipeline.run import Progress

Status = Literal["done", "skipped", "failed", "stopped", "waiting"]


@dataclass(frozen=True)
class Outcome:
    """How a film has ended.

    Attributes:
        status: ``done``; ``skipped``: it was finished before; ``failed``; ``stopped``: by a signal or because
            another one failed; ``waiting``: not begun.
        frames: in the film, or made so far; None if unknown.
        resumed: of these, how many an earlier run had made.
        seconds: that it took.
        reason: one line, empty if there is nothing to say.
        details: further lines, such as the last words of ffmpeg.
        warnings: what was passed over in the source.
        source: what it was made of, if it was made.
    """

    status: Status
    frames: int | None = None
    resumed: int = 0
    seconds: float = 0.0
    reason: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()
    source: Identity | None = None

    @property
    def fps(self) -> float | None:
        """Frames of this run per second, everything included; None if it made none."""
        made = (self.frames or 0) - self.resumed
        return made / self.seconds if self.status == "done" and made > 0 and self.seconds else None

    def as_dict(self, task: Task) -> dict[str, Any]:
        """For JSON; docs/batch.md explains it."""
        return {
            "name": task.name,
            "source": str(task.source),
            "target": str(task.target),
            "status": self.status,
            "frames": self.frames,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "fps": None if self.fps is None else round(self.fps, 3),
            "reason": self.reason or None,
            "details": self.details.splitlines(),
            "warnings": list(self.warnings),
        }


WAITING = Outcome("waiting", reason="not begun")


class BatchObserver(Protocol):
    """Told what happens; films are known by their number in the list of tasks."""

    def on_start(self, number: int) -> None:
        """A film is begun."""
        ...

    def on_notice(self, number: int, text: str) -> None:
        """Something that is worth a line."""
        ...

    def on_progress(self, number: int, progress: Progress) -> None:
        """A frame has been written."""
        ...

    def on_end(self, number: int, outcome: Outcome) -> None:
        """It is over."""
        ...
