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

_PIECE = 1 << 20
_PATIENCE = 1.0  # seconds for the rest of a stream that is given up; its reader may have stopped reading


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
        self._stdout: _Stdout | None = None
        self._relay: _Relay | None = None

    def __enter__(self) -> Self:
        self._stdout = _Stdout()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._stdout is not None:
                self._stdout.give_back()

    def _command(self, scratch: Path) -> list[str]:
        return mux_command(self.plan, self.source, None, scratch, ffmpeg=self._ffmpeg)

    def _launch(self, command: list[str]) -> FFmpegProcess:
        assert self._stdout is not None
        self._relay = relay = _Relay(self._stdout.number, self.plan.header)
        process = FFmpegProcess(
            command, stdin=True, stdout=True, on_line=self._listen, progress_marker=relay.sign_of_life
        )
        relay.start(process)
        return process

    def _verify(self, process: FFmpegProcess) -> None:
        assert self._relay is not None
        self._relay.join()
        if self._relay.error is not None:
            raise self._stopped(process)
        header = self.plan.header
        if header is not None:
            held, rest = divmod(self._relay.count, len(b"FRAME\n") + header.frame_bytes)
            if (held, rest) != (self.count, 0):
                raise EncodeError(
                    f"stdout: {self.count} frames were to be written, but {held} went out; run it again",
                    details=process.stderr_tail(),
                )

    def _publish(self) -> None:
        """What has been written is with its reader."""

    def _stopped(self, process: FFmpegProcess) -> OutputError:
        error = self._relay.error if self._relay is not None else None
        if isinstance(error, BrokenPipeError):
            return ReaderClosedError("the reader of stdout has gone")
        if error is not None:
            return EncodeError(
                f"stdout cannot be written after {self._muxed} frames ({error.strerror}); check what takes it"
            )
        return super()._stopped(process)

    def _discard(self) -> None:
        super()._discard()
        if self._relay is not None:
            self._relay.join(_PATIENCE)


class _Stdout:
    """The file behind stdout, under a number that nobody else knows.

    Attributes:
        number: of the file.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(1, os.O_BINARY)
        self.number = os.dup(1)
        os.dup2(2, 1)  # libraries print, too

    def give_back(self) -> None:
        """Safe to call any number of times."""
        if self.number >= 0:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(self.number, 1)
            os.close(self.number)
            self.number = -1


class _Relay:
    """A thread that carries ffmpeg's output to stdout, its header replaced by ours.

    Attributes:
        count: bytes behind the header so far.
        error: why it has stopped before the end.
    """

    def __init__(self, number: int, header: Y4mHeader | None) -> None:
        self.count = 0
        self.error: OSError | None = None
        self._number, self._header = number, header
        self._writing = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._process: FFmpegProcess | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Begin with the output of a child."""
        self._process = process
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until everything has been taken, or so many seconds."""
        self._thread.join(timeout)

    def sign_of_life(self) -> float:
        """Changes unless ffmpeg has something to do: that nobody takes its output is not its fault."""
        return time.monotonic() if self._writing else self.count

    def _run(self) -> None:
        assert self._process is not None
        pipe = self._process.raw_stdout
        with contextlib.suppress(ValueError):  # closed, since the film is given up
            try:
                if self._header is not None:
                    while (mark := pipe.read(1)) not in (b"\n", b""):
                        pass
                    if mark:
                        self._write(self._header.line())
                while piece := pipe.read(_PIECE):
                    self._write(piece)
                    self.count += len(piece)
            except OSError as error:
                self.error = error
                with contextlib.suppress(OSError):
                    pipe.close()  # and ffmpeg ends by itself

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        self._writing = True
        try:
            while rest:
                rest = rest[os.write(self._number, rest) :]
        finally:
            self._writing = False
