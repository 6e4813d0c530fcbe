"""Output of videos and image sequences in segments, so that an interruption costs at most one of them.

A segment ends after a number of frames, or at a shot boundary shortly before. Then its file is closed and
verified, the state of the upscaler is saved, and a journal records both: the next run of the same command
resumes from there. Encoders look ahead, so closing a segment takes a while; where memory allows, it happens
in the background while the next segment is computed.

Where segments end depends on the source and the options alone, so the output of an interrupted run equals
that of an uninterrupted one. docs/reliability.md describes this for users.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

from vsrcli.errors import InputError, OutputError, VsrError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan
from vsrcli.media.encoder import DEFAULT_FRAME_RATE, FrameWriter
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.media.types import Frame
from vsrcli.pipeline.checkpoint import (
    JOURNAL_NAME,
    Journal,
    JournalError,
    JournalUpdate,
    changed_under_way,
    fingerprint,
    load_journal,
    load_state,
    obsolete_keys,
    release_workdir,
    save_state,
)
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.options import option_name
from vsrcli.pipeline.passes import multiply_adds
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.pipeline.sinks import ImageSink, VideoSink
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.threads import BackgroundTask

SECONDS_PER_SEGMENT = 60.0  # of work that an interruption may cost on a slow machine
ASSUMED_CPU_MACS_PER_SECOND, ASSUMED_GPU_MACS_PER_SECOND = 20e9, 2e12  # multiply-adds of slow ones
MIN_SEGMENT_FRAMES, MAX_SEGMENT_DURATION = 24, Fraction(10)  # frames; seconds of video
EARLY_CUT_FRACTION = Fraction(3, 4)  # of a segment's length, after which a shot boundary ends it
_UNLIMITED_FRAMES = 2**31  # of a segment, if checkpoints are disabled
_GPU_NUMBER = re.compile(r"(?<=GPU )\d+")  # of several workers, any one may be the first


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
    max_frames = int(MAX_SEGMENT_DURATION * (video.frame_rate or DEFAULT_FRAME_RATE))
    macs_per_frame = multiply_adds(job.models) * video.width * video.height
    macs_per_second = ASSUMED_GPU_MACS_PER_SECOND if on_gpu else ASSUMED_CPU_MACS_PER_SECOND
    frames = SECONDS_PER_SEGMENT * macs_per_second / macs_per_frame if macs_per_frame else max_frames
    return max(min(int(frames), max_frames), MIN_SEGMENT_FRAMES)


class SegmentedOutput:
    """An output written in segments, see :class:`~vsrcli.pipeline.outputs.Output`.

    Leaving it by an exception keeps the committed segments in the workdir, a hidden folder next to the
    target; of a source that no later run can read again, nothing.

    Args:
        job: what to write.
        sink: makes the segments and joins them.
        reporter: receives a notice whether and where an earlier run is resumed, or why it is not.

    Raises:
        OutputError: another run writes this target or has just finished it, or the workdir cannot be written.
        EncodeError: an encoder stopped early.
        InputError: the source has changed during the run.
    """

    def __init__(self, job: Job, sink: VideoSink | ImageSink, reporter: Reporter) -> None:
        self.frame_count = self.resumed_count = 0
        self.state: State | None = None
        self._job, self._sink, self._on_notice = job, sink, reporter.notice
        self._workdir = sink.workdir
        self.journal = Journal(tiles=job.tiles)
        self._writer: FrameWriter | None = None  # of the open segment
        self._pending: PendingSegment | None = None
        self._upscaler: Upscaler | None = None

    def __enter__(self) -> Self:
        self._workdir.open()
        try:
            self._sink.check_target()
            self.journal = replace(self.journal, fingerprint=self._current_fingerprint())
            self._resume()
        except BaseException:
            self._release_workdir()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if self._writer is not None:
                self._writer.abort()
            with contextlib.suppress(VsrError, OSError):  # there is an error already
                self._commit_pending()
        finally:
            if not self._job.source.is_stored and self.journal.all_segments:
                with contextlib.suppress(OSError):
                    (self._workdir.path / JOURNAL_NAME).unlink()
            elif isinstance(error, VsrError):
                error.saved_frames = self.journal.frame_count
            self._release_workdir()

    def guard_input(self, frames: Iterable[Frame]) -> Iterable[Frame]:
        return frames

    def set_engine(self, upscaler: Upscaler) -> None:
        engine = upscaler.engine
        self.record_engine(engine.description)
        segment_frames = _UNLIMITED_FRAMES
        if self._job.segmented:
            segment_frames = self.journal.segment_frames or frames_per_segment(
                self._job, on_gpu=engine.on_gpu
            )
        self.journal = replace(self.journal, segment_frames=segment_frames)
        self._upscaler = upscaler

    def record_engine(self, description: str) -> None:
        """Let the journal name what computes from now on; send a notice if it is not what computed before."""
        earlier = self.journal.engine
        if earlier and _GPU_NUMBER.sub("", earlier) != _GPU_NUMBER.sub("", description):
            self._on_notice(
                f"earlier frames were computed by {earlier}: a small difference may show at that boundary"
            )
        self.journal = replace(self.journal, engine=description)

    def write(self, frame: Frame) -> None:
        if self._writer is None:
            self._writer = self._sink.new_writer(self.journal.segments, self.frame_count)
            self._writer.start()
        self._writer.write(frame)
        self.frame_count += 1
        self._commit_pending(wait=False)

    def checkpoint_if_due(self, shots: ShotUpscaler, raise_if_damaged: Callable[[], None]) -> None:
        length = self.journal.segment_frames
        written = self.frame_count - (
            self._pending.frame_count if self._pending else self.journal.frame_count
        )
        if written < length and not (shots.at_shot_boundary and written >= EARLY_CUT_FRACTION * length):
            return
        self._commit_pending()
        writer, in_background = self._writer, self._job.can_close_in_background(self._current_tiles)
        assert writer is not None
        if not in_background:  # saving the state may need the encoder's memory
            writer.finish()
        raise_if_damaged()
        state_file = f"state-{len(self.journal.segments) + 1}-{time.time_ns():x}.npz"
        save_state(self._workdir, state_file, shots.state())
        update = JournalUpdate(self._current_tiles, shots.count, state_file)
        task = BackgroundTask(writer.finish, "closing") if in_background else None
        self._pending = PendingSegment(writer, self.frame_count, update, task)
        self._writer = None
        if not in_background:
            self._commit_pending()

    def end_of_frames(self, shots: ShotUpscaler, warnings: tuple[str, ...]) -> None:
        self._commit_pending()
        segment = None
        if self._writer is not None:
            self._writer.finish()
            segment, self._writer = self._writer.segment, None
        self._commit(JournalUpdate(self._current_tiles, shots.count, None, warnings, complete=True), segment)

    def finalize(self) -> None:
        if changed := changed_under_way(self._job, self.journal.fingerprint, self._current_fingerprint()):
            raise InputError(
                f"{self._job.source.path}: {join_names(changed)} changed while it was upscaled; "
                "put the old file back, or run the command again to begin anew",
                resume_option=None,
            )
        warnings = self._sink.concatenate(self.journal.all_segments)
        self.journal = replace(self.journal, warnings=(*self.journal.warnings, *warnings))
        self._workdir.remove()

    @property
    def _current_tiles(self) -> tuple[TilePlan, ...]:
        """Tile plans that the upscaler's state depends on."""
        return self._upscaler.tiles if self._upscaler else self.journal.tiles

    def _commit_pending(self, *, wait: bool = True) -> None:
        """Commit the pending segment if it is closed. Can be called again after an interruption.

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
            self._commit(pending.update, segment)

    def _commit(self, update: JournalUpdate, segment: SegmentFile | None) -> None:
        """Write the journal, which commits the segment, and remove files that it does not refer to."""
        journal = self.journal.updated(update, segment)
        self._workdir.write(JOURNAL_NAME, lambda file: file.write(journal.dumps()))
        self.journal, self._pending = journal, None
        self._workdir.remove_except(journal.referenced_files)

    def _current_fingerprint(self) -> dict[str, str]:
        try:
            return fingerprint(self._job)
        except OSError as error:
            raise unreadable_error(self._job, error) from error

    def _resume(self) -> None:
        """Resume an earlier run, if there is one, or send a notice with the reason why not.

        Raises:
            OutputError: its journal cannot be read.
        """
        try:
            earlier = load_journal(self._workdir.path)
        except (JournalError, OutputError) as error:
            is_wanted = self._job.options.resume
            if is_wanted and isinstance(error, OutputError):
                raise
            reason = error if is_wanted else "as requested"
            self._on_notice(f"starting afresh instead of going on from finished frames: {reason}")
            return
        if earlier is not None:
            self._resume_from(earlier)

    def _resume_from(self, earlier: Journal) -> None:
        changed = obsolete_keys(self._job, earlier.fingerprint, self.journal.fingerprint)
        state = load_state(self._workdir.path / earlier.state_file) if earlier.state_file else None
        is_intact = earlier.is_intact(self._workdir.path) and self._sink.is_intact(earlier.all_segments)
        if not self._job.options.resume:
            reason = "as requested"
        elif changed:
            reason = f"{join_names(changed)} changed"
        elif not is_intact or (earlier.state_file and state is None):
            reason = "some of their files are missing or damaged"
        else:
            self.journal, self.state = replace(earlier, fingerprint=self.journal.fingerprint), state
            self.frame_count = self.resumed_count = earlier.frame_count
            expected = self._job.expected_frames
            of_total = f" of {expected:,}" if expected else ""
            self._on_notice(f"resuming at frame {self.resumed_count:,}{of_total}")
            return
        self._on_notice(
            f"starting afresh instead of going on from {earlier.frame_count:,} finished frames: {reason}"
        )

    def _release_workdir(self) -> None:
        with contextlib.suppress(
            JournalError, OutputError
        ):  # what is committed is unknown: nothing may be discarded
            journal = load_journal(self._workdir.path)
            self._sink.discard_uncommitted(journal.all_segments if journal else ())
        release_workdir(self._workdir)


@dataclass
class PendingSegment:
    """A segment that has all its frames and is not in the journal yet.

    Attributes:
        writer: of the segment.
        frame_count: frames of the output up to the end of the segment.
        update: of the journal, once the segment is committed.
        task: finishes ``writer`` in a thread; None: that has finished already.
    """

    writer: FrameWriter
    frame_count: int
    update: JournalUpdate
    task: BackgroundTask | None

    def result(self, *, wait: bool) -> SegmentFile | None:
        """Return the finished segment, or None if it is not finished yet and ``wait`` is false.

        Raises:
            VsrError: it could not be finished.
        """
        if self.task is not None:
            if not self.task.join(timeout=None if wait else 0):
                return None
            if self.task.error is not None:
                raise self.task.error
        return self.writer.segment


def unreadable_error(job: Job, error: OSError) -> InputError:
    """Return the error for a source that cannot be read any more."""
    return InputError(f"{job.source.path} cannot be read ({error.strerror}); check the file")


def join_names(names: list[str], limit: int = 3) -> str:
    """Return ``a, b, c and 2 more have``."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    names = [option_name(name[2:]) if name.startswith("--") else name for name in names]
    return f"{', '.join(names[:limit])}{more} {'has' if len(names) == 1 else 'have'}"
