"""Read a film's pictures as R'G'B' frames with the exact presentation times of the file.

ffmpeg decodes and converts, NUT carries the raw pictures together with their time stamps through a pipe, and
PyAV takes it apart without touching a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsrcli.errors import DecodeError
from vsrcli.media.decode_command import decode_command
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.integrity import missing_part
from vsrcli.media.process import Process, describe_exit
from vsrcli.media.seek import keyframe_before
from vsrcli.media.types import Frame, Source

# Containers that are recordings of a running transmission: they may begin anywhere, between key frames too.
_TRANSMISSIONS = ("mpegts", "mpeg", "h264", "hevc", "mpegvideo", "m4v", "vc1", "dv")
# bwdif looks at the neighbours of a picture: start early enough to give the first wanted one all of them.
_LEAD_IN = Fraction(1, 2)
_RECONFIGURED = re.compile(r"video parameters changed to .*?(\d+)x(\d+)")
_DAMAGE = re.compile(
    r"corrupt input packet|corrupt decoded frame|Error submitting packet to decoder|Decoding error"
    r"|Non-monotonic DTS|File ended prematurely|partial file"
    r"|\[in#0[^\]]*\] \[(?:error|fatal)\]"
)


class Decoder:
    """The pictures of a film, in order: a context manager and an iterator of ``Frame``.

    Frames are upright (rotation applied), R'G'B' full range, deinterlaced if the source says that it is
    interlaced, without alpha; ``pts`` are those of the file. At most a few frames are in memory.

    Args:
        source: the film, as probed.
        start, end: keep frames with ``start <= time < end``; seconds counted from the container's start.
            The frames are the same, bit for bit, as those of a full run.
        frames: stop after this many.
        deinterlace: run bwdif (one picture per frame) if ``source.video.interlaced``.
        tolerant: carry on over damage; what was found is then in ``warnings``.
        ffmpeg: the executable to run.

    Attributes:
        count: frames delivered so far.
        warnings: damage that was passed over (``tolerant``, or a recording that begins between key frames).
        pid: process id of ffmpeg, or None before the first frame.

    Raises (while iterating):
        DecodeError: ffmpeg stopped or died, data is damaged or missing, the picture changes its size, or no
            frame at all lies in the span. Never ends quietly before the end of the film.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        frames: int | None = None,
        deinterlace: bool = True,
        tolerant: bool = False,
        ffmpeg: Ffmpeg,
    ) -> None:
        self.source = source
        self.count = 0
        self.warnings: list[str] = []
        self._start = None if start is None else source.start + Fraction(start)
        self._end = None if end is None else source.start + Fraction(end)
        self._limit = frames
        self._deinterlace = deinterlace and source.video.interlaced
        self._ffmpeg = ffmpeg
        self._strict = not tolerant
        self._tolerant = tolerant
        self._process: Process | None = None
        self._damage: list[str] = []
        self._resized: tuple[int, int] | None = None
        self._frames: Iterator[Frame] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._frames is None:
            self._frames = self._read()
        return self._frames

    @property
    def pid(self) -> int | None:
        """Process id of the running ffmpeg."""
        return self._process.pid if self._process is not None else None

    def close(self) -> None:
        """End ffmpeg if it still runs. Safe to call any number of times."""
        if self._process is not None:
            self._process.kill()

    def _read(self) -> Iterator[Frame]:
        if self._limit is not None and self._limit <= 0:
            return
        seek = self._seek_point()
        while True:
            try:
                yield from self._run(seek)
                break
            except _BeforeFirstFrame as stop:
                if seek is not None and stop.missed:
                    seek = None  # the seek landed behind the wanted picture: take the long way
                elif self._strict and self._transmission:
                    self._strict = False  # begins between key frames: what cannot be decoded yet is no damage
                else:
                    raise stop.error from None
        if self.count == 0:
            span = "" if self._start is None and self._end is None else " in the chosen span"
            raise self._error(f"no frame could be decoded{span}; check the file and the span")

    @property
    def _transmission(self) -> bool:
        return self.source.container in _TRANSMISSIONS

    def _seek_point(self) -> Fraction | None:
        """Seconds on the container's clock of the key frame to begin at; None: from the beginning."""
        if self._start is None:
            return None
        wanted = self._start - (_LEAD_IN if self._deinterlace else 0)
        if wanted <= self.source.video.start:
            return None
        return keyframe_before(self.source, wanted)

    def _run(self, seek: Fraction | None) -> Iterator[Frame]:
        """One ffmpeg from ``seek`` to the end of the span."""
        import av

        self._damage.clear()
        self._resized = None
        process = Process(
            decode_command(
                self.source, seek, deinterlace=self._deinterlace, strict=self._strict, ffmpeg=self._ffmpeg
            ),
            stdout=True,
            on_line=self._listen,
        )
        self._process = process
        try:
            try:
                container = av.open(process.stdout, format="nut", buffer_size=1 << 20)
            except (av.FFmpegError, OSError) as error:
                self._finish(process, error)
                return
            with container:
                stream = container.streams.video[0]
                first = True
                for packet in self._packets(process, container, stream):
                    frame = self._frame(packet)
                    if first and seek is not None and frame.time > max(seek, self.source.video.start):
                        raise _BeforeFirstFrame(self._error("seeking failed"), missed=True)
                    first = False
                    if self._start is not None and frame.time < self._start:
                        continue
                    if self._end is not None and frame.time >= self._end:
                        return
                    self.count += 1
                    yield frame
                    if self._limit is not None and self.count >= self._limit:
                        return
            self._finish(process, None)
        finally:
            process.kill()

    def _packets(self, process: Process, container: Any, stream: Any) -> Iterator[Any]:
        import av

        video = self.source.video
        expected = video.width * video.height * 3 * (2 if video.deep else 1)
        try:
            packets = (packet for packet in container.demux(stream) if packet.size)
            for packet in packets:
                if packet.size != expected and next(packets, None) is None:
                    raise EOFError("the pipe ended inside this picture")
                if packet.size != expected or self._turned_unseen():
                    width, height = self._resized or (0, 0)
                    size = f"{width}x{height}" if width else f"{packet.size} instead of {expected} bytes"
                    raise self._error(
                        f"the picture changes from {video.width}x{video.height} to {size}; split the film"
                    )
                yield packet
        except (av.FFmpegError, OSError, EOFError) as error:
            # The pipe broke off: ffmpeg's own exit tells why, if it knows.
            self._finish(process, error)

    def _turned_unseen(self) -> bool:
        """A change to as many pixels (64x48 to 48x64) does not show in the bytes: stop where it is known."""
        if self._resized is None:
            return False
        return self._resized[0] * self._resized[1] == self.source.video.width * self.source.video.height

    def _frame(self, packet: Any) -> Frame:
        video = self.source.video
        ticks = (packet.pts * Fraction(packet.time_base) - self.source.lift) / video.time_base
        if ticks.denominator != 1:
            raise self._error(f"ffmpeg gave a time between two ticks of the file's clock ({ticks})")
        kind = np.dtype("<u2") if video.deep else np.dtype(np.uint8)
        pixels = np.frombuffer(packet, kind).reshape(video.height, video.width, 3)
        return Frame(pixels, ticks.numerator, video.time_base)

    def _finish(self, process: Process, error: Exception | None) -> None:
        """The pipe has ended: was that the end of the film?"""
        if error is not None:
            process.stdout.close()  # or else a child that still writes would wait for us, and we for it
        status = process.wait()
        problem: str | None = None
        if status != 0:
            problem = f"ffmpeg stopped ({describe_exit(status)})"
        elif error is not None:
            problem = "ffmpeg's output broke off"
        elif self._damage:
            problem = "the file is damaged"
        missing = missing_part(self.source.path)
        if missing is not None:
            problem = f"the file is cut short: {missing}"
        if problem is None:
            return
        tolerable = status == 0 and error is None
        if tolerable and (self._tolerant or (not self._strict and missing is None)):
            self.warnings.append(f"{problem} ({len(self._damage)} places)" if self._damage else problem)
            return
        failure = self._error(f"{problem}; repair it or get a complete copy")
        if self.count == 0:
            raise _BeforeFirstFrame(failure)
        raise failure

    def _listen(self, line: str) -> None:
        """Called in the draining thread for every line that ffmpeg says."""
        changed = _RECONFIGURED.search(line)
        if changed and self._process is not None:
            size = (int(changed[1]), int(changed[2]))
            video = self.source.video
            coded = (
                (video.height, video.width) if video.rotation in (90, 270) else (video.width, video.height)
            )
            if size != coded:
                self._resized = size
        if _DAMAGE.search(line):
            self._damage.append(line)

    def _error(self, what: str) -> DecodeError:
        details = self._process.tail() if self._process is not None else ""
        read = f"{self.count} frame{'' if self.count == 1 else 's'}"
        return DecodeError(f"{self.source.path}: after {read}: {what}", details=details)


class _BeforeFirstFrame(Exception):  # noqa: N818 - carries the error that a second attempt may avoid
    def __init__(self, error: DecodeError, *, missed: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.missed = missed
