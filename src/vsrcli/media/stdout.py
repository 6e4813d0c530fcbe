"""Encode to stdout for another program. Nothing else is printed there, and the reader may be slow."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vsrcli.errors import EncodeError, OutputError, ReaderClosedError, UsageError
from vsrcli.media.encoder import Destination, SegmentFile
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.mux import EncodedInput, mux_command
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


class StdoutDestination(Destination):
    """Stdout, which is written while ffmpeg encodes.

    Until it is discarded, whatever else the process prints to stdout goes to stderr.

    Args:
        plan: with ``to_stdout``.
        source: see ``Destination``.
    """

    def __init__(self, plan: OutputPlan, source: Source) -> None:
        super().__init__(plan, source, plan.target)
        self._redirect: _StdoutRedirect | None = None
        self._relay: _Relay | None = None

    def command(self, scratch: Path, encoded_input: EncodedInput | None, ffmpeg: Ffmpeg) -> list[str]:
        return mux_command(self.plan, self.source, None, scratch, encoded_input=encoded_input, ffmpeg=ffmpeg)

    def start(self, command: list[str], on_line: Callable[[str], None]) -> FFmpegProcess:
        self._redirect = _StdoutRedirect()
        self._relay = relay = _Relay(self._redirect.fd, self.plan.header)
        process = FFmpegProcess(
            command, stdin=True, stdout=True, on_line=on_line, progress_marker=relay.progress_marker
        )
        relay.start(process)
        return process

    def verify(self, process: FFmpegProcess, count: int, pts: Sequence[int]) -> None:
        assert self._relay is not None
        while not self._relay.join(POLL_INTERVAL):
            raise_if_cancelled()
        if self._relay.error is not None:
            raise self._relay.error
        header = self.plan.header
        if header is not None:
            frame_count, extra_bytes = divmod(self._relay.byte_count, len(b"FRAME\n") + header.frame_bytes)
            if (frame_count, extra_bytes) != (count, 0):
                raise EncodeError(
                    f"stdout: {count} frames were to be written, but {frame_count} were; run it again",
                    details=process.stderr_tail(),
                )

    def publish(self) -> SegmentFile | None:
        """Do nothing: the reader has everything already."""

    def discard(self) -> None:
        if self._relay is not None:
            self._relay.join(_JOIN_TIMEOUT)
        if self._redirect is not None:
            self._redirect.restore()

    def write_error(self, count: int) -> OutputError | None:
        error = self._relay.error if self._relay is not None else None
        if isinstance(error, BrokenPipeError):
            return ReaderClosedError("the reader of stdout has closed it")
        if error is not None:
            return EncodeError(
                f"stdout cannot be written after {count} frames ({error.strerror}); check what reads it"
            )
        return None


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
