"""Run one task of a batch: from its paths to an :class:`Outcome`. No error but a signal gets out.

:class:`BatchReporter` receives what happens to the tasks of a batch. :class:`EngineCache` keeps models loaded
from one task to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vsrcli.batch.discovery import Task
from vsrcli.batch.ledger import Identity, make_folder
from vsrcli.errors import SignalInterruptError, TargetLockedError, VsrError, describe_unexpected
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.types import Engine
from vsrcli.pipeline.checkpoint import read_journal
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.pipeline.progress import Progress, Reporter, Result
from vsrcli.pipeline.run import run_job
from vsrcli.system.files import workdir_for
from vsrcli.system.signals import CancelToken

Status = Literal["done", "skipped", "failed", "elsewhere", "stopped", "waiting"]


@dataclass(frozen=True)
class Outcome:
    """The result of one task.

    Attributes:
        status: ``done``; ``skipped``: finished by another run; ``failed``; ``elsewhere``: another run is
            writing the output; ``stopped``: by a signal, or because another task failed; ``waiting``: not
            started.
        frames: number of frames in the output, or written so far; None if unknown.
        resumed: how many of these an earlier run had written.
        seconds: duration of the run.
        reason: one line; empty if there is nothing to explain.
        details: further lines, such as the last ones of ffmpeg.
        warnings: damage in the source that was skipped.
        source_identity: fingerprint of the source of a task that is done.
    """

    status: Status
    frames: int | None = None
    resumed: int = 0
    seconds: float = 0.0
    reason: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()
    source_identity: Identity | None = None

    @property
    def fps(self) -> float | None:
        """Frames of this run per second, everything included; None if it is not done or wrote none."""
        new_frames = (self.frames or 0) - self.resumed
        return (
            new_frames / self.seconds if self.status == "done" and new_frames > 0 and self.seconds else None
        )

    def as_dict(self, task: Task) -> dict[str, Any]:
        """Return an entry of the JSON document, see docs/batch.md."""
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


WAITING = Outcome("waiting", reason="not started")


class BatchReporter:
    """Receives what happens to the tasks of a batch, which are known by their index in the task list.

    This one ignores everything, see :class:`~vsrcli.pipeline.progress.Reporter`.
    """

    def start(self, index: int) -> None:
        """Report that a task starts."""

    def notice(self, index: int, text: str) -> None:
        """Report something worth a line."""

    def progress(self, index: int, progress: Progress) -> None:
        """Report that a frame has been written."""

    def end(self, index: int, outcome: Outcome) -> None:
        """Report that a task has ended."""


class SendingReporter(BatchReporter):
    """Sends what happens to another process, progress at most every :attr:`INTERVAL` seconds.

    Args:
        send: called with the name of a method of :class:`BatchReporter` and its arguments.
    """

    INTERVAL = 0.1

    def __init__(self, send: Callable[[str, int, object], None]) -> None:
        self._send, self._next_progress = send, 0.0

    def notice(self, index: int, text: str) -> None:
        self._send("notice", index, text)

    def progress(self, index: int, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_progress or progress.done == progress.total:
            self._next_progress = now + self.INTERVAL
            self._send("progress", index, progress)

    def end(self, index: int, outcome: Outcome) -> None:
        self._send("end", index, outcome)


class TaskReporter(Reporter):
    """Passes the notices and progress of one task to the reporter of its batch.

    Attributes:
        latest: the last progress, None before the first.
    """

    def __init__(self, batch: BatchReporter, index: int) -> None:
        self.latest: Progress | None = None
        self._batch, self._index = batch, index

    def notice(self, text: str) -> None:
        self._batch.notice(self._index, text)

    def progress(self, progress: Progress) -> None:
        self.latest = progress
        self._batch.progress(self._index, progress)


class EngineCache:
    """Loads each model once per device, precision and engine.

    Attributes:
        loaded_count: number of models that have been loaded.
    """

    def __init__(self) -> None:
        self._engines: dict[tuple[object, ...], Engine] = {}
        self._tile_size: tuple[int, int] | None = None
        self._on_notice: Callable[[str], None] = lambda text: None

    @property
    def loaded_count(self) -> int:
        return len(self._engines)

    def evict_other_sizes(self, height: int, width: int) -> None:
        """Free graphs compiled for tiles of another size than the next task has: they only take memory."""
        if self._tile_size not in (None, (height, width)):
            for engine in self._engines.values():
                if isinstance(engine, StreamingEngine):
                    engine.clear_compiled()
        self._tile_size = height, width

    def load(
        self,
        choice: ModelChoice,
        *,
        on_notice: Callable[[str], None] = lambda text: None,
        **options: str,
    ) -> Engine:
        """Return an engine, loaded at the first call.

        Args and errors: as :func:`~vsrcli.inference.selection.open_engine`; ``options`` are its ``device``,
        ``precision`` and ``engine``.
        """
        self._on_notice = on_notice
        weights = choice.weights
        key = (choice.name, choice.scale, weights and weights.card["sha256"], *sorted(options.items()))
        if key not in self._engines:
            self._engines[key] = open_engine(choice, on_notice=lambda text: self._on_notice(text), **options)
        return self._engines[key]


def upscale_one(
    source: Path,
    target: Path,
    options: Options,
    engines: EngineCache,
    reporter: TaskReporter,
    cancel: CancelToken,
) -> Outcome:
    """Run one task.

    Args:
        source, target: paths; the target's folder is created if it does not exist.
        options: of all tasks.
        engines: loads models.
        reporter: receives notices and progress.
        cancel: once it is set, an error counts as its consequence.

    Returns:
        ``done``, ``failed``, ``elsewhere`` or ``stopped``; any error becomes the outcome's reason.
    """
    start_time = time.perf_counter()
    try:
        make_folder(target.parent)
        job = prepare_job(source, target, options)
        source_identity = Identity.of(source)
        for text in job.plan.notices:
            reporter.notice(text)
        tiles = job.passes[0].tiles
        engines.evict_other_sizes(tiles.tile_height, tiles.tile_width)
        result = run_job(job, reporter, cancel, load_engine=engines.load)
    except Exception as error:
        return outcome_of(error, source, target, reporter, start_time, stopped=bool(cancel.signum))
    return outcome_of(result, source, target, reporter, start_time, identity=source_identity)


def outcome_of(
    ended: Result | Exception,
    source: Path,
    target: Path,
    reporter: TaskReporter,
    start_time: float,
    *,
    identity: Identity | None = None,
    stopped: bool = False,
) -> Outcome:
    """Return the outcome of a run that has ended.

    Args:
        ended: its result, or its error.
        source, target: paths.
        reporter: that it reported to.
        start_time: by ``time.perf_counter``.
        identity: of the source before the run, of one with a result.
        stopped: an error follows from a signal.
    """
    if isinstance(ended, Exception):
        latest, seconds = reporter.latest, time.perf_counter() - start_time
        outcome = failure_outcome(ended, saved_frames_of(target), stopped=stopped)
        if latest is None:
            return replace(outcome, seconds=seconds)
        return replace(outcome, frames=latest.done, resumed=latest.resumed, seconds=seconds)
    assert identity is not None
    return Outcome(
        "done",
        frames=ended.frames,
        resumed=ended.resumed,
        seconds=time.perf_counter() - start_time,
        warnings=ended.warnings,
        source_identity=_complete_identity(source, identity),
    )


def failure_outcome(error: Exception, saved_frames: int = 0, *, stopped: bool = False) -> Outcome:
    """Return the outcome for an error.

    Args:
        error: any error of a task.
        saved_frames: frames that a resumed run will not compute again.
        stopped: the error follows from a signal.
    """
    saved = f"{saved_frames:,} frames are saved" if saved_frames else ""
    if stopped or isinstance(error, SignalInterruptError):
        return Outcome("stopped", reason=saved or "nothing is saved")
    if isinstance(error, TargetLockedError):
        return Outcome("elsewhere", reason=str(error))
    if isinstance(error, VsrError):
        details = "\n".join(filter(None, (error.details, saved)))
        return Outcome("failed", reason=str(error), details=details)
    return Outcome("failed", reason=describe_unexpected(error), details=saved)


def saved_frames_of(target: Path) -> int:
    """Return the number of frames that another run can resume after, of this run or an earlier one."""
    try:
        journal = read_journal(workdir_for(target))
    except OSError:  # a path that cannot exist
        return 0
    return journal.frame_count if journal else 0


def _complete_identity(source: Path, before: Identity) -> Identity:
    """Return the identity with the checksum of the complete file, unless the file changed during the run."""
    try:
        after = Identity.of(source, complete=True)
    except (OSError, SignalInterruptError):
        return before
    return after if replace(after, sha256="") == before else before
