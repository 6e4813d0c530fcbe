"""A film that comes through stdin.

YUV4MPEG2 is read as it comes, a frame at a time: its header and first picture go into a small temporary
file, which is probed like any film. Every other container may have to be entered more than once (its index
can lie at its end, sound is read beside the picture), so all of it is kept in a temporary file first.

Frames of a YUV4MPEG2 stream that is still being written: decoded as they come, every one of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from vsrcli.errors import DecodeError, InputError, OutputError, UsageError, VsrError
from vsrcli.media.decoder import Decoder, decode_command
from vsrcli.media.probe import probe
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Frame, Source
from vsrcli.media.y4m import MAGIC, STDIO, Y4mHeader, Y4mReader
from vsrcli.system.files import resolve_target

PROBE_BYTES = 1 << 24
"""Bytes that are read to describe a film without taking all of it."""

_NAME = "stdin"
_CHUNK_BYTES = 1 << 20


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
    frames: Iterator[bytearray]
    is_waiting: Callable[[], bool]
    truncation: Callable[[], str | None]


@dataclass(frozen=True)
class StdinSource(Source):
    """A film from stdin.

    Attributes:
        live: its pictures, if ``path`` holds only the first; None if ``path`` holds the film.
    """

    y4m_stream: Y4mStream | None = None

    def as_plain_source(self) -> Source:
        """The same facts as of a film that has only a name."""
        return replace(Source(**_source_fields(self)), path=Path(_NAME))


def display_name(source: Source) -> str:
    """What messages call a film: its file's name, or ``stdin``."""
    return _NAME if isinstance(source, StdinSource) else str(source.path)


def y4m_stream_of(source: Source) -> Y4mStream | None:
    """The pictures of a stream that is read as it comes; None for a film in a file."""
    return source.y4m_stream if isinstance(source, StdinSource) else None


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
        first_bytes = b""
        while len(first_bytes) < len(MAGIC) and (chunk := self._read(len(MAGIC) - len(first_bytes))):
            first_bytes += chunk
        if not first_bytes:
            raise InputError("stdin is empty; let a program write a film to it")
        return self._open_y4m(first_bytes) if first_bytes == MAGIC else self._spool(first_bytes)

    def _read(self, size: int) -> bytes:
        """From the file number: a thread that waits inside Python's stdin would hold up the program's end."""
        self._is_waiting = True
        try:
            return os.read(0, size)
        except OSError as error:
            raise InputError(f"stdin cannot be read ({error.strerror}); check what writes it") from error
        finally:
            self._is_waiting = False

    def _open_y4m(self, first_bytes: bytes) -> StdinSource:
        reader = Y4mReader(_prepend(first_bytes, self._read))
        first_frame = next(reader, None)
        if first_frame is None:
            raise InputError(
                f"stdin ends {reader.truncation or 'before its first frame'}, so there is no film; "
                "check what writes it"
            )
        with self._temporary_file(None) as file:
            file.write(reader.header.minimal().line() + b"FRAME\n" + first_frame)
        source = probe(Path(file.name))
        video = replace(source.video, duration=None, frame_count=None)
        stream = Y4mStream(
            reader.header, chain([first_frame], reader), lambda: self._is_waiting, lambda: reader.truncation
        )
        return _stdin_source(replace(source, duration=None, size_bytes=0, video=video), stream)

    def _spool(self, first_bytes: bytes) -> StdinSource:
        folder = None if self._target is None else resolve_target(self._target).parent.absolute()
        folder = folder if folder is not None and folder.is_dir() else None  # of pictures, it is made later
        with self._temporary_file(folder) as file:
            if not self._probe_only:
                self._on_notice(
                    f"stdin is no YUV4MPEG2, so all of it is read into {Path(file.name).parent} first"
                )
            file.write(first_bytes)
            size, ended = self._copy(file, len(first_bytes), PROBE_BYTES if self._probe_only else None)
            file.flush()
            if not ended:
                with contextlib.suppress(InputError):
                    source = probe(Path(file.name))
                    # All that is known of the rest is what the beginning says of it.
                    video = replace(source.video, duration=None, frame_count=None)
                    return _stdin_source(replace(source, duration=None, size_bytes=0, video=video))
                self._on_notice("the beginning of stdin does not say what film it is, so all of it is read")
                size, _ = self._copy(file, size, None)
        self._on_notice(f"stdin: {size:,} bytes were read; they are removed at the end")
        return _stdin_source(probe(Path(file.name)))

    def _copy(self, file: IO[bytes], size: int, limit: int | None) -> tuple[int, bool]:
        """Go on to the end, or to ``limit`` bytes in all: how many there are, and whether that is all."""
        while limit is None or size < limit:
            chunk = self._read(_CHUNK_BYTES)
            if not chunk:
                return size, True
            file.write(chunk)
            size += len(chunk)
        return size, False

    @contextlib.contextmanager
    def _temporary_file(self, folder: Path | None) -> Iterator[IO[bytes]]:
        """A temporary file, in a folder of its own."""
        location, size = folder or Path(tempfile.gettempdir()), 0
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
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            reason = f"no room is left after {size:,} bytes" if is_full else error.strerror
            remedy = "free some space there" if folder else "free some space there, or set TMPDIR"
            raise OutputError(f"stdin cannot be kept in {location} ({reason}); {remedy}") from error


