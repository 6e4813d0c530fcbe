"""Video output in segments, so that an interruption costs at most one of them.

A segment ends after a number of frames, or at a shot boundary shortly before. Then its file is closed and
verified, the state of the upscaler is saved, and a journal records both: the next run of the same command
resumes from there. Encoders look ahead, so closing a segment takes a while; where memory allows, it happens
in the background while the next segment is computed.

Where segments end depends on the source and the options alone, so the output of an interrupted run equals
that of an uninterrupted one. docs/reliability.md describes this for users.
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
from vsrcli.pipeline.checkpoint import (
    JOURNAL_NAME,
    Journal,
    changed_keys,
    fingerprint,
    load_state,
    read_journal,
    save_state,
)
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.passes import multiply_adds
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.files import WorkDir
from vsrcli.system.threads import BackgroundTask

SECONDS_PER_SEGMENT = 60.0  # of work that an interruption may cost on a slow machine
ASSUMED_CPU_MACS_PER_SECOND, ASSUMED_GPU_MACS_PER_SECOND = 20e9, 2e12  # multiply-adds of slow ones
MIN_SEGMENT_FRAMES, MAX_SEGMENT_DURATION = 24, Fraction(10)  # frames; seconds of video
EARLY_CUT_FRACTION = Fraction(3, 4)  # of a segment's length, after which a shot boundary ends it
_DEFAULT_FRAME_RATE = Fraction(25)


class CheckpointSource(Protocol):
    """The part of :class:`~vsrcli.pipeline.shot_upscaler.ShotUpscaler` that a checkpoint needs.

    Attributes:
        count: shots begun.
    """

    count: int

    @property
    def at_shot_boundary(self) -> bool:
        """Whether a shot has ended and the next has not begun."""
        ...

    def state(self) -> State:
        """Return the state to resume from, in another process."""
        ...


class SegmentWriter(Protocol):
    """A context manager that writes the frames of one segment; ``segment`` is set once it has been left."""

    @property
    def segment(self) -> SegmentFile | None: ...

    def write(self, frame: Frame) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def frames_per_segment(job: Job, *, on_gpu: bool = False) -> int:
    """Return the length of a segment: ``--segment``, or about a minute's work within fixed limits.

    The speed is an assumption, not a measurement: segments must end at the same frames in every run.

    Args:
        job: its network's multiply-adds and the size of its frames count.
        on_gpu: assume the speed of a GPU.
    """
    if isinstance(job.options.segment, int):
        return job.options.segment
    video = job.source.video
    max_frames = int(MAX_SEGMENT_DURATION * (video.frame_rate or _DEFAULT_FRAME_RATE))
    macs_per_frame = multiply_adds(job.passes) * video.width * video.height
    macs_per_second = ASSUMED_GPU_MACS_PER_SECOND if on_gpu else ASSUMED_CPU_MACS_PER_SECOND
    frames = SECONDS_PER_SEGMENT * macs_per_second / macs_per_frame if macs_per_frame else max_frames
    return max(min(int(frames), max_frames), MIN_SEGMENT_FRAMES)


class SegmentedOutput:
    """A video written in segments, see :class:`~vsrcli.pipeline.outputs.Output`.

    Leaving it by an exception keeps the committed segments in the workdir, a hidden folder next to the
    target.

    Args:
        job: what to write.
        reporter: receives a notice whether and where an earlier run is resumed, or why it is not.

    Raises:
        OutputError: another run writes this target, or the workdir cannot be written.
        EncodeError: an encoder stopped early.
        InputError: the source has changed during the run.
    """

    def __init__(self, job: Job, reporter: Reporter) -> None:
        self.frame_count = self.saved_count = self.resumed_count = 0
        self.state: State | None = None
        self._job = job
        self._on_notice = reporter.notice
        self._workdir = WorkDir(job.plan.target)
        self._journal = Journal(tiles=job.tiles)
        self._writer: SegmentWriter | None = None
        self._segment_file: Path | None = None  # of the open segment, and its name until it is closed
        self._part_file: Path | None = None
        self._pending: PendingSegment | None = None
        self._upscaler: Upscaler | None = None
        self._stream_warnings: tuple[str, ...] = ()

    @property
    def tiles(self) -> tuple[TilePlan, ...]:
        return self._journal.tiles

    @property
    def complete(self) -> bool:
        return self._journal.complete

    @property
    def shot_count(self) -> int:
        return self._journal.shot_count

    @property
    def engine(self) -> str:
        return self._journal.engine

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._journal.warnings, *self._stream_warnings)

    def __enter__(self) -> Self:
        self._workdir.open()
        try:
            self._journal = replace(self._journal, fingerprint=self._current_fingerprint())
            earlier = read_journal(self._workdir.path)
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
            if self._writer is not None:
                self._writer.__exit__(kind or RuntimeError, error, trace)
            with contextlib.suppress(VsrError):  # there is an error already
                self._commit_closed_segment()
        finally:
            if isinstance(error, VsrError):
                error.saved_frames = self._committed_frames()
            self._release_workdir()

    def set_engine(self, upscaler: Upscaler) -> None:
        engine, earlier = upscaler.engine, self._journal.engine
        if earlier not in ("", engine.description):
            self._on_notice(
                f"earlier frames were computed by {earlier}: a small difference may show at that boundary"
            )
        segment_frames = self._journal.segment_frames or frames_per_segment(self._job, on_gpu=engine.on_gpu)
        self._journal = replace(self._journal, engine=engine.description, segment_frames=segment_frames)
        self._upscaler = upscaler

    def write(self, frame: Frame) -> None:
        if self._writer is None:
            self._writer = self._new_segment_writer().__enter__()
        self._writer.write(frame)
        self.frame_count += 1
        self._commit_closed_segment(wait=False)

    def checkpoint_if_due(self, shots: CheckpointSource, raise_if_damaged: Callable[[], None]) -> None:
        length, written = self._journal.segment_frames, self.frame_count - self._segment_start
        if written >= length or (shots.at_shot_boundary and written >= EARLY_CUT_FRACTION * length):
            self._commit_closed_segment()
            state_file = f"state-{len(self._journal.segments) + 1}.npz"
            if self._closes_in_background:
                raise_if_damaged()
                save_state(self._workdir, state_file, shots.state())
                self._start_closing(in_background=True, state_file=state_file, shot_count=shots.count)
            else:  # saving the state may need the encoder's memory
                assert self._writer is not None
                self._writer.__exit__(None, None, None)
                raise_if_damaged()
                save_state(self._workdir, state_file, shots.state())
                self._start_closing(state_file=state_file, shot_count=shots.count)
                self._commit_closed_segment()

    def end_of_frames(self, shots: CheckpointSource, warnings: tuple[str, ...]) -> None:
        self._commit_closed_segment()
        changes: dict[str, Any] = {
            "state_file": None, "shot_count": shots.count, "warnings": warnings, "complete": True,
        }  # fmt: skip
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._start_closing(**changes)
            self._commit_closed_segment()
        else:
            self._save_journal(self._journal, self.frame_count, {**changes, **self._current_tiles()})

    def finalize(self) -> None:
        job = self._job
        if changed := changed_keys(self._journal.fingerprint, self._current_fingerprint()):
            raise InputError(
                f"{job.source.path}: {_join_names(changed)} changed while it was upscaled; "
                "put the old file back, or run the command again to begin anew"
            )
        self._stream_warnings = self._concatenate()
        self._workdir.remove()

    @property
    def _segment_start(self) -> int:
        """Frames in all segments before the open one."""
        return self._pending.frame_count if self._pending else self.saved_count

    @property
    def _closes_in_background(self) -> bool:
        """Whether a segment is closed while the next one is computed."""
        return self._job.can_close_in_background(self._upscaler.tiles if self._upscaler else self.tiles)

    def _new_segment_writer(self) -> SegmentWriter:
        job, finished = self._job, self._journal.segments
        first = self._workdir.path / finished[0].name if finished else self._pending and self._pending.file
        number = len(finished) + (self._pending is not None)
        self._segment_file = self._workdir.path / f"{number:06}-{time.time_ns():x}.mov"
        writer = SegmentEncoder(
            job.plan,
            job.source,
            self._segment_file,
            first_frame=self.frame_count,
            reference=first,
            ffmpeg=job.ffmpeg,
        )
        self._part_file = writer.part_file
        return writer

    def _concatenate(self) -> tuple[str, ...]:
        """Write the target from the committed segments; return warnings about the source's other streams."""
        job = self._job
        concatenator = SegmentConcatenator(
            job.plan, job.source, self._workdir.path, self._journal.segments, ffmpeg=job.ffmpeg
        )
        with concatenator:
            concatenator.write_packets()
        return tuple(concatenator.warnings)

    def _is_intact(self, earlier: Journal) -> bool:
        """Whether all files of an earlier run's journal are there."""
        return earlier.is_intact(self._workdir.path)

    def _set_segment_frames(self, frame_count: int) -> None:
        """Set the length of segments."""
        self._journal = replace(self._journal, segment_frames=frame_count)

    def _start_closing(self, *, in_background: bool = False, **changes: Any) -> None:
        """Make the open segment the pending one, and close it in the background unless it is closed already.

        Args:
            in_background: close it in a thread.
            **changes: fields of the journal, once the segment is committed.
        """
        writer, changes = self._writer, {**changes, **self._current_tiles()}
        assert writer is not None
        self._pending = PendingSegment(
            writer, self._segment_file, self.frame_count, changes, in_background=in_background
        )
        self._writer = self._part_file = None

    def _commit_closed_segment(self, *, wait: bool = True) -> None:
        """Add the pending segment to the journal if it is closed. Can be called again after an interruption.

        Args:
            wait: wait for a segment that is still being closed.

        Raises:
            VsrError: it could not be closed, or the journal cannot be written.
        """
        pending = self._pending
        if pending is None:
            return
        try:
            segment = pending.result(wait=wait)
        except VsrError:
            self._pending = None
            raise
        if segment is not None:
            journal = replace(self._journal, segments=(*self._journal.segments, segment))
            self._save_journal(journal, pending.frame_count, pending.journal_changes)

    def _current_tiles(self) -> dict[str, tuple[TilePlan, ...]]:
        """Return the tile plans that the state depends on, as a change of the journal."""
        return {"tiles": self._upscaler.tiles} if self._upscaler else {}

    def _save_journal(self, journal: Journal, frame_count: int, changes: Mapping[str, Any]) -> None:
        """Write the journal, which commits its segments, and remove files that it does not refer to."""
        journal = replace(journal, **changes)
        self._workdir.write(JOURNAL_NAME, lambda file: file.write(journal.dumps()))
        self._journal, self.saved_count, self._pending = journal, frame_count, None
        part = [self._part_file.name] if self._part_file else []
        self._workdir.remove_except([*journal.referenced_files, *part])

    def _current_fingerprint(self) -> dict[str, str]:
        try:
            return fingerprint(self._job)
        except OSError as error:
            path = self._job.source.path
            raise InputError(f"{path} cannot be read ({error.strerror}); check the file") from error

    def _resume_from(self, earlier: Journal) -> None:
        """Resume an earlier run, or send a notice with the reason why not."""
        changed = changed_keys(earlier.fingerprint, self._journal.fingerprint)
        state = load_state(self._workdir.path / earlier.state_file) if earlier.state_file else None
        if not self._job.options.resume:
            reason = "as requested"
        elif changed:
            reason = f"{_join_names(changed)} changed"
        elif not self._is_intact(earlier) or (earlier.state_file and state is None):
            reason = "some of their files are missing or damaged"
        else:
            self._journal, self.state = earlier, state
            self.frame_count = self.saved_count = self.resumed_count = earlier.frame_count
            expected = self._job.expected_frames
            of_total = f" of {expected:,}" if expected else ""
            self._on_notice(f"resuming at frame {self.resumed_count:,}{of_total}")
            return
        self._on_notice(
            f"starting afresh instead of going on from {earlier.frame_count:,} finished frames: {reason}"
        )

    def _committed_frames(self) -> int:
        """Return the frames in the journal on disk.

        ``saved_count`` may lack a segment: an interruption may come between the journal and the counting.
        """
        journal = read_journal(self._workdir.path)
        return journal.frame_count if journal and journal.fingerprint == self._journal.fingerprint else 0

    def _release_workdir(self) -> None:
        if not (self._workdir.path / JOURNAL_NAME).exists():  # no run has committed anything
            self._workdir.remove()
        self._workdir.close()


