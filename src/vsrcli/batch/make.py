"""One film of a batch, from its name to its outcome; nothing but a signal gets out of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vsrcli.batch.engines import EngineCache
from vsrcli.batch.ledger import Identity
from vsrcli.batch.outcome import Outcome
from vsrcli.errors import SignalInterruptError, VsrError
from vsrcli.pipeline.checkpoint import read
from vsrcli.pipeline.job import Options, prepare_job
from vsrcli.pipeline.run import Progress, run_job
from vsrcli.system.files import folder_for


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
        result = run_job(job, on_progress=progress, on_notice=hearing.notice, load=engines.load)
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
        journal = read(folder_for(target))
    except OSError:  # a name that leads nowhere
        return 0
    return journal.frames if journal else 0


def _read_again(source: Path, before: Identity) -> Identity:
    """With the checksum of all of it, unless it has changed meanwhile."""
    try:
        after = Identity.of(source, whole=True)
    except OSError:
        return before
    return after if replace(after, sha256="") == before else before
