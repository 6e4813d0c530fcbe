"""How far a film has come, in the words that an interrupted or failed run leaves behind."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vsrcli.media.y4m import STDIO

if TYPE_CHECKING:
    from vsrcli.pipeline.run import Progress


class ResumeHint:
    """Told of every progress.

    Args:
        target: where the film will lie.
        arguments: of the command line, to be given again.
    """

    def __init__(self, target: Path, arguments: Sequence[str]) -> None:
        self._target = target
        self._command = shlex.join(["vsr", *(each for each in arguments if each != "--no-resume")])
        self._before = self._identity()
        self._progress: Progress | None = None

    def update(self, progress: Progress) -> None:
        """What has been told last counts."""
        self._progress = progress

    def after_signal(self, kept: int) -> str:
        """After a signal: where it stands, and how to go on; ``kept`` frames are not lost."""
        done = f"stopped at frame {self._done:,}"
        if self._target == STDIO:
            return done
        if self._identity() != self._before:
            return f"{done}; {self._target} had just been finished"
        return f"{done}; {self._kept(kept) if kept else f'nothing was written at {self._target}'}"

    def after_error(self, kept: int) -> str:
        """After an error: what is not lost; empty if nothing is kept."""
        return self._kept(kept) if kept else ""

    def _kept(self, kept: int) -> str:
        of = f" of {self._progress.total:,}" if self._progress and self._progress.total else ""
        lost = max(self._done - kept, 0)
        after = f", the {lost:,} after them lost" if lost else ""
        return f"{kept:,}{of} frames are kept{after}; to go on: {self._command}"

    @property
    def _done(self) -> int:
        return self._progress.done if self._progress else 0

    def _identity(self) -> tuple[int, int] | None:
        """Which file lies at the target, to know afterwards whether it is a new one."""
        with contextlib.suppress(OSError):
            found = self._target.stat()
            return found.st_ino, found.st_mtime_ns
        return None