class PendingSegment:
    """A segment that has all its frames and is not in the journal yet.

    Args:
        writer: of the segment; if ``in_background``, still open: it is left in a thread.
        file: path of the closed segment.
        frame_count: frames of the output up to the end of the segment.
        journal_changes: fields of the journal, once the segment is committed.
        in_background: close the segment in a thread; otherwise ``writer`` has been left already.

    Attributes:
        file, frame_count, journal_changes: as passed.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        file: Path | None,
        frame_count: int,
        journal_changes: dict[str, Any],
        *,
        in_background: bool,
    ) -> None:
        self.file, self.frame_count, self.journal_changes = file, frame_count, journal_changes
        self._writer = writer
        close = partial(writer.__exit__, None, None, None)
        self._task = BackgroundTask(close, "closing") if in_background else None

    def result(self, *, wait: bool) -> SegmentFile | None:
        """Return the closed segment, or None if it is still being closed and ``wait`` is false.

        Can be called again after an interruption.

        Raises:
            VsrError: it could not be closed.
        """
        if self._task is not None:
            if not self._task.join(timeout=None if wait else 0):
                return None
            if self._task.error is not None:
                raise self._task.error
        return self._writer.segment


def _join_names(names: list[str], limit: int = 3) -> str:
    """Return ``a, b, c and 2 more have``."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more} {'has' if len(names) == 1 else 'have'}"
