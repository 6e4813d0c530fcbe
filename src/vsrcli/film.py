"""The new film as it grows: in segments that are kept, or in one go where that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from vsrcli.errors import InputError
from vsrcli.frames.spans import TilePlan
from vsrcli.frames.state import State
from vsrcli.job import Job
from vsrcli.media.encode import Encoder
from vsrcli.media.outgoing import Outlet
from vsrcli.media.types import Frame
from vsrcli.pictures.encode import PictureEncoder
from vsrcli.pictures.film import PictureFilm
from vsrcli.pictures.plan import PicturePlan
from vsrcli.segments import Maker, SegmentedFilm
from vsrcli.steady import Workshop


class Film(Protocol):
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

    count: int
    kept: int
    resumed: int
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

    def made_in(self, workshop: Workshop) -> None:
        """Say where the streams come from, before the first frame."""
        ...

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            EncodeError: the encoder stopped.
        """
        ...

    def rest(self, path: Maker, check: Callable[[], None]) -> None:
        """Nothing is half done now: a good moment to save what there is.

        Args:
            path: what makes the frames.
            check: raises if the source has turned out to be damaged; what is made of it is not worth keeping.

        Raises:
            VsrError: it cannot be saved.
        """
        ...

    def over(self, path: Maker, warnings: tuple[str, ...]) -> None:
        """That was the last frame.

        Raises:
            VsrError: it cannot be saved.
        """
        ...

    def finish(self) -> None:
        """Give the film its name.

        Raises:
            VsrError: it cannot be written.
        """
        ...


def open_film(job: Job, on_notice: Callable[[str], None]) -> Film:
    """The film of a job, to be used in a ``with`` statement."""
    if job.plan.to_stdout:
        return StreamedFilm(job)
    if isinstance(job.plan, PicturePlan):
        single = job.plan.targets.single is not None
        return StillFilm(job, job.plan) if single else PictureFilm(job, on_notice)
    return SegmentedFilm(job, on_notice) if job.segmented else WholeFilm(job)


def received(film: Film, frames: Iterable[Frame]) -> Iterable[Frame]:
    """The source's frames, as a film wants them: one that is read while it grows takes what comes before an
    error, too."""
    return film.until_broken(frames) if isinstance(film, StreamedFilm) else frames


class WholeFilm:
    """A film written in one go, see :class:`Film`; an interruption costs all of it."""

    def __init__(self, job: Job, encoder: Encoder | PictureEncoder | None = None) -> None:
        self.count = self.kept = self.resumed = self.shots = 0
        self.tiles = job.tiles
        self.state: State | None = None
        self.complete = False
        self.engine = ""
        self.warnings: tuple[str, ...] = ()
        self._encoder = encoder or Encoder(job.plan, job.source, ffmpeg=job.ffmpeg)

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.complete or kind is not None:
            self._encoder.__exit__(kind or RuntimeError, error, trace)

    def made_in(self, workshop: Workshop) -> None:
        self.engine = workshop.engine.description

    def write(self, frame: Frame) -> None:
        self._encoder.write(frame)
        self.count += 1

    def rest(self, path: Maker, check: Callable[[], None]) -> None:
        pass

    def over(self, path: Maker, warnings: tuple[str, ...]) -> None:
        self.shots, self.warnings = path.shots, warnings

    def finish(self) -> None:
        self._encoder.__exit__(None, None, None)
        self.warnings = (*self.warnings, *self._encoder.warnings)
        self.complete = True


class StillFilm(WholeFilm):
    """One picture, see :class:`Film`."""

    def __init__(self, job: Job, plan: PicturePlan) -> None:
        super().__init__(job, PictureEncoder(plan, job.source, None))


class StreamedFilm(WholeFilm):
    """A film on stdout, see :class:`Film`: frames that have gone cannot be taken back.

    So where the source breaks off, all frames before that point go out, and then its error is raised.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job, Outlet(job.plan, job.source, ffmpeg=job.ffmpeg))
        self._broken: InputError | None = None

    def until_broken(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames up to the first that cannot be read."""
        try:
            yield from frames
        except InputError as error:
            self._broken = error

    def finish(self) -> None:
        if self.count or self._broken is None:
            super().finish()
        if self._broken is not None:
            raise self._broken
