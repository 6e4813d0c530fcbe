"""Decode a video into R'G'B' frames with the exact presentation times of the file.

ffmpeg decodes and converts, NUT carries raw frames and their timestamps through a pipe, and PyAV demuxes it
without touching a pixel:

    ffmpeg -copyts -i SRC -map 0:V -fps_mode passthrough -enc_time_base demux -c:v rawvideo -f nut pipe:1
"""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Self

from vsrcli.errors import DecodeError, InputError
from vsrcli.media.avi_index import read_indexed_times
from vsrcli.media.decode_command import decode_command
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.raw_reader import (
    KEEP_GOING,
    DamageConcealer,
    IncompleteStreamError,
    RawFrameReader,
    format_ticks,
    place_by_packets,
)
from vsrcli.media.stream_description import has_no_timestamps
from vsrcli.media.timing import (
    Jump,
    find_jump_back,
    frame_ticks,
    keyframe_before,
)
from vsrcli.media.types import Frame, Source

_MAX_DECODED_AHEAD = 10  # seconds of frames in ffmpeg that are lost when it stops
# Containers that can be recordings of a running transmission, which may begin between key frames.
_TRANSMISSION_CONTAINERS = ("mpegts", "mpeg", "h264", "hevc", "mpegvideo", "m4v", "vc1", "dv")
# bwdif reads neighbouring frames: start early enough that the first requested frame has all of them.
_DEINTERLACE_LEAD_IN = Fraction(1, 2)


