"""The end of a segment: its encoder has all frames and is waited for, before other work or beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from vsrcli.media.segments import SegmentFile
from vsrcli.media.types import Frame
from vsrcli.system.threads import BackgroundTask


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
