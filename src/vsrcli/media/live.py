"""Frames of a YUV4MPEG2 stream that is still being written: decoded as they come, every one of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.errors import DecodeError, InputError
from vsrcli.media.decode import Decoder
from vsrcli.media.decode_command import decode_command
from vsrcli.media.incoming import Y4mStream, y4m_stream_of
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Frame, Source


class Y4mDecoder(Decoder):
    """A :class:`~vsrcli.media.decode.Decoder` of a film that can be read only once.

    Args:
        source: a film whose pictures are still to come.
        options: as of ``Decoder``. A stream that is cut short is an error behind its last whole frame; with
            ``tolerant``, a warning.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(source, **options)
        following = y4m_stream_of(source)
        assert following is not None
        self._live = following
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

    def _run(self, seek: Fraction | None) -> Iterator[Frame]:
        line = decode_command(
            self.source, None, deinterlace=self._deinterlace, piped=True, ffmpeg=self._ffmpeg
        )
        feeder = _Feeder(self._live)
        process = self._process = FFmpegProcess(line, stdin=True, stdout=True, grows=feeder.sign_of_life)
        try:
            feeder.start(process)
            ended = yield from self._wanted(self._decoded(process, feeder))
        finally:
            process.kill()
        if ended:
            self._end_of_stream(feeder)

    def _decoded(self, process: FFmpegProcess, feeder: _Feeder) -> Iterator[Frame]:
        """Every picture that went in."""
        import av

        video, number = self.source.video, 0
        kind = np.dtype("<u2") if video.is_high_bit_depth else np.dtype(np.uint8)
        try:
            container: Any = av.open(process.stdout, format="nut", buffer_size=1 << 20)
            with container:
                for packet in container.demux(container.streams.video[0]):
                    if packet.size:
                        pixels = np.frombuffer(packet, kind).reshape(video.height, video.width, 3)
                        yield Frame(pixels, number, video.time_base)
                        number += 1
        except (av.FFmpegError, OSError, EOFError, ValueError) as error:
            process.stdout.close()
            raise self._stopped(process) from error
        if process.wait() != 0 or number != feeder.count:
            raise self._stopped(process)

    def _end_of_stream(self, feeder: _Feeder) -> None:
        if feeder.error is not None:
            raise feeder.error
        cut = self._live.cut()
        if cut is None:
            return
        if not self._tolerant:
            raise DecodeError(
                f"{self.source.path}: after {self.count} frames: it is cut short {cut}; "
                "check what writes it, or use --keep-going"
            )
        self.warnings.append(f"stdin is cut short {cut}, which is left out")

    def _stopped(self, process: FFmpegProcess) -> DecodeError:
        ending = process.describe_exit(process.wait())
        return DecodeError(
            f"{self.source.path}: after {self.count} frames: ffmpeg stopped ({ending}); "
            "see its last words for the reason",
            details=process.stderr_tail(),
        )


class _Feeder:
    """A thread that gives ffmpeg whole pictures only, as fast as it takes them.

    Attributes:
        count: pictures given so far.
        error: what was wrong with the stream.
    """

    def __init__(self, following: Y4mStream) -> None:
        self._live = following
        self.count = 0
        self.error: InputError | None = None

    def start(self, process: FFmpegProcess) -> None:
        """Nobody waits for the thread: it may itself wait for a program that writes nothing for hours."""
        threading.Thread(target=self._run, args=(process,), name="feeder", daemon=True).start()

    def sign_of_life(self) -> float:
        """Changes unless ffmpeg has something to do: that nothing comes from stdin is not its fault."""
        return time.monotonic() if self._live.waiting() else self.count

    def _run(self, process: FFmpegProcess) -> None:
        pipe = process.raw_stdin
        with contextlib.suppress(OSError, ValueError):  # ffmpeg has ended, and says why itself
            try:
                pipe.write(self._live.header.minimal().line())
                for picture in self._live.pictures:
                    pipe.write(b"FRAME\n")
                    pipe.write(picture)
                    self.count += 1
            except InputError as error:
                self.error = error
            finally:
                pipe.close()
