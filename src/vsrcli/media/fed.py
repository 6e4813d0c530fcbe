"""What is written as a whole or not at all, and the ffmpeg that is fed with its frames."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from vsrcli.media.process import FFmpegProcess


class AtomicWriter:
    """A context manager: leaving it normally finishes the work, and what is temporary goes in any case."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        """Give what was made its place."""

    def _discard(self) -> None:
        """Remove everything temporary; after ``_finish``, what is left of it."""


class FFmpegWriter(AtomicWriter):
    """The same around an ffmpeg that takes frames from its stdin, and a folder for its helper files.

    Raises:
        OSError: on entering: it cannot be started.
    """

    def __init__(self) -> None:
        self._scratch: Path | None = None
        self._process: FFmpegProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="vsr-"))
            self._process = self._start_in(self._scratch)
        except BaseException:
            self._discard()
            raise
        return self

    def _start_in(self, scratch: Path) -> FFmpegProcess:
        """Start it; ``scratch`` is empty."""
        raise NotImplementedError

    def _running(self) -> FFmpegProcess:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
