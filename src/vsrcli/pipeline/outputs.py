"""Outputs of a run: what every output does, the one that fits a job, and those written in one go.

Outputs in segments, which can be resumed, are in :mod:`vsrcli.pipeline.segmented_output`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol, Self

from vsrcli.errors import InputError
from vsrcli.frames.state import State
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import ImageWorkDir
from vsrcli.images.writer import ImageWriter
from vsrcli.media.encoder import FrameWriter, VideoEncoder
from vsrcli.media.ffmpeg_writer import Destination
from vsrcli.media.planning import check_target
from vsrcli.media.stdout import StdoutDestination
from vsrcli.media.types import Frame
from vsrcli.pipeline.checkpoint import Journal, changed_keys, may_hold_journal, release_workdir
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.segmented_output import SegmentedOutput, join_names, unreadable_error
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.pipeline.sinks import ImageSink, VideoSink
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.files import WorkDir, register_temporary


class Output(Protocol):
    """A context manager that writes frames; leaving it before ``finalize`` leaves no file at the target.

    Attributes:
        frame_count: frames written, those of earlier runs included.
        resumed_count: of these, frames of earlier runs.
        state: state of the :class:`~vsrcli.pipeline.shot_upscaler.ShotUpscaler` to resume from; None to start
            at the first frame. Who has restored it sets it to None, to release its memory.
        journal: the rest; of an output in one go, without segments.
    """

    frame_count: int
    resumed_count: int
    state: State | None
    journal: Journal

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...

    def guard_input(self, frames: Iterable[Frame]) -> Iterable[Frame]:
        """Return the source's frames; for stdout, end at an input error, which ``finalize`` raises."""
        ...

    def set_engine(self, upscaler: Upscaler) -> None:
        """Record which engine upscales. Call before the first frame."""
        ...

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            EncodeError: the encoder stopped.
        """
        ...

    def checkpoint_if_due(self, shots: ShotUpscaler, raise_if_damaged: Callable[[], None]) -> None:
        """Save a checkpoint if one is due. Call between groups of frames.

        Args:
            shots: what yields the frames; its state is saved.
            raise_if_damaged: called before a checkpoint; raises if the source has turned out to be damaged,
                since frames of damaged data must not be committed.

        Raises:
            VsrError: the checkpoint cannot be saved, or the source is damaged.
        """
        ...

    def end_of_frames(self, shots: ShotUpscaler, warnings: tuple[str, ...]) -> None:
        """Commit the last segment. Call after the last frame.

        Args:
            shots: what yielded the frames.
            warnings: of the decoder.

        Raises:
            VsrError: the segment cannot be saved.
        """
        ...

    def finalize(self) -> None:
        """Write the target: join segments, move the file to its final name.

        Raises:
            VsrError: the target cannot be written.
        """
        ...


def open_output(job: Job, reporter: Reporter) -> Output:
    """Return the output of a job, to be used in a ``with`` statement."""
    plan, source = job.plan, job.source
    if plan.to_stdout:
        return StdoutOutput(
            job, VideoEncoder(plan, source, StdoutDestination(plan, source), ffmpeg=job.ffmpeg)
        )
    if isinstance(plan, ImagePlan):
        if plan.naming.single_name is not None:
            return DirectOutput(job, ImageWriter(plan, source, None), ImageWorkDir(plan.naming, source.path))
        return SegmentedOutput(job, ImageSink(plan, source), reporter)
    if job.segmented:
        return SegmentedOutput(job, VideoSink(plan, source, job.ffmpeg), reporter)
    workdir = WorkDir(plan.target)
    destination = Destination(plan, source, workdir.path / f"output{plan.target.suffix}")
    return DirectOutput(job, VideoEncoder(plan, source, destination, ffmpeg=job.ffmpeg), workdir)


class DirectOutput:
    """A video or an image written in one go, see :class:`Output`; an interruption costs all of it.

    Args:
        job: what to write.
        writer: of the frames.
        workdir: of the target, locked while the output is open; None: nothing is written there.

    Raises:
        OutputError: another run writes this target or has just finished it, or the workdir cannot be written.
        InputError: the source has changed during the run.
    """

    def __init__(self, job: Job, writer: FrameWriter, workdir: WorkDir | None = None) -> None:
        self.frame_count = self.resumed_count = 0
        self.state: State | None = None
        self.journal = Journal(tiles=job.tiles)
        self._job, self._writer, self._workdir = job, writer, workdir
        self._source_before: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._workdir is not None:
            self._workdir.open()
        try:
            self._prepare()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    def _prepare(self) -> None:
        plan, workdir = self._job.plan, self._workdir
        if workdir is not None:
            if not may_hold_journal(workdir.path):  # of an earlier run, with its segments
                register_temporary(workdir.path)
            check_target(plan.target, overwrite=plan.overwrite, inputs=self._job.source.input_files)
        self._source_before = self._source_fingerprint()
        self._writer.start()

    def _release(self) -> None:
        try:
            self._writer.abort()
        finally:
            if self._workdir is not None:
                release_workdir(self._workdir)

    def guard_input(self, frames: Iterable[Frame]) -> Iterable[Frame]:
        return frames

    def set_engine(self, upscaler: Upscaler) -> None:
        self.journal = replace(self.journal, engine=upscaler.engine.description)

    def write(self, frame: Frame) -> None:
        self._writer.write(frame)
        self.frame_count += 1

    def checkpoint_if_due(self, shots: ShotUpscaler, raise_if_damaged: Callable[[], None]) -> None:
        pass

    def end_of_frames(self, shots: ShotUpscaler, warnings: tuple[str, ...]) -> None:
        self.journal = replace(self.journal, shot_count=shots.count, warnings=warnings)

    def finalize(self) -> None:
        if changed := changed_keys(self._source_before, self._source_fingerprint()):
            raise InputError(
                f"{self._job.source.path}: {join_names(changed)} changed while it was upscaled; "
                "run the command again"
            )
        self._writer.finish()
        warnings = (*self.journal.warnings, *self._writer.warnings)
        self.journal = replace(self.journal, warnings=warnings, complete=True)
        if self._workdir is not None:  # with the segments of an earlier run, which nobody needs any more
            self._workdir.remove()

    def _source_fingerprint(self) -> dict[str, str]:
        """Return what tells whether the source has changed, if that matters: not of a part of it, as it may
        still be recorded, of images, of stdin, and for stdout, whose bytes are gone already."""
        source = self._job.source
        if self._job.plan.to_stdout or not source.is_stored or source.images is not None or self._job.is_part:
            return {}
        try:
            return self._job.reader.fingerprint()
        except OSError as error:
            raise unreadable_error(self._job, error) from error


class StdoutOutput(DirectOutput):
    """A video on stdout, see :class:`Output`.

    Bytes on stdout cannot be taken back: where the source ends with an error, all frames before it are
    written, and ``finalize`` raises the error.
    """

    _input_error: InputError | None = None

    def guard_input(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        try:
            yield from frames
        except InputError as error:
            self._input_error = error

    def finalize(self) -> None:
        if self.frame_count or self._input_error is None:
            super().finalize()
        if self._input_error is not None:
            raise self._input_error
