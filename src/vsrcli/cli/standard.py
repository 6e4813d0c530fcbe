"""stdin, stdout and stderr, whatever the caller has made of them.

A film of six days must not end because the terminal that it was started from is gone, or because somebody
reads no more of its messages than the first line.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from vsrcli.images.naming import NUMBER_WILDCARD, parse_target
from vsrcli.media.y4m import STDIO


def prepare_stdio() -> None:
    """Open those that are closed (or else the next file opened would become one of them), and let messages
    fall where nobody reads them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or _written(1)
    sys.stderr = BrokenPipeSafeStream(sys.stderr or _written(2))


class BrokenPipeSafeStream:
    """A text file whose reader may leave."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """As a file's; what cannot be written is dropped, and all that follows."""
        try:
            return self._file.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """As a file's."""
        try:
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class SourcePath(click.Path):
    """A film's name; ``-`` is stdin or stdout, and ``./-`` a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        path: Any = super().convert(value, param, ctx)
        return path.absolute() if path == STDIO and str(value) != str(STDIO) else path


class TargetPath(SourcePath):
    """The same of what is written; ``out/`` is a folder, even if there is none yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        path = super().convert(value, param, ctx)
        named = parse_target(value)
        return named if named.name == NUMBER_WILDCARD else path


def _written(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)