class Decoder:
    """A context manager and iterator of the frames of a video, in presentation order.

    Frames are upright (rotation applied), R'G'B' full range, deinterlaced if the source is declared
    interlaced; ``pts`` are those of the file. At most a few frames are in memory.

    Args:
        source: the video, as probed.
        start, end: select frames with ``start <= time < end``; seconds from the container's start. The frames
            equal those of a full run, bit for bit.
        max_frames: stop after this many.
        deinterlace: run bwdif (one output frame per frame) if ``source.video.is_interlaced``.
        alpha: set ``alpha`` of frames; only for a source that has some.
        tolerant: continue after damage: a frame that cannot be decoded is replaced by the one before it, so
            that the number of frames and their times are unchanged, and ``warnings`` lists what was replaced.
        ffmpeg: the executable to run.

    Attributes:
        frame_count: frames delivered so far.
        warnings: damage that was ignored (``tolerant``, or a recording that begins between key frames).
        pid: process id of ffmpeg, or None before the first frame.

    Raises (while iterating):
        DecodeError: ffmpeg failed or was killed, data is damaged or missing, the frame size changes,
            timestamps jump back, or no frame lies in the span. Iteration never ends silently before the
            video does.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        max_frames: int | None = None,
        deinterlace: bool = True,
        alpha: bool = False,
        tolerant: bool = False,
        ffmpeg: Ffmpeg,
    ) -> None:
        self.source = source
        self.frame_count = 0
        self.warnings: list[str] = []
        self._start = None if start is None else source.start + Fraction(start)
        self._end = None if end is None else source.start + Fraction(end)
        self._max_frames = max_frames
        self._jump: Jump | None = None
        self._deinterlace = deinterlace and source.video.is_interlaced
        self._alpha = alpha
        self._times_from_packets = has_no_timestamps(source.container, source.video.codec)
        self._ffmpeg = ffmpeg
        self._strict = not tolerant
        self._tolerant = tolerant
        self._reader: RawFrameReader | None = None
        self._frames: Generator[Frame] | None = None
        self._last_time: Fraction | None = None  # of the last frame that was decoded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Generator[Frame]:
        if self._frames is None:
            self._frames = self._decode()
        return self._frames

    @property
    def pid(self) -> int | None:
        """Process id of the running ffmpeg."""
        return self._reader.process.pid if self._reader is not None else None

    def raise_if_damaged(self) -> None:
        """Raise now what would otherwise be raised at the end.

        Raises:
            DecodeError: data of the frames so far was damaged.
        """
        if self._reader is not None and self._reader.damage_count and self._strict:
            raise self._jump_error_if_near() or self._error(
                "the file is damaged; repair it or get a complete copy, or use --keep-going", KEEP_GOING
            )

    def close(self) -> None:
        """Kill ffmpeg if it still runs. Safe to call any number of times."""
        if self._reader is not None:
            self._reader.process.kill()

    def _decode(self) -> Generator[Frame]:
        if self._max_frames is not None and self._max_frames <= 0:
            return
        seek = self._seek_point()
        while True:
            try:
                yield from self._decode_from(seek)
                break
            except _FirstFrameError as failure:
                if seek is not None and failure.seek_failed:
                    seek = None  # the seek landed after the requested frame: decode from the start
                elif self._strict and self._is_transmission:
                    self._strict = (
                        False  # begins between key frames: frames before the first one are no damage
                    )
                else:
                    raise failure.error from None
        if self.frame_count == 0:
            span = "" if self._start is None and self._end is None else " in the chosen span"
            raise self._error(f"no frame could be decoded{span}; check the file and the span")

    @property
    def _is_transmission(self) -> bool:
        return self.source.container in _TRANSMISSION_CONTAINERS

    def _seek_point(self) -> Fraction | None:
        """Return the key frame to begin at, in seconds on the container's clock; None: the start."""
        if self._start is None or self._times_from_packets:
            return None
        start = self._start - (_DEINTERLACE_LEAD_IN if self._deinterlace else 0)
        if start <= self.source.video.start:
            return None
        return keyframe_before(self.source, start)

    def _decode_from(self, seek: Fraction | None) -> Iterator[Frame]:
        """Yield the frames of the span from one ffmpeg that begins at ``seek``."""
        self._jump = find_jump_back(self.source) if self._tolerant else None
        if self._jump is not None and self._reaches(self._jump):
            raise self._jump_error(self._jump)
        reader = self._open_reader(seek, discard_damaged=self._tolerant and not self._times_from_packets)
        try:
            yield from self._select_span(self._verify_seek(self._timed_frames(reader, seek), seek))
        except IncompleteStreamError as incomplete:
            error = self._jump_error_if_near() or self._error(incomplete.reason, incomplete.resume_option)
            raise (error if self.frame_count else _FirstFrameError(error)) from None
        finally:
            self._close_reader()

    def _open_reader(self, seek: Fraction | None, *, discard_damaged: bool) -> RawFrameReader:
        """Start ffmpeg at ``seek``; its reader is ``_reader`` until the next one."""
        command = decode_command(
            self.source,
            seek,
            deinterlace=self._deinterlace,
            alpha=self._alpha,
            strict=self._strict,
            discard_damaged=discard_damaged,
            ffmpeg=self._ffmpeg,
        )
        self._reader = RawFrameReader(
            self.source,
            command,
            alpha=self._alpha,
            tolerant=self._tolerant,
            ignore_damage=not self._strict,
            stop_if_stuck=discard_damaged,
        )
        return self._reader

    def _close_reader(self) -> None:
        """End ffmpeg and collect the warnings of its reader."""
        if self._reader is not None:
            self._reader.process.kill()
            self.warnings += [text for text in self._reader.warnings if text not in self.warnings]

    def _select_span(self, frames: Iterator[Frame]) -> Generator[Frame, None, bool]:
        """Yield and count the frames of the span; return whether ``frames`` was exhausted."""
        for frame in frames:
            self._last_time = frame.time
            if self._start is not None and frame.time < self._start:
                continue
            if self._end is not None and frame.time >= self._end:
                return False
            self.frame_count += 1
            yield frame
            if self._max_frames is not None and self.frame_count >= self._max_frames:
                return False
        return True

    def _verify_seek(self, frames: Iterator[Frame], seek: Fraction | None) -> Iterator[Frame]:
        """Yield all frames, or raise if the first one is later than the requested key frame."""
        for number, frame in enumerate(frames):
            if number == 0 and seek is not None and frame.time > max(seek, self.source.video.start):
                raise _FirstFrameError(self._error("seeking failed"), seek_failed=True)
            yield frame

    def _timed_frames(self, reader: RawFrameReader, seek: Fraction | None) -> Iterator[Frame]:
        """Yield the reader's frames with their times corrected or gaps filled, where the source needs it."""
        if not self._tolerant:
            yield from self._frames_at_packet_times(reader) if self._times_from_packets else reader.frames()
            return
        if self._times_from_packets:  # never decoded from a key frame on
            times = read_indexed_times(self.source)
            ticks, is_damaged = times.frames, times.has_hidden_frames
            frames = place_by_packets(reader.frames(), times, reader.has_damage)
        else:
            ticks, is_damaged = frame_ticks(self.source, self._jump), False
            start = self._start if seek is None else seek
            if self._is_transmission:  # may begin between key frames: what cannot be shown is no damage
                start = max(start or 0, self.source.video.start)
            if start is not None:
                ticks = ticks[ticks >= math.ceil(start / self.source.video.time_base)]
            frames = self._frames_despite_stop(reader)
        concealer = DamageConcealer(self.source, ticks, lambda: is_damaged or reader.has_damage())
        try:
            yield from concealer.conceal(frames)
        finally:
            self.warnings += filter(None, [concealer.summary()])

    def _frames_despite_stop(self, reader: RawFrameReader) -> Iterator[Frame]:
        """Yield the reader's frames; if its decoder got stuck, those after them as another one shows them.

        That one does not drop incomplete frames, which is what the first one cannot recover from.
        """
        last: Frame | None = None
        for last in reader.frames():
            yield last
        if not reader.is_stuck:
            return
        since = "" if last is None else f" after {format_ticks(self.source, last.pts)}"
        self.warnings.append(
            f"the file is damaged: incomplete frames{since} are shown as far as they can be decoded"
        )
        self._close_reader()
        start = self._start if last is None else last.time
        if start is not None:
            start = keyframe_before(self.source, start - (_DEINTERLACE_LEAD_IN if self._deinterlace else 0))
        for frame in self._open_reader(start, discard_damaged=False).frames():
            if last is None or frame.pts > last.pts:
                yield frame

    def _frames_at_packet_times(self, reader: RawFrameReader) -> Iterator[Frame]:
        ticks = frame_ticks(self.source).tolist()
        for number, frame in enumerate(reader.frames()):
            if number == len(ticks):
                raise IncompleteStreamError(f"the container has {number} frames, but more can be decoded")
            yield replace(frame, pts=ticks[number])

    def _reaches(self, jump: Jump) -> bool:
        """Return whether frames after a jump are wanted."""
        if self._end is not None and self._end <= jump.time:
            return False
        ticks = frame_ticks(self.source, jump)
        if self._start is not None:
            ticks = ticks[ticks >= math.ceil(self._start / self.source.video.time_base)]
        return self._max_frames is None or len(ticks) < self._max_frames

    def _jump_error_if_near(self) -> DecodeError | None:
        """Return an error if timestamps jump back about where decoding has stopped."""
        if self._last_time is None or self._tolerant:
            return None
        with contextlib.suppress(InputError):
            jump = find_jump_back(self.source)
            if jump is not None and jump.time < self._last_time + _MAX_DECODED_AHEAD:
                return self._jump_error(jump)
        return None

    def _jump_error(self, jump: Jump) -> DecodeError:
        time = format_ticks(self.source, round(jump.time / self.source.video.time_base))
        remedy = "split the video there"
        if self._is_transmission:  # ffmpeg joins these
            copy = shlex.join(["ffmpeg", "-i", str(self.source.path), "-map", "0", "-c", "copy", "joined.ts"])
            remedy = f"make one recording of it first: {copy}"
        return self._error(
            f"timestamps jump back by {float(jump.length):.3g} s after {time}, as in several recordings in "
            f"one file; {remedy}",
            None,
        )

    def _error(self, reason: str, resume_option: str | None = "") -> DecodeError:
        details = self._reader.process.stderr_tail() if self._reader is not None else ""
        progress = f"{self.frame_count} frame{'' if self.frame_count == 1 else 's'}"
        message = f"{self.source.path}: after {progress}: {reason}"
        return DecodeError(message, details=details, resume_option=resume_option)


class _FirstFrameError(Exception):
    """A failure before the first frame, after which decoding may be tried in another way.

    Attributes:
        error: what to raise if there is no other way.
        seek_failed: whether seeking landed after the requested key frame.
    """

    def __init__(self, error: DecodeError, *, seek_failed: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.seek_failed = seek_failed
