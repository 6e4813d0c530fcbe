"""Decode a YUV4MPEG2 stream frame by frame, while it arrives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.errors import DecodeError, InputError
from vsrcli.media.decode_command import decode_command
from vsrcli.media.decoder import Decoder
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Frame, Source
from vsrcli.media.y4m import Y4mHeader


@dataclass(frozen=True)
class Y4mStream:
    """A YUV4MPEG2 stream that is still being read.

    Attributes:
        header: of the stream.
        frames: yields the planes of each frame once, the first one included, until the stream ends.
        is_waiting: returns whether a read from the stream is in progress.
        truncation: returns where the stream ended inside a frame, or None.
    """

    header: Y4mHeader
    frames: Iterator[bytearray]
    is_waiting: Callable[[], bool]
    truncation: Callable[[], str | None]


class Y4mDecoder(Decoder):
    """A :class:`~vsrcli.media.decoder.Decoder` of a YUV4MPEG2 stream, which can be read only once.

    Args:
        source: of the stream.
        stream: its frames.
        options: those of ``Decoder``. A truncated stream is an error after its last whole frame; with
            ``tolerant``, a warning.
    """

    def __init__(self, source: Source, stream: Y4mStream, **options: Any) -> None:
        super().__init__(source, **options)
        self._stream = stream
        self._process: FFmpegProcess | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def raise_if_damaged(self) -> None:
        """Do nothing: raw frames cannot be damaged undetected."""

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
        """Yield a frame for every frame that was written to ffmpeg."""
        import av

        video, number = self.source.video, 0
        dtype = np.dtype("<u2") if video.is_high_bit_depth else np.dtype(np.uint8)
        try:
            pipe = process.stdout
            container: Any = av.open(pipe, format="nut", buffer_size=1 << 20, metadata_errors="replace")
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
                f"{self.source.path}: after {self.frame_count} frames: it is truncated {truncation}; "
                "check what writes it, or use --keep-going"
            )
        self.warnings.append(f"stdin is truncated {truncation}, which is left out")

    def _exit_error(self, process: FFmpegProcess) -> DecodeError:
        ending = process.describe_exit(process.wait())
        return DecodeError(
            f"{self.source.path}: after {self.frame_count} frames: ffmpeg stopped ({ending}); "
            "see its last messages for the reason",
            details=process.stderr_tail(),
        )


class _Feeder:
    """A thread that writes whole frames to ffmpeg, as fast as it reads them.

    Attributes:
        frame_count: frames written so far.
        error: of the stream, or None.
    """

    def __init__(self, stream: Y4mStream) -> None:
        self._stream = stream
        self.frame_count = 0
        self.error: InputError | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Start the thread. It is never joined: it may block on a program that writes nothing for hours."""
        threading.Thread(target=self._run, args=(process,), name="feeder", daemon=True).start()

    def progress_marker(self) -> float:
        """Return a value that changes while ffmpeg makes progress or waits for stdin."""
        return time.monotonic() if self._stream.is_waiting() else self.frame_count

    def _run(self, process: FFmpegProcess) -> None:
        pipe = process.raw_stdin
        with contextlib.suppress(OSError, ValueError):  # ffmpeg has exited and reports why itself
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
