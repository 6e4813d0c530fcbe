"""A film in segments, so that what has been computed is never lost.

A segment ends after so many frames, or at a shot change shortly before. Then its file is closed and verified,
what the path remembers is saved, and a journal says so: from there, the next run of the same command goes on.
Encoders look ahead, so closing takes a while: where memory allows, the next segment is begun meanwhile.
Where segments end depends on the film and the options alone, so a film that was interrupted equals one that
was not. docs/reliability.md says the same for users.

The end of a segment: its encoder has all frames and is waited for, before other work or beside it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from vsrcli.errors import InputError, VsrError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan
from vsrcli.media.segments import SegmentConcatenator, SegmentEncoder, SegmentFile
from vsrcli.media.types import Frame
from vsrcli.pipeline.checkpoint import NAME, Journal, changes, fingerprint, load, read, save
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.memory import multiply_adds
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.files import WorkFolder
from vsrcli.system.threads import BackgroundTask, deferred_signals


class SegmentWriter(Protocol):
    """A context manager that takes the frames of one segment; its ``segment`` is there once it is left."""

    @property
    def segment(self) -> SegmentFile | None: ...

    def write(self, frame: Frame) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PendingSegment:
    """A segment that has all its frames. Making one begins to close it.

    Args:
        maker: of the segment; entered, and left from here on.
        file: that it will be.
        frames: of the film, up to its end.
        news: what the journal says once it is closed.
        beside: whether other work goes on meanwhile. If not, the maker has been left already.

    Attributes:
        file, frames, news: as given.
    """

    def __init__(
        self, maker: SegmentWriter, file: Path | None, frames: int, news: dict[str, Any], *, beside: bool
    ) -> None:
        self.file, self.frames, self.news = file, frames, news
        self._maker = maker
        self._task = BackgroundTask(partial(maker.__exit__, None, None, None), "closing") if beside else None

    def result(self, *, wait: bool) -> SegmentFile | None:
        """The segment; None if it is still being closed and nobody shall wait. Can be called again.

        Raises:
            VsrError: it could not be closed.
        """
        if self._task is not None:
            if not self._task.wait(timeout=None if wait else 0):
                return None
            if self._task.error is not None:
                raise self._task.error
        return self._maker.segment


SECONDS_PER_SEGMENT = 60.0  # seconds of work that an interruption may cost on a slow machine
ASSUMED_CPU_MACS_PER_SECOND, ASSUMED_GPU_MACS_PER_SECOND = 20e9, 2e12  # multiply-adds per second of slow ones
MIN_SEGMENT_FRAMES, MAX_SEGMENT_DURATION = 24, Fraction(10)  # frames; seconds of film
EARLY_CUT_FRACTION = Fraction(3, 4)  # of a segment's length, after which a shot change ends it
_USUAL_RATE = Fraction(25)


class CheckpointSource(Protocol):
    """What a film needs to know of the path that makes its frames."""

    shots: int

    @property
    def at_shot_boundary(self) -> bool:
        """Whether one shot is over and the next has not begun."""
        ...

    def state(self) -> State:
        """What has to be known to go on in another process."""
        ...


def segment_length(job: Job, *, on_gpu: bool = False) -> int:
    """Frames of a segment: a minute's work, but neither a moment nor a long stretch of film.

    Args:
        job: the model's multiply-adds and the frame's size count, not how fast this machine happens to be.
        on_gpu: whether a GPU computes.
    """
    if isinstance(job.options.segment, int):
        return job.options.segment
    video = job.source.video
    longest = int(MAX_SEGMENT_DURATION * (video.frame_rate or _USUAL_RATE))
    work = multiply_adds(job.model) * video.width * video.height
    frames = (
        SECONDS_PER_SEGMENT * (ASSUMED_GPU_MACS_PER_SECOND if on_gpu else ASSUMED_CPU_MACS_PER_SECOND) / work
        if work
        else longest
    )
    return max(min(int(frames), longest), MIN_SEGMENT_FRAMES)


class SegmentedOutput:
    """A film in segments, see :class:`~vsrcli.pipeline.outputs.Output`.

    Leaving it by an exception keeps the finished segments, in a folder beside the target.

    Args:
        job: what is made.
        on_notice: told whether and where an earlier run is continued, and why not.

    Raises:
        OutputError: another run makes this film, or the folder cannot be written.
        EncodeError: an encoder stopped.
        InputError: the source is not the file any more that it was.
    """

    def __init__(self, job: Job, on_notice: Callable[[str], None] = lambda text: None) -> None:
        self.frame_count = self.saved_count = self.resumed_count = 0
        self.state: State | None = None
        self._job = job
        self._tell = on_notice
        self._folder = WorkFolder(job.plan.target)
        self._journal = Journal(tiles=job.tiles)
        self._segment: SegmentWriter | None = None
        self._file: Path | None = None  # that the segment will be, and the one that grows meanwhile
        self._part: Path | None = None
        self._closing: PendingSegment | None = None
        self._workshop: Upscaler | None = None
        self._late_warnings: tuple[str, ...] = ()

    @property
    def tiles(self) -> TilePlan:
        return self._journal.tiles

    @property
    def complete(self) -> bool:
        return self._journal.complete

    @property
    def shots(self) -> int:
        return self._journal.shots

    @property
    def engine(self) -> str:
        return self._journal.engine

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._journal.warnings, *self._late_warnings)

    def __enter__(self) -> Self:
        self._folder.open()
        try:
            self._journal = replace(self._journal, fingerprint=self._fingerprint())
            earlier = read(self._folder.path)
            if earlier is not None:
                self._resume_from(earlier)
        except BaseException:
            self._release_workdir()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._segment is not None:
                self._segment.__exit__(kind or RuntimeError, error, trace)
            with contextlib.suppress(VsrError):  # there is an error already
                self._commit_closed_segment()
        finally:
            if isinstance(error, VsrError):
                error.saved_frames = self._committed_frames()
            self._release_workdir()

    def set_engine(self, workshop: Upscaler) -> None:
        engine, before = workshop.engine, self._journal.engine
        if before not in ("", engine.description):
            self._tell(f"the frames before were made by {before}: at that border a small difference may show")
        length = self._journal.length or segment_length(self._job, on_gpu=engine.on_gpu)
        self._journal = replace(self._journal, engine=engine.description, length=length)
        self._workshop = workshop

    def write(self, frame: Frame) -> None:
        if self._segment is None:
            self._segment = self._new_segment().__enter__()
        self._segment.write(frame)
        self.frame_count += 1
        self._commit_closed_segment(wait=False)

    def checkpoint_if_due(self, path: CheckpointSource, check: Callable[[], None]) -> None:
        length, written = self._journal.length, self.frame_count - self._segment_start
        if written >= length or (path.at_shot_boundary and written >= EARLY_CUT_FRACTION * length):
            self._commit_closed_segment()
            name = f"state-{len(self._journal.segments) + 1}.npz"
            if self._overlapping:
                check()
                save(self._folder, name, path.state())
                self._start_closing(beside=True, state=name, shots=path.shots)
            else:  # what is saved may need the encoder's memory
                assert self._segment is not None
                self._segment.__exit__(None, None, None)
                check()
                save(self._folder, name, path.state())
                self._start_closing(state=name, shots=path.shots)
                self._commit_closed_segment()

    def end_of_frames(self, path: CheckpointSource, warnings: tuple[str, ...]) -> None:
        self._commit_closed_segment()
        news: dict[str, Any] = {"state": None, "shots": path.shots, "warnings": warnings, "complete": True}
        if self._segment is not None:
            self._segment.__exit__(None, None, None)
            self._start_closing(**news)
            self._commit_closed_segment()
        else:
            self._save(self._journal, self.frame_count, {**news, **self._current_tiles()})

    def finalize(self) -> None:
        job = self._job
        if changed := changes(self._journal.fingerprint, self._fingerprint()):
            raise InputError(
                f"{job.source.path}: {_listed(changed)} changed while it was upscaled; "
                "put the old file back, or run the command again to begin anew"
            )
        self._late_warnings = self._concatenate()
        self._folder.remove()

    @property
    def _segment_start(self) -> int:
        """Frames in all segments before the one that is written."""
        return self._closing.frames if self._closing else self.saved_count

    @property
    def _overlapping(self) -> bool:
        """Whether a segment is closed while the next one is computed."""
        return self._job.can_close_in_background(self._workshop.tiles if self._workshop else self.tiles)

    def _new_segment(self) -> SegmentWriter:
        job, finished = self._job, self._journal.segments
        first = self._folder.path / finished[0].name if finished else self._closing and self._closing.file
        number = len(finished) + (self._closing is not None)
        self._file = self._folder.path / f"{number:06}-{time.time_ns():x}.mov"
        segment = SegmentEncoder(
            job.plan, job.source, self._file, begins=self.frame_count, like=first, ffmpeg=job.ffmpeg
        )
        self._part = segment.part
        return segment

    def _concatenate(self) -> tuple[str, ...]:
        """Make the film of its finished segments; what was found wrong with other streams."""
        job = self._job
        joiner = SegmentConcatenator(
            job.plan, job.source, self._folder.path, self._journal.segments, ffmpeg=job.ffmpeg
        )
        with joiner:
            joiner.write_packets()
        return tuple(joiner.warnings)

    def _is_intact(self, earlier: Journal) -> bool:
        """Whether everything is there that an earlier run has finished."""
        return earlier.whole(self._folder.path)

    def _set_segment_length(self, frames: int) -> None:
        """How long segments are."""
        self._journal = replace(self._journal, length=frames)

    def _start_closing(self, *, beside: bool = False, **news: Any) -> None:
        """Put the segment aside, which is closed, or begin to close it ``beside`` what follows."""
        segment, news = self._segment, {**news, **self._current_tiles()}
        assert segment is not None
        with deferred_signals():
            self._closing = PendingSegment(segment, self._file, self.frame_count, news, beside=beside)
            self._segment = self._part = None

    def _commit_closed_segment(self, *, wait: bool = True) -> None:
        """If a segment has been closed, it counts from now on. Can be called again where it was interrupted.

        Args:
            wait: for a segment that is still being closed.

        Raises:
            VsrError: it could not be closed, or the journal not be written.
        """
        closing = self._closing
        if closing is None:
            return
        try:
            segment = closing.result(wait=wait)
        except VsrError:
            self._closing = None
            raise
        if segment is not None:
            finished = (*self._journal.segments, segment)
            self._save(replace(self._journal, segments=finished), closing.frames, closing.news)

    def _current_tiles(self) -> dict[str, TilePlan]:
        """For the journal: how frames are cut now, which what is saved depends on."""
        return {"tiles": self._workshop.tiles} if self._workshop else {}

    def _save(self, journal: Journal, frames: int, news: Mapping[str, Any]) -> None:
        """Write the journal: the moment at which a segment counts."""
        journal = replace(journal, **news)
        self._folder.write(NAME, lambda file: file.write(journal.dumps()))
        with deferred_signals():
            self._journal, self.saved_count, self._closing = journal, frames, None
        self._folder.keep_only([*journal.files, *([self._part.name] if self._part else ())])

    def _fingerprint(self) -> dict[str, str]:
        try:
            return fingerprint(self._job)
        except OSError as error:
            path = self._job.source.path
            raise InputError(f"{path} cannot be read ({error.strerror}); check the file") from error

    def _resume_from(self, earlier: Journal) -> None:
        """Take up where an earlier run left off, or say why not."""
        changed = changes(earlier.fingerprint, self._journal.fingerprint)
        state = load(self._folder.path / earlier.state) if earlier.state else None
        if not self._job.options.resume:
            why = "as asked for"
        elif changed:
            why = f"{_listed(changed)} changed"
        elif not self._is_intact(earlier) or (earlier.state and state is None):
            why = "some of their files are missing or damaged"
        else:
            self._journal, self.state = earlier, state
            self.frame_count = self.saved_count = self.resumed_count = earlier.frames
            expected = self._job.expected_frames
            self._tell(f"resuming at frame {self.resumed_count:,}{f' of {expected:,}' if expected else ''}")
            return
        self._tell(f"starting afresh instead of going on from {earlier.frames:,} finished frames: {why}")

    def _committed_frames(self) -> int:
        """An interruption may have come between the writing of the journal and the counting."""
        journal = read(self._folder.path)
        return journal.frames if journal and journal.fingerprint == self._journal.fingerprint else 0

    def _release_workdir(self) -> None:
        if not (self._folder.path / NAME).exists():  # nothing is finished, not by an earlier run either
            self._folder.remove()
        self._folder.close()


def _listed(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more} {'has' if len(names) == 1 else 'have'}"