@contextlib.contextmanager
def open_input(
    source: str | Path,
    target: str | Path | None = None,
    *,
    probe_only: bool = False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Iterator[Path | StdinInput]:
    """What ``prepare`` takes for a name: the file, or stdin for ``-``; see :class:`StdinInput`."""
    if Path(source) != STDIO:
        yield Path(source)
        return
    with StdinInput(
        None if target is None else Path(target), probe_only=probe_only, on_notice=on_notice
    ) as stdin:
        yield stdin


def _stdin_source(source: Source, y4m_stream: Y4mStream | None = None) -> StdinSource:
    return StdinSource(**_source_fields(source), y4m_stream=y4m_stream)


def _source_fields(source: Source) -> dict[str, Any]:
    return {each.name: getattr(source, each.name) for each in fields(Source)}


def _prepend(first_bytes: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """``read``, with some bytes before all others."""
    rest = bytearray(first_bytes)

    def take(size: int) -> bytes:
        if not rest:
            return read(size)
        piece = bytes(rest[:size])
        del rest[:size]
        return piece

    return take


class Y4mDecoder(Decoder):
    """A :class:`~vsrcli.media.decoder.Decoder` of a film that can be read only once.

    Args:
        source: a film whose pictures are still to come.
        options: as of ``Decoder``. A stream that is cut short is an error behind its last whole frame; with
            ``tolerant``, a warning.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(source, **options)
        stream = y4m_stream_of(source)
        assert stream is not None
        self._stream = stream
        self._process: FFmpegProcess | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def raise_if_damaged(self) -> None:
        """Raw pictures hold nothing that could be damaged unseen."""

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _seek_point(self) -> Fraction | None:
        return None

    def _decode_from(self, seek: Fraction | None) -> Iterator[Frame]:
        command = decode_command(
            self.source, None, deinterlace=self._deinterlace, from_stdin=True, ffmpeg=self._ffmpeg
        )
        feeder = _Feeder(self._stream)
        process = self._process = FFmpegProcess(
            command, stdin=True, stdout=True, progress_marker=feeder.progress_marker
        )
        try:
            feeder.start(process)
            ended = yield from self._select_span(self._read_frames(process, feeder))
        finally:
            process.kill()
        if ended:
            self._check_end(feeder)

    def _read_frames(self, process: FFmpegProcess, feeder: _Feeder) -> Iterator[Frame]:
        """Every picture that went in."""
        import av

        video, number = self.source.video, 0
        dtype = np.dtype("<u2") if video.is_high_bit_depth else np.dtype(np.uint8)
        try:
            container: Any = av.open(process.stdout, format="nut", buffer_size=1 << 20)
            with container:
                for packet in container.demux(container.streams.video[0]):
                    if packet.size:
                        pixels = np.frombuffer(packet, dtype).reshape(video.height, video.width, 3)
                        yield Frame(pixels, number, video.time_base)
                        number += 1
        except (av.FFmpegError, OSError, EOFError, ValueError) as error:
            process.stdout.close()
            raise self._exit_error(process) from error
        if process.wait() != 0 or number != feeder.frame_count:
            raise self._exit_error(process)

    def _check_end(self, feeder: _Feeder) -> None:
        if feeder.error is not None:
            raise feeder.error
        truncation = self._stream.truncation()
        if truncation is None:
            return
        if not self._tolerant:
            raise DecodeError(
                f"{self.source.path}: after {self.frame_count} frames: it is cut short {truncation}; "
                "check what writes it, or use --keep-going"
            )
        self.warnings.append(f"stdin is cut short {truncation}, which is left out")

    def _exit_error(self, process: FFmpegProcess) -> DecodeError:
        ending = process.describe_exit(process.wait())
        return DecodeError(
            f"{self.source.path}: after {self.frame_count} frames: ffmpeg stopped ({ending}); "
            "see its last words for the reason",
            details=process.stderr_tail(),
        )


class _Feeder:
    """A thread that gives ffmpeg whole pictures only, as fast as it takes them.

    Attributes:
        count: pictures given so far.
        error: what was wrong with the stream.
    """

    def __init__(self, stream: Y4mStream) -> None:
        self._stream = stream
        self.frame_count = 0
        self.error: InputError | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Nobody waits for the thread: it may itself wait for a program that writes nothing for hours."""
        threading.Thread(target=self._run, args=(process,), name="feeder", daemon=True).start()

    def progress_marker(self) -> float:
        """Changes unless ffmpeg has something to do: that nothing comes from stdin is not its fault."""
        return time.monotonic() if self._stream.is_waiting() else self.frame_count

    def _run(self, process: FFmpegProcess) -> None:
        pipe = process.raw_stdin
        with contextlib.suppress(OSError, ValueError):  # ffmpeg has ended, and says why itself
            try:
                pipe.write(self._stream.header.minimal().line())
                for frame in self._stream.frames:
                    pipe.write(b"FRAME\n")
                    pipe.write(frame)
                    self.frame_count += 1
            except InputError as error:
                self.error = error
            finally:
                pipe.close()
