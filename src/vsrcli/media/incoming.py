"""A film that comes through stdin.

YUV4MPEG2 is read as it comes, a frame at a time: its header and first picture go into a small temporary
file, which is probed like any film. Every other container may have to be entered more than once (its index
can lie at its end, sound is read beside the picture), so all of it is kept in a temporary file first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from vsrcli.errors import InputError, OutputError, UsageError, VsrError
from vsrcli.media.probe import probe
from vsrcli.media.types import Source
from vsrcli.media.y4m import MAGIC, STDIO, Y4mHeader
from vsrcli.media.y4m_pictures import Y4mReader
from vsrcli.system.files import resolve_target

PROBE_BYTES = 1 << 24
"""Bytes that are read to describe a film without taking all of it."""

_NAME = "stdin"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Y4mStream:
    """Pictures that are still to come.

    Attributes:
        header: of the stream.
        pictures: gives each of them once, the first one included; ends where the stream ends.
        waiting: whether it is the stream that is waited for just now.
        cut: what is missing, once the stream has ended inside a picture.
    """

    header: Y4mHeader
    pictures: Iterator[bytearray]
    waiting: Callable[[], bool]
    cut: Callable[[], str | None]


@dataclass(frozen=True)
class StdinSource(Source):
    """A film from stdin.

    Attributes:
        live: its pictures, if ``path`` holds only the first; None if ``path`` holds the film.
    """

    live: Y4mStream | None = None

    def plain(self) -> Source:
        """The same facts as of a film that has only a name."""
        return replace(Source(**_facts(self)), path=Path(_NAME))


def display_name(source: Source) -> str:
    """What messages call a film: its file's name, or ``stdin``."""
    return _NAME if isinstance(source, StdinSource) else str(source.path)


def y4m_stream_of(source: Source) -> Y4mStream | None:
    """The pictures of a stream that is read as it comes; None for a film in a file."""
    return source.live if isinstance(source, StdinSource) else None


