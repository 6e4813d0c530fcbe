"""Read a video from stdin.

YUV4MPEG2 is streamed, a frame at a time: its header and first frame are written to a small temporary file,
which is probed like any video, and :mod:`vsrcli.media.y4m_decoder` decodes frames as they arrive. Every other
container may need random access (its index can be at the end, audio is read separately), so all of it is
first copied into a temporary file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from vsrcli.errors import InputError, OutputError, UsageError, VsrError
from vsrcli.media.probe import probe
from vsrcli.media.source_reader import Span, VideoReader
from vsrcli.media.types import Source
from vsrcli.media.y4m import MAGIC, STDIO, Y4mReader
from vsrcli.media.y4m_decoder import Y4mDecoder, Y4mStream
from vsrcli.system.files import create_temporary_folder, remove_temporary, resolve_target
from vsrcli.system.signals import wait_until_readable

PROBE_BYTES = 1 << 24
"""Bytes that are read to describe a video without reading all of it."""

_NAME = "stdin"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StdinSource(Source):
    """A video from stdin; ``path`` is a temporary copy."""

    @property
    def display_name(self) -> str:
        return _NAME

    @property
    def input_files(self) -> tuple[Path, ...]:
        return ()

    @property
    def is_stored(self) -> bool:
        return False


class LiveSource(StdinSource):
    """A YUV4MPEG2 stream from stdin; ``path`` has its first frame only."""

    @property
    def is_live(self) -> bool:
        return True


class Y4mStreamReader(VideoReader):
    """The reader of a YUV4MPEG2 stream, which can be read only once."""

    def __init__(self, source: LiveSource, stream: Y4mStream) -> None:
        super().__init__(source)
        self._stream = stream

    def open_decoder(self, **options: Any) -> Y4mDecoder:
        return Y4mDecoder(self.source, self._stream, **options)

    def check_span(self, start: Fraction | None, end: Fraction | None) -> None:
        pass

    def read_span(
        self,
        start: Fraction | None,
        end: Fraction | None,
        max_frames: int | None = None,
        *,
        for_counting: bool = False,
    ) -> Span:
        return replace(super().read_span(start, end), y4m_header=self._stream.header)


class StdinInput:
    """A context manager that owns the temporary copy of stdin.

    On exit it removes the copy, and replaces the copy's path in errors by ``stdin``.

    Args:
        target: path of the output. The copy is written to the same folder, which has room for a video; for
            None or stdout, to the folder for temporary files.
        probe_only: read only as much as describes the video.
        on_notice: called with messages about the copy: what is written, and where.
    """

    def __init__(
        self,
        target: Path | None = None,
        *,
        probe_only: bool = False,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._target = None if target == STDIO else target
        self._probe_only = probe_only
        self._on_notice = on_notice
        self._folder: Path | None = None
        self._is_waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, VsrError) and self._folder is not None:
            temporary_path = str(self._folder / _NAME)
            error.args = tuple(str(each).replace(temporary_path, _NAME) for each in error.args)
            error.details = error.details.replace(temporary_path, _NAME)
        self.cleanup()

    def cleanup(self) -> None:
        """Remove the temporary copy. Safe to call at any time, any number of times."""
        if self._folder is not None:
            remove_temporary(self._folder)

    def open_reader(self) -> VideoReader:
        """Read the beginning of stdin, or all of it, and describe the video. Call once.

        Raises:
            UsageError: stdin is a terminal.
            InputError: it is not a video, see ``probe.probe``.
            OutputError: the copy cannot be written.
        """
        if os.isatty(0):
            raise UsageError(
                "stdin is a terminal, not a video; give a file, or pipe the output of a program: "
                "ffmpeg -i in.mkv -f yuv4mpegpipe - | vsr upscale - out.mkv"
            )
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(0, os.O_BINARY)
        first_bytes = b""
        while len(first_bytes) < len(MAGIC) and (chunk := self._read(len(MAGIC) - len(first_bytes))):
            first_bytes += chunk
        if not first_bytes:
            raise InputError("stdin is empty; let a program write a video to it")
        return self._open_y4m(first_bytes) if first_bytes == MAGIC else self._spool(first_bytes)

    def _read(self, size: int) -> bytes:
        """Read from the file descriptor: a thread blocked in ``sys.stdin`` would delay the program's exit."""
        self._is_waiting = True
        try:
            wait_until_readable(0)
            return os.read(0, size)
        except OSError as error:
            raise InputError(f"stdin cannot be read ({error.strerror}); check what writes it") from error
        finally:
            self._is_waiting = False

    def _open_y4m(self, first_bytes: bytes) -> VideoReader:
        reader = Y4mReader(_prepend(first_bytes, self._read))
        first_frame = next(reader, None)
        if first_frame is None:
            raise InputError(
                f"stdin ends {reader.truncation or 'before its first frame'}, so there is no video; "
                "check what writes it"
            )
        with self._temporary_file(None) as file:
            file.write(reader.header.minimal().line() + b"FRAME\n" + first_frame)
        source = probe(Path(file.name))
        video = replace(source.video, duration=None, frame_count=None)
        stream = Y4mStream(
            reader.header, chain([first_frame], reader), lambda: self._is_waiting, lambda: reader.truncation
        )
        source = replace(source, duration=None, size_bytes=0, video=video)
        return Y4mStreamReader(LiveSource(**vars(source)), stream)

    def _spool(self, first_bytes: bytes) -> VideoReader:
        folder = None if self._target is None else resolve_target(self._target).parent.absolute()
        folder = folder if folder is not None and folder.is_dir() else None  # that of images is created later
        with self._temporary_file(folder) as file:
            if not self._probe_only:
                self._on_notice(
                    f"stdin is not YUV4MPEG2, so all of it is read into {Path(file.name).parent} first"
                )
            file.write(first_bytes)
            size, ended = self._copy(file, len(first_bytes), PROBE_BYTES if self._probe_only else None)
            file.flush()
            if not ended:
                with contextlib.suppress(InputError):
                    source = probe(Path(file.name))
                    # The beginning states neither the duration nor the size of the rest reliably.
                    video = replace(source.video, duration=None, frame_count=None)
                    source = replace(source, duration=None, size_bytes=0, video=video)
                    return VideoReader(StdinSource(**vars(source)))
                self._on_notice("the beginning of stdin does not describe the video, so all of it is read")
                size, _ = self._copy(file, size, None)
        self._on_notice(f"stdin: {size:,} bytes were read; they are removed at the end")
        return VideoReader(StdinSource(**vars(probe(Path(file.name)))))

    def _copy(self, file: IO[bytes], size: int, limit: int | None) -> tuple[int, bool]:
        """Copy up to the end or ``limit`` bytes in all; return the number of bytes and whether stdin ended.

        Args:
            file: to write to.
            size: bytes written so far.
            limit: None: no limit.
        """
        while limit is None or size < limit:
            chunk = self._read(_CHUNK_BYTES)
            if not chunk:
                return size, True
            file.write(chunk)
            size += len(chunk)
        return size, False

    @contextlib.contextmanager
    def _temporary_file(self, folder: Path | None) -> Iterator[IO[bytes]]:
        """Open a temporary file in a new folder, in ``folder`` or the one for temporary files."""
        location, size = folder or Path(tempfile.gettempdir()), 0
        try:
            self._folder = create_temporary_folder(".vsr-stdin-" if folder else "vsr-stdin-", folder)
            with (self._folder / _NAME).open("wb") as file:
                try:
                    yield file
                finally:
                    size = file.tell()
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            reason = f"no space is left after {size:,} bytes" if is_full else error.strerror
            remedy = "free some space there" if folder else "free some space there, or set TMPDIR"
            raise OutputError(f"stdin cannot be copied to {location} ({reason}); {remedy}") from error


@contextlib.contextmanager
def open_input(
    source: str | Path,
    target: str | Path | None = None,
    *,
    probe_only: bool = False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Iterator[Path | StdinInput]:
    """Open an input for ``prepare_job``: its path, or a :class:`StdinInput` for ``-``.

    Args:
        source: path, or ``-``.
        target, probe_only, on_notice: see :class:`StdinInput`.
    """
    if Path(source) != STDIO:
        yield Path(source)
        return
    with StdinInput(
        None if target is None else Path(target), probe_only=probe_only, on_notice=on_notice
    ) as stdin:
        yield stdin


def _prepend(first_bytes: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a ``read`` that returns ``first_bytes`` before all others."""
    rest = bytearray(first_bytes)

    def read_next(size: int) -> bytes:
        if not rest:
            return read(size)
        chunk = bytes(rest[:size])
        del rest[:size]
        return chunk

    return read_next
