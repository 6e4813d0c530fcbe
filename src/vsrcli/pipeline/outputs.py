"""The new film as it grows: in segments that are kept, or in one go where that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from vsrcli.errors import InputError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan
from vsrcli.images.plan import ImagePlan
from vsrcli.images.writer import ImageWriter
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.stdout import StdoutEncoder
from vsrcli.media.types import Frame
from vsrcli.pipeline.image_output import ImageSequenceOutput
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.segmented_output import CheckpointSource, SegmentedOutput
from vsrcli.pipeline.upscaler import Upscaler


class Output(Protocol):
    """A context manager that takes frames; leaving it before ``finish`` leaves no file at the target.

    Attributes:
        count: frames that are there, those of earlier runs included.
        kept: of these, frames that an interruption does not cost.
        resumed: of these, frames that were there at the beginning.
        tiles: how frames are to be cut.
        state: what the path has to be given before it goes on; None to begin a film.
        complete: whether no frame is missing any more.
        shots: in all frames.
        engine: what has made them, for people.
        warnings: what was passed over or replaced in the source.
    """

    frame_count: int
    saved_count: int
    resumed_count: int
    state: State | None

    @property
    def tiles(self) -> TilePlan: ...

    @property
    def complete(self) -> bool: ...

    @property
    def shots(self) -> int: ...

    @property
    def engine(self) -> str: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set_engine(self, workshop: Upscaler) -> None:
        """Say where the streams come from, before the first frame."""
        ...

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            EncodeError: the encoder stopped.
        """
        ...

    def checkpoint_if_due(self, path: CheckpointSource, check: Callable[[], None]) -> None:
        """Nothing is half done now: a good moment to save what there is.

        Args:
            path: what makes the frames.
            check: raises if the source has turned out to be damaged; what is made of it is not worth keeping.

        Raises:
            VsrError: it cannot be saved.
        """
        ...

    def end_of_frames(self, path: CheckpointSource, warnings: tuple[str, ...]) -> None:
        """That was the last frame.

        Raises:
            VsrError: it cannot be saved.
        """
        ...

    def finalize(self) -> None:
        """Give the film its name.

        Raises:
            VsrError: it cannot be written.
        """
        ...


def open_output(job: Job, on_notice: Callable[[str], None]) -> Output:
    """The film of a job, to be used in a ``with`` statement."""
    if job.plan.to_stdout:
        return StdoutOutput(job)
    if isinstance(job.plan, ImagePlan):
        single = job.plan.targets.single is not None
        return ImageOutput(job, job.plan) if single else ImageSequenceOutput(job, on_notice)
    return SegmentedOutput(job, on_notice) if job.segmented else DirectOutput(job)


def guard_input(film: Output, frames: Iterable[Frame]) -> Iterable[Frame]:
    """The source's frames, as a film wants them: one that is read while it grows takes what comes before an
    error, too."""
    return film.guard_input(frames) if isinstance(film, StdoutOutput) else frames


class DirectOutput:
    """A film written in one go, see :class:`Film`; an interruption costs all of it."""

    def __init__(self, job: Job, encoder: VideoEncoder | ImageWriter | None = None) -> None:
        self.frame_count = self.saved_count = self.resumed_count = self.shots = 0
        self.tiles = job.tiles
        self.state: State | None = None
        self.complete = False
        self.engine = ""
        self.warnings: tuple[str, ...] = ()
        self._encoder = encoder or VideoEncoder(job.plan, job.source, ffmpeg=job.ffmpeg)

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.complete or kind is not None:
            self._encoder.__exit__(kind or RuntimeError, error, trace)

    def set_engine(self, workshop: Upscaler) -> None:
        self.engine = workshop.engine.description

    def write(self, frame: Frame) -> None:
        self._encoder.write(frame)
        self.frame_count += 1

    def checkpoint_if_due(self, path: CheckpointSource, check: Callable[[], None]) -> None:
        pass

    def end_of_frames(self, path: CheckpointSource, warnings: tuple[str, ...]) -> None:
        self.shots, self.warnings = path.shots, warnings

    def finalize(self) -> None:
        self._encoder.__exit__(None, None, None)
        self.warnings = (*self.warnings, *self._encoder.warnings)
        self.complete = True


class ImageOutput(DirectOutput):
    """One picture, see :class:`Film`."""

    def __init__(self, job: Job, plan: ImagePlan) -> None:
        super().__init__(job, ImageWriter(plan, job.source, None))


class StdoutOutput(DirectOutput):
    """A film on stdout, see :class:`Film`: frames that have gone cannot be taken back.

    So where the source breaks off, all frames before that point go out, and then its error is raised.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job, StdoutEncoder(job.plan, job.source, ffmpeg=job.ffmpeg))
        self._broken: InputError | None = None

    def guard_input(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames up to the first that cannot be read."""
        try:
            yield from frames
        except InputError as error:
            self._broken = error

    def finalize(self) -> None:
        if self.frame_count or self._broken is None:
            super().finalize()
        if self._broken is not None:
            raise self._broken
