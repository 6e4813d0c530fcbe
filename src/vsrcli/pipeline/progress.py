"""Progress and result of a run, and the reporters that receive them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job


@dataclass(frozen=True)
class PieceCounts:
    """Pieces of a video that several workers compute.

    Attributes:
        waiting, running, done: numbers of pieces found so far.
        workers: that take part now.
        nodes: that these are on.
    """

    waiting: int
    running: int
    done: int
    workers: int
    nodes: int

    def __str__(self) -> str:
        places = f" on {self.nodes} nodes" if self.nodes > 1 else ""
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}{places}"
        return f"pieces: {self.waiting} waiting, {self.running} running, {self.done} done; {workers}"


@dataclass(frozen=True)
class Progress:
    """Progress of a run; reported after every frame written, and at the start of a resumed run.

    Attributes:
        done: frames written, those of earlier runs included.
        total: frames expected; None if the container does not state it.
        seconds: since the first frame of this run was written, so that the start of the network does not
            count as a slow frame.
        shots: shots begun.
        resumed: frames of earlier runs.
        saved: frames in committed segments, which an interruption does not cost.
        pieces: of a run on several workers; else None.
    """

    done: int
    total: int | None
    seconds: float
    shots: int
    resumed: int = 0
    saved: int = 0
    pieces: PieceCounts | None = None

    @property
    def fps(self) -> float:
        """Frames per second of this run, without its first frame; 0 before there are two."""
        return max(self.done - self.resumed - 1, 0) / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Remaining seconds; None if unknown."""
        return None if self.total is None or not self.fps else max(self.total - self.done, 0) / self.fps


@dataclass(frozen=True)
class Result:
    """Result of a finished run.

    Attributes:
        target: path of the output.
        frames: number of frames in it.
        seconds: duration of this run, start of the network included.
        shots: number of shots.
        engine: device and precision, for people.
        warnings: what was skipped or replaced in the source.
        resumed: frames of earlier runs.
        reused_frames: frames that show the result of the one before, since the network sees the same.
    """

    target: Path
    frames: int
    seconds: float
    shots: int
    engine: str
    warnings: tuple[str, ...]
    resumed: int = 0
    reused_frames: int = 0


class Reporter:
    """Receives what happens in a run, in the order of the methods; a context manager around the run itself.

    This one ignores everything: kinds of reporters override what they show. Methods are called in the thread
    of the run, and what they raise ends the run.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def plan(self, job: Job) -> None:
        """Report everything that was decided, for a dry run."""

    def start(self, job: Job) -> None:
        """Report what the run will do."""

    def engine(self, description: str) -> None:
        """Report that the network is loaded: device and precision."""

    def progress(self, progress: Progress) -> None:
        """Report that a frame has been written, or where the run resumes."""

    def notice(self, text: str) -> None:
        """Report something worth knowing, in one line; called at any time."""

    def done(self, result: Result) -> None:
        """Report that the output is complete."""


class CallbackReporter(Reporter):
    """Passes progress and notices to two functions.

    Args:
        on_progress: called after every frame.
        on_notice: called with lines of text.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._on_progress, self._on_notice = on_progress, on_notice

    def progress(self, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)

    def notice(self, text: str) -> None:
        if self._on_notice is not None:
            self._on_notice(text)


class CompositeReporter(Reporter):
    """Forwards every call to several reporters, in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def __enter__(self) -> Self:
        for each in self._reporters:
            each.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._reporters:
            each.__exit__(*exception)

    def plan(self, job: Job) -> None:
        for each in self._reporters:
            each.plan(job)

    def start(self, job: Job) -> None:
        for each in self._reporters:
            each.start(job)

    def engine(self, description: str) -> None:
        for each in self._reporters:
            each.engine(description)

    def progress(self, progress: Progress) -> None:
        for each in self._reporters:
            each.progress(progress)

    def notice(self, text: str) -> None:
        for each in self._reporters:
            each.notice(text)

    def done(self, result: Result) -> None:
        for each in self._reporters:
            each.done(result)
