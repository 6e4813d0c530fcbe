"""Outputs of a run: what every output does, the one that fits a job, and those written in one go.

Outputs in segments, which can be resumed, are in :mod:`vsrcli.pipeline.segmented_output` (videos) and
:mod:`vsrcli.pipeline.image_output` (image sequences).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

from vsrcli.errors import InputError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan
from vsrcli.images.plan import ImagePlan
from vsrcli.images.writer import ImageWriter
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.stdout import StdoutDestination
from vsrcli.media.types import Frame
from vsrcli.pipeline.image_output import ImageSink
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.segmented_output import SegmentedOutput, VideoSink
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.pipeline.upscaler import Upscaler


class Output(Protocol):
    """A context manager that writes frames; leaving it before ``finalize`` leaves no file at the target.

    Attributes:
        frame_count: frames written, those of earlier runs included.
        saved_count: of these, frames in committed segments, which an interruption does not cost.
        resumed_count: of these, frames of earlier runs.
        tiles: tile plans that ``state`` was saved with; the job's if there is none.
        state: state of the :class:`~vsrcli.pipeline.shot_upscaler.ShotUpscaler` to resume from; None to start
            at the first frame.
        complete: whether all frames are written and only ``finalize`` is left.
        shot_count: shots in all frames; complete after ``end_of_frames``.
        engine: device and precision, for people.
        warnings: what was skipped or replaced in the source.
    """

    frame_count: int
    resumed_count: int
    state: State | None

    @property
    def saved_count(self) -> int: ...

    @property
    def tiles(self) -> tuple[TilePlan, ...]: ...

    @property
    def complete(self) -> bool: ...

    @property
    def shot_count(self) -> int: ...

    @property
    def engine(self) -> str: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

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
            return DirectOutput(job, ImageWriter(plan, source, None))
        return SegmentedOutput(job, ImageSink(plan, source), reporter)
    if job.segmented:
        return SegmentedOutput(job, VideoSink(plan, source, job.ffmpeg), reporter)
    return DirectOutput(job, VideoEncoder(plan, source, ffmpeg=job.ffmpeg))


class DirectOutput:
    """A video or an image written in one go, see :class:`Output`; an interruption costs all of it."""

    def __init__(self, job: Job, writer: VideoEncoder | ImageWriter) -> None:
        self.frame_count = self.saved_count = self.resumed_count = self.shot_count = 0
        self.tiles = job.tiles
        self.state: State | None = None
        self.complete = False
        self.engine = ""
        self.warnings: tuple[str, ...] = ()
        self._writer = writer

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.abort()

    def guard_input(self, frames: Iterable[Frame]) -> Iterable[Frame]:
        return frames

    def set_engine(self, upscaler: Upscaler) -> None:
        self.engine = upscaler.engine.description

    def write(self, frame: Frame) -> None:
        self._writer.write(frame)
        self.frame_count += 1

    def checkpoint_if_due(self, shots: ShotUpscaler, raise_if_damaged: Callable[[], None]) -> None:
        pass

    def end_of_frames(self, shots: ShotUpscaler, warnings: tuple[str, ...]) -> None:
        self.shot_count, self.warnings = shots.count, warnings

    def finalize(self) -> None:
        self._writer.finish()
        self.warnings = (*self.warnings, *self._writer.warnings)
        self.complete = True


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
