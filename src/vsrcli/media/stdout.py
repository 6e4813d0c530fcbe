"""Encode to stdout for another program. Nothing else is printed there, and the reader may be slow."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence

from vsrcli.errors import EncodeError, OutputError, ReaderClosedError, UsageError
from vsrcli.media.ffmpeg_writer import Destination, SegmentFile
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Source
from vsrcli.system.threads import BackgroundTask

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
    """Stdout, which a thread writes while ffmpeg encodes; of YUV4MPEG2, it replaces the header by the plan's.

    Until it is discarded, file descriptor 1 leads to stderr, so that libraries cannot print into the video.
    """

    def __init__(self, plan: OutputPlan, source: Source) -> None:
        super().__init__(plan, source, plan.target)
        self._stdout = -1  # a private descriptor of it, while 1 leads to stderr
        self._byte_count = 0  # written so far, without the header
        self._is_writing = False
        self._error: OSError | None = None  # why it stopped before the end
        self._relay: BackgroundTask | None = None

    def start(self, command: list[str], on_line: Callable[[str], None]) -> FFmpegProcess:
        sys.stdout.flush()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(1, os.O_BINARY)
        self._stdout = os.dup(1)
        os.dup2(2, 1)
        process = FFmpegProcess(
            command, stdin=True, stdout=True, on_line=on_line, progress_marker=self._progress_marker
        )
        self._relay = BackgroundTask(lambda: self._copy(process), "relay")
        return process

    def verify(self, process: FFmpegProcess, count: int, pts: Sequence[int]) -> None:
        assert self._relay is not None
        self._relay.wait()
        if self._error is not None:
            raise self._error
        header = self.plan.header
        if header is not None:
            frame_count, extra_bytes = divmod(self._byte_count, len(b"FRAME\n") + header.frame_bytes)
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
        if self._stdout >= 0:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(self._stdout, 1)
            os.close(self._stdout)
            self._stdout = -1

    def write_error(self, count: int) -> OutputError | None:
        if self._error is None:
            return None
        if isinstance(self._error, BrokenPipeError):
            return ReaderClosedError("the reader of stdout has closed it")
        return EncodeError(
            f"stdout cannot be written after {count} frames ({self._error.strerror}); check what reads it"
        )

    def _progress_marker(self) -> float:
        """Return a value that stalls only with ffmpeg: it also changes while the reader does not read."""
        return time.monotonic() if self._is_writing else self._byte_count

    def _copy(self, process: FFmpegProcess) -> None:
        """Copy ffmpeg's output to stdout."""
        pipe, header = process.raw_stdout, self.plan.header
        with contextlib.suppress(ValueError):  # the pipe is closed on abort
            try:
                if header is not None:
                    while (byte := pipe.read(1)) not in (b"\n", b""):
                        pass
                    if byte:
                        self._write(header.line())
                while chunk := pipe.read(_CHUNK_BYTES):
                    self._write(chunk)
                    self._byte_count += len(chunk)
            except OSError as error:
                self._error = error
                with contextlib.suppress(OSError):
                    pipe.close()  # makes ffmpeg exit

    def _write(self, data: bytes) -> None:
        remaining = memoryview(data)
        self._is_writing = True
        try:
            while remaining:
                remaining = remaining[os.write(self._stdout, remaining) :]
        finally:
            self._is_writing = False
