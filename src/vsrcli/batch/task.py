"""One film of a batch, from its name to its outcome; nothing but a signal gets out of it.

How a film has ended, and what can be told of it meanwhile.

Models that stay loaded from one film to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from vsrcli.batch.discovery import Task
from vsrcli.batch.ledger import Identity
from vsrcli.errors import SignalInterruptError, VsrError
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.types import Engine
from vsrcli.pipeline.checkpoint import read_journal
from vsrcli.pipeline.job import Options, prepare_job
from vsrcli.pipeline.run import Progress, run_job
from vsrcli.system.files import workdir_for

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


class EngineCache:
    """Loads each model once for a device and a precision, see :func:`~vsrcli.inference.selection.open_engine`.

    Attributes:
        loaded: how many have been loaded.
    """

    def __init__(self) -> None:
        self._there: dict[tuple[object, ...], Engine] = {}
        self._size: tuple[int, int] | None = None
        self._tell: Callable[[str], None] = lambda text: None

    @property
    def loaded(self) -> int:
        return len(self._there)

    def evict_other_sizes(self, height: int, width: int) -> None:
        """The next film comes in tiles of this size: graphs for another one only take memory from now on."""
        if self._size not in (None, (height, width)):
            for engine in self._there.values():
                if isinstance(engine, StreamingEngine):
                    engine.clear_compiled()
        self._size = height, width

    def load(
        self,
        choice: ModelChoice,
        *,
        on_notice: Callable[[str], None] = lambda text: None,
        **how: str,
    ) -> Engine:
        """As ``open_engine``, whose device, precision and engine are ``how``; the second time at once."""
        self._tell = on_notice
        weights = choice.weights
        key = (choice.name, choice.scale, weights and weights.card["sha256"], *sorted(how.items()))
        if key not in self._there:
            self._there[key] = open_engine(choice, on_notice=lambda text: self._tell(text), **how)
        return self._there[key]


@dataclass(frozen=True)
class Callbacks:
    """What wants to know how one film goes on.

    Attributes:
        notice: told what is worth a line.
        progress: told after every frame.
        stopping: whether a signal has arrived: then whatever goes wrong is its consequence.
    """

    notice: Callable[[str], None]
    progress: Callable[[Progress], None]
    stopping: Callable[[], bool] = lambda: False


def upscale_one(
    source: Path, target: Path, options: Options, engines: EngineCache, hearing: Callbacks
) -> Outcome:
    """Upscale one film.

    Args:
        source, target: files; the target's folder is made if there is none.
        options: of all films.
        engines: loads models.
        hearing: told of it.

    Returns:
        ``done``, ``failed`` or ``stopped``; whatever went wrong is its reason.
    """
    began, last = time.perf_counter(), None

    def progress(now: Progress) -> None:
        nonlocal last
        last = now
        hearing.progress(now)

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        job = prepare_job(source, target, options)
        before = Identity.of(source)
        for text in job.plan.notices:
            hearing.notice(text)
        engines.evict_other_sizes(job.tiles.tile_height, job.tiles.tile_width)
        result = run_job(job, on_progress=progress, on_notice=hearing.notice, load_engine=engines.load)
    except Exception as error:
        done: Progress | None = last
        took = time.perf_counter() - began
        outcome = failure_outcome(error, _kept(target), stopped=hearing.stopping())
        if done is None:
            return replace(outcome, seconds=took)
        return replace(outcome, frames=done.done, resumed=done.resumed, seconds=took)
    return Outcome(
        "done",
        frames=result.frames,
        resumed=result.resumed,
        seconds=time.perf_counter() - began,
        warnings=result.warnings,
        source=_read_again(source, before),
    )


def failure_outcome(error: Exception, kept: int = 0, *, stopped: bool = False) -> Outcome:
    """An error as an outcome; ``kept`` frames are not lost; ``stopped``: it follows from a signal."""
    safe = f"{kept:,} frames are kept" if kept else ""
    if stopped or isinstance(error, SignalInterruptError):
        return Outcome("stopped", reason=safe or "nothing is kept")
    if isinstance(error, VsrError):
        details = "\n".join(filter(None, (error.details, safe)))
        return Outcome("failed", reason=str(error), details=details)
    what = " ".join(filter(None, (type(error).__name__, str(error))))
    return Outcome("failed", reason=f"unexpected {what}", details=safe)


def _kept(target: Path) -> int:
    """Frames that another run can go on from, of this run or an earlier one."""
    try:
        journal = read_journal(workdir_for(target))
    except OSError:  # a name that leads nowhere
        return 0
    return journal.frame_count if journal else 0


def _read_again(source: Path, before: Identity) -> Identity:
    """With the checksum of all of it, unless it has changed meanwhile."""
    try:
        after = Identity.of(source, whole=True)
    except OSError:
        return before
    return after if replace(after, sha256="") == before else before
