"""A film that goes to stdout: nothing else does, and whoever reads it may take all the time there is."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from vsrcli.errors import EncodeError, OutputError, ReaderClosedError, UsageError
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.mux import mux_command
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Source
from vsrcli.media.y4m import Y4mHeader

_CHUNK_BYTES = 1 << 20
_JOIN_TIMEOUT = 1.0  # seconds for the rest of a stream that is given up; its reader may have stopped reading


def require_stdout_pipe() -> None:
    """Whether a program or a file is at the other end.

    Raises:
        UsageError: it is a terminal.
    """
    if os.isatty(1):
        raise UsageError(
            "stdout is a terminal, which cannot show a film; name a file, or pipe it into a program: "
            "vsr upscale in.mp4 - | ffmpeg -i - out.mp4"
        )


class StdoutEncoder(VideoEncoder):
    """An :class:`~vsrcli.media.encoder.VideoEncoder` whose film goes to stdout while it grows.

    While it is open, stdout is its own: what else the process prints there goes to stderr.

    Args:
        plan: with ``to_stdout``.
        source, ffmpeg: as of ``VideoEncoder``.

    Raises:
        ReaderClosedError: the reader has closed its end.
        EncodeError: see ``VideoEncoder``.
    """

    def __init__(self, plan: OutputPlan, source: Source, *, ffmpeg: Ffmpeg) -> None:
        super().__init__(plan, source, ffmpeg=ffmpeg)
        self._redirect: _StdoutRedirect | None = None
        self._relay: _Relay | None = None

    def __enter__(self) -> Self:
        self._redirect = _StdoutRedirect()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._redirect is not None:
                self._redirect.restore()

    def _build_command(self, scratch: Path) -> list[str]:
        return mux_command(self.plan, self.source, None, scratch, ffmpeg=self._ffmpeg)

    def _spawn(self, command: list[str]) -> FFmpegProcess:
        assert self._redirect is not None
        self._relay = relay = _Relay(self._redirect.fd, self.plan.header)
        process = FFmpegProcess(
            command,
            stdin=True,
            stdout=True,
            on_line=self._on_stderr_line,
            progress_marker=relay.progress_marker,
        )
        relay.start(process)
        return process

    def _verify(self, process: FFmpegProcess) -> None:
        assert self._relay is not None
        self._relay.join()
        if self._relay.error is not None:
            raise self._stopped_error(process)
        header = self.plan.header
        if header is not None:
            frame_count, rest = divmod(self._relay.byte_count, len(b"FRAME\n") + header.frame_bytes)
            if (frame_count, rest) != (self.frame_count, 0):
                raise EncodeError(
                    f"stdout: {self.frame_count} frames were to be written, but {frame_count} went out; run it again",
                    details=process.stderr_tail(),
                )

    def _publish(self) -> None:
        """What has been written is with its reader."""

    def _stopped_error(self, process: FFmpegProcess) -> OutputError:
        error = self._relay.error if self._relay is not None else None
        if isinstance(error, BrokenPipeError):
            return ReaderClosedError("the reader of stdout has gone")
        if error is not None:
            return EncodeError(
                f"stdout cannot be written after {self._muxed_count} frames ({error.strerror}); check what takes it"
            )
        return super()._stopped_error(process)

    def _discard(self) -> None:
        super()._discard()
        if self._relay is not None:
            self._relay.join(_JOIN_TIMEOUT)


class _StdoutRedirect:
    """The file behind stdout, under a number that nobody else knows.

    Attributes:
        number: of the file.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(1, os.O_BINARY)
        self.fd = os.dup(1)
        os.dup2(2, 1)  # libraries print, too

    def restore(self) -> None:
        """Safe to call any number of times."""
        if self.fd >= 0:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(self.fd, 1)
            os.close(self.fd)
            self.fd = -1


class _Relay:
    """A thread that carries ffmpeg's output to stdout, its header replaced by ours.

    Attributes:
        count: bytes behind the header so far.
        error: why it has stopped before the end.
    """

    def __init__(self, fd: int, header: Y4mHeader | None) -> None:
        self.byte_count = 0
        self.error: OSError | None = None
        self._fd, self._header = fd, header
        self._is_writing = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._process: FFmpegProcess | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Begin with the output of a child."""
        self._process = process
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until everything has been taken, or so many seconds."""
        self._thread.join(timeout)

    def progress_marker(self) -> float:
        """Changes unless ffmpeg has something to do: that nobody takes its output is not its fault."""
        return time.monotonic() if self._is_writing else self.byte_count

    def _run(self) -> None:
        assert self._process is not None
        pipe = self._process.raw_stdout
        with contextlib.suppress(ValueError):  # closed, since the film is given up
            try:
                if self._header is not None:
                    while (byte := pipe.read(1)) not in (b"\n", b""):
                        pass
                    if byte:
                        self._write(self._header.line())
                while chunk := pipe.read(_CHUNK_BYTES):
                    self._write(chunk)
                    self.byte_count += len(chunk)
            except OSError as error:
                self.error = error
                with contextlib.suppress(OSError):
                    pipe.close()  # and ffmpeg ends by itself

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        self._is_writing = True
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        finally:
            self._is_writing = False
