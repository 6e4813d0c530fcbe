"""Encode to stdout for another program. Nothing else is printed there, and the reader may be slow."""

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
from vsrcli.system.signals import POLL_INTERVAL, raise_if_cancelled

_CHUNK_BYTES = 1 << 20
_JOIN_TIMEOUT = 1.0  # seconds, for an aborted stream whose reader may have stopped reading


def require_stdout_pipe() -> None:
    """Raise if stdout is a terminal.

    Raises:
        UsageError: see above.
    """
    if os.isatty(1):
        raise UsageError(
            "stdout is a terminal, which cannot show a video; name a file, or pipe it into a program: "
            "vsr upscale in.mp4 - | ffmpeg -i - out.mp4"
        )


class StdoutEncoder(VideoEncoder):
    """A :class:`~vsrcli.media.encoder.VideoEncoder` that writes to stdout while it encodes.

    While it is open, whatever else the process prints to stdout goes to stderr.

    Args:
        plan: with ``to_stdout``.
        source, ffmpeg: see ``VideoEncoder``.

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
        while not self._relay.join(POLL_INTERVAL):
            raise_if_cancelled()
        if self._relay.error is not None:
            raise self._stopped_error(process)
        header = self.plan.header
        if header is not None:
            frame_count, extra_bytes = divmod(self._relay.byte_count, len(b"FRAME\n") + header.frame_bytes)
            if (frame_count, extra_bytes) != (self.frame_count, 0):
                raise EncodeError(
                    f"stdout: {self.frame_count} frames were to be written, but {frame_count} were; "
                    "run it again",
                    details=process.stderr_tail(),
                )

    def _publish(self) -> None:
        """Nothing to do: the reader has everything already."""

    def _stopped_error(self, process: FFmpegProcess) -> OutputError:
        error = self._relay.error if self._relay is not None else None
        if isinstance(error, BrokenPipeError):
            return ReaderClosedError("the reader of stdout has closed it")
        if error is not None:
            return EncodeError(
                f"stdout cannot be written after {self._muxed_count} frames ({error.strerror}); "
                "check what reads it"
            )
        return super()._stopped_error(process)

    def _discard(self) -> None:
        super()._discard()
        if self._relay is not None:
            self._relay.join(_JOIN_TIMEOUT)


class _StdoutRedirect:
    """Redirect file descriptor 1 to stderr, so that libraries cannot print into the video.

    Attributes:
        fd: a private descriptor of the original stdout; -1 after ``restore``.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(1, os.O_BINARY)
        self.fd = os.dup(1)
        os.dup2(2, 1)

    def restore(self) -> None:
        """Restore stdout; may be called any number of times."""
        if self.fd >= 0:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(self.fd, 1)
            os.close(self.fd)
            self.fd = -1


class _Relay:
    """A thread that copies ffmpeg's output to stdout and replaces its header.

    Args:
        fd: descriptor to write to.
        header: the first line of YUV4MPEG2; None: copy ffmpeg's output as it is.

    Attributes:
        byte_count: bytes written so far, without the header.
        error: why it stopped before the end; None if it did not.
    """

    def __init__(self, fd: int, header: Y4mHeader | None) -> None:
        self.byte_count = 0
        self.error: OSError | None = None
        self._fd, self._header = fd, header
        self._is_writing = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._process: FFmpegProcess | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Start to copy the stdout of a process."""
        self._process = process
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until everything is written, at most ``timeout`` seconds; return whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def progress_marker(self) -> float:
        """Return a value that stalls only with ffmpeg: it also changes while the reader does not read."""
        return time.monotonic() if self._is_writing else self.byte_count

    def _run(self) -> None:
        assert self._process is not None
        pipe = self._process.raw_stdout
        with contextlib.suppress(ValueError):  # the pipe is closed on abort
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
                    pipe.close()  # makes ffmpeg exit

    def _write(self, data: bytes) -> None:
        remaining = memoryview(data)
        self._is_writing = True
        try:
            while remaining:
                remaining = remaining[os.write(self._fd, remaining) :]
        finally:
            self._is_writing = False