class StdinInput:
    """A context manager; leaving it removes what was kept, and calls the film ``stdin`` in errors.

    Args:
        target: where the upscaled film will lie: what has to be kept is kept beside it, where there is room.
            None, or stdout: in the folder for temporary files.
        peek: read only what it takes to describe the film.
        on_notice: told what is kept, and where.
    """

    def __init__(
        self,
        target: Path | None = None,
        *,
        peek: bool = False,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._target = None if target == STDIO else target
        self._peek = peek
        self._tell = on_notice
        self._folder: Path | None = None
        self._waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, VsrError) and self._folder is not None:
            kept = str(self._folder / _NAME)
            error.args = tuple(str(each).replace(kept, _NAME) for each in error.args)
            error.details = error.details.replace(kept, _NAME)
        self.cleanup()

    def cleanup(self) -> None:
        """Remove what was kept. Safe to call at any time, any number of times."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def probe(self) -> StdinSource:
        """Read the beginning, or all of it; once only.

        Raises:
            UsageError: stdin is a terminal.
            InputError: it holds no film, see ``probe``.
            OutputError: there is no room to keep it.
        """
        if os.isatty(0):
            raise UsageError(
                "stdin is a terminal, so no film comes from there; give a file, or let a program write one: "
                "ffmpeg -i in.mkv -f yuv4mpegpipe - | vsr upscale - out.mkv"
            )
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(0, os.O_BINARY)
        head = b""
        while len(head) < len(MAGIC) and (piece := self._read(len(MAGIC) - len(head))):
            head += piece
        if not head:
            raise InputError("stdin is empty; let a program write a film to it")
        return self._live(head) if head == MAGIC else self._kept(head)

    def _read(self, size: int) -> bytes:
        """From the file number: a thread that waits inside Python's stdin would hold up the program's end."""
        self._waiting = True
        try:
            return os.read(0, size)
        except OSError as error:
            raise InputError(f"stdin cannot be read ({error.strerror}); check what writes it") from error
        finally:
            self._waiting = False

    def _live(self, head: bytes) -> StdinSource:
        pictures = Y4mReader(_behind(head, self._read))
        first = next(pictures, None)
        if first is None:
            raise InputError(
                f"stdin ends {pictures.cut or 'before its first frame'}, so there is no film; "
                "check what writes it"
            )
        with self._room(None) as file:
            file.write(pictures.header.minimal().line() + b"FRAME\n" + first)
        source = probe(Path(file.name))
        video = replace(source.video, duration=None, frames=None)
        following = Y4mStream(
            pictures.header, chain([first], pictures), lambda: self._waiting, lambda: pictures.cut
        )
        return _piped(replace(source, duration=None, size=0, video=video), following)

    def _kept(self, head: bytes) -> StdinSource:
        folder = None if self._target is None else resolve_target(self._target).parent.absolute()
        folder = folder if folder is not None and folder.is_dir() else None  # of pictures, it is made later
        with self._room(folder) as file:
            if not self._peek:
                self._tell(f"stdin is no YUV4MPEG2, so all of it is read into {Path(file.name).parent} first")
            file.write(head)
            size, ended = self._copy(file, len(head), PROBE_BYTES if self._peek else None)
            file.flush()
            if not ended:
                with contextlib.suppress(InputError):
                    source = probe(Path(file.name))
                    # All that is known of the rest is what the beginning says of it.
                    video = replace(source.video, duration=None, frames=None)
                    return _piped(replace(source, duration=None, size=0, video=video))
                self._tell("the beginning of stdin does not say what film it is, so all of it is read")
                size, _ = self._copy(file, size, None)
        self._tell(f"stdin: {size:,} bytes were read; they are removed at the end")
        return _piped(probe(Path(file.name)))

    def _copy(self, file: IO[bytes], size: int, limit: int | None) -> tuple[int, bool]:
        """Go on to the end, or to ``limit`` bytes in all: how many there are, and whether that is all."""
        while limit is None or size < limit:
            piece = self._read(_PIECE)
            if not piece:
                return size, True
            file.write(piece)
            size += len(piece)
        return size, False

    @contextlib.contextmanager
    def _room(self, folder: Path | None) -> Iterator[IO[bytes]]:
        """A temporary file, in a folder of its own."""
        where, size = folder or Path(tempfile.gettempdir()), 0
        try:
            self._folder = Path(
                tempfile.mkdtemp(prefix=".vsr-stdin-" if folder else "vsr-stdin-", dir=folder)
            )
            with (self._folder / _NAME).open("wb") as file:
                try:
                    yield file
                finally:
                    size = file.tell()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            why = f"no room is left after {size:,} bytes" if full else error.strerror
            remedy = "free some space there" if folder else "free some space there, or set TMPDIR"
            raise OutputError(f"stdin cannot be kept in {where} ({why}); {remedy}") from error


@contextlib.contextmanager
def open_input(
    source: str | Path,
    target: str | Path | None = None,
    *,
    peek: bool = False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Iterator[Path | StdinInput]:
    """What ``prepare`` takes for a name: the file, or stdin for ``-``; see :class:`StdinInput`."""
    if Path(source) != STDIO:
        yield Path(source)
        return
    with StdinInput(None if target is None else Path(target), peek=peek, on_notice=on_notice) as incoming:
        yield incoming


def _piped(source: Source, following: Y4mStream | None = None) -> StdinSource:
    return StdinSource(**_facts(source), live=following)


def _facts(source: Source) -> dict[str, Any]:
    return {each.name: getattr(source, each.name) for each in fields(Source)}


def _behind(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """``read``, with some bytes before all others."""
    rest = bytearray(head)

    def take(size: int) -> bytes:
        if not rest:
            return read(size)
        piece = bytes(rest[:size])
        del rest[:size]
        return piece

    return take
