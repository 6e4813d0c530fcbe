"""Read raw frames from a decoding ffmpeg, detect a premature end, and conceal damaged frames.

A damaged frame is replaced by the last good one, so that the number of frames and their times are unchanged,
and a summary lists what was replaced.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.media.avi_index import IndexedTimes
from vsrcli.media.process import FFmpegProcess, is_damage_message, is_decoder_error, parse_size_change
from vsrcli.media.truncation import find_bad_ts_packets, find_truncation
from vsrcli.media.types import Frame, Source
from vsrcli.system.text import format_timestamp

KEEP_GOING = "--keep-going"
_CONFIRMATION_SECONDS = 1.0  # ffmpeg reports damage through another pipe, possibly after the frame
_CONFIRMATION_FRAMES, _CONFIRMATION_BYTES = 16, 1 << 26  # and, where its pipe is full, after later ones
_MAX_LONG_WAITS = 3
_HARMLESS_SHARE = 1 / 4  # gaps without damage per frame, above which packets are no frames
_MAX_LISTED_RANGES = 20
_MAX_REPORTS_WITHOUT_FRAME = 2000  # ffmpeg reports a damaged packet in one to three lines
_STANDSTILL_SECONDS = 5.0


class IncompleteStreamError(Exception):
    """Frames ended before the video did.

    Attributes:
        reason: a phrase for a message.
        resume_option: see :class:`~vsrcli.errors.VsrError`.
    """

    def __init__(self, reason: str, resume_option: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resume_option = resume_option


class RawFrameReader:
    """Start ffmpeg and read its frames from the pipe.

    Args:
        source: the video.
        command: from :func:`~vsrcli.media.decode_command.decode_command`.
        alpha: whether frames have a fourth channel.
        tolerant: whether damage and a truncated end become a warning.
        ignore_damage: whether damage becomes a warning.
        stop_if_stuck: kill ffmpeg once its decoder reports damage again and again and gives no frames, and
            all earlier ones are read. That of H.264 may never get out of damaged data, and at the end of the
            file repeats an error without end.

    Attributes:
        damage_count: reports of damaged data by ffmpeg, so far.
        has_decoder_error: whether a decoder has complained, which may precede a report of damage.
        is_stuck: whether ffmpeg was killed for that; later frames may be decodable in another way.
        warnings: damage that was ignored, for people.
        process: the running ffmpeg.

    Raises:
        OSError: ffmpeg cannot be started.
    """

    def __init__(
        self,
        source: Source,
        command: list[str],
        *,
        alpha: bool,
        tolerant: bool,
        ignore_damage: bool,
        stop_if_stuck: bool = False,
    ) -> None:
        self.damage_count = 0
        self.has_decoder_error = self.is_stuck = False
        self.warnings: list[str] = []
        self._source = source
        self._alpha = alpha
        self._tolerant = tolerant
        self._ignore_damage = ignore_damage
        self._changed_size: tuple[int, int] | None = None
        self._stop_if_stuck = stop_if_stuck
        self._frame_count = self._reports_since_frame = 0
        self.process = FFmpegProcess(command, stdout=True, on_line=self._on_stderr_line)

    def has_damage(self) -> bool:
        """Whether ffmpeg or its decoder has reported damage so far."""
        return self.damage_count > 0 or self.has_decoder_error

    def frames(self) -> Iterator[Frame]:
        """Yield every frame that ffmpeg decodes.

        Raises:
            IncompleteStreamError: frames are missing. Iteration never ends silently before the video does,
                unless ``is_stuck``.
        """
        import av

        try:
            pipe = self.process.stdout
            with av.open(pipe, format="nut", buffer_size=1 << 20, metadata_errors="replace") as container:
                for packet in self._packets(container):
                    self._frame_count += 1
                    self._reports_since_frame = 0
                    frame = self._parse_frame(packet)
                    if frame is not None:
                        yield frame
        except (av.FFmpegError, OSError, EOFError) as error:
            self._check_end(error)  # the pipe ended early: ffmpeg's exit status may say why
        else:
            self._check_end(None)

    def _packets(self, container: Any) -> Iterator[Any]:
        video = self._source.video
        channels = 4 if self._alpha else 3
        expected_bytes = video.width * video.height * channels * (2 if video.is_high_bit_depth else 1)
        packets = (packet for packet in container.demux(container.streams.video[0]) if packet.size)
        for packet in packets:
            if packet.size != expected_bytes and next(packets, None) is None:
                raise EOFError("the pipe ended inside this frame")
            if packet.size != expected_bytes or self._size_change_is_hidden():
                width, height = self._changed_size or (0, 0)
                size = f"{width}x{height}" if width else f"{packet.size} instead of {expected_bytes} bytes"
                raise IncompleteStreamError(
                    f"the frame size changes from {video.width}x{video.height} to {size}; split the video"
                )
            yield packet

    def _size_change_is_hidden(self) -> bool:
        """Return whether the size changed to one of as many bytes: of as many pixels (64x48 to 48x64), or any
        that is cropped."""
        if self._changed_size is None:
            return False
        video, pixels = self._source.video, math.prod(self._changed_size)
        return video.crop is not None or pixels == video.width * video.height

    def _parse_frame(self, packet: Any) -> Frame | None:
        """Return the frame of a packet; None for one of damaged data whose time ffmpeg has made up."""
        video = self._source.video
        ticks = (packet.pts * Fraction(packet.time_base) - self._source.pts_offset) / video.time_base
        if ticks.denominator != 1 and self._tolerant and self.damage_count:
            return None
        if ticks.denominator != 1:
            raise IncompleteStreamError(f"ffmpeg gave a time between two ticks of the file's clock ({ticks})")
        dtype = np.dtype("<u2") if video.is_high_bit_depth else np.dtype(np.uint8)
        pixels = np.frombuffer(packet, dtype).reshape(video.height, video.width, -1)
        alpha = pixels[..., 3] if self._alpha else None
        return Frame(pixels[..., :3], ticks.numerator, video.time_base, alpha)

    def _check_end(self, error: Exception | None) -> None:
        """Raise or add a warning unless the pipe's end was the end of the video.

        Args:
            error: that ended reading, or None at a regular end.
        """
        if error is not None:
            self.process.stdout.close()  # or else a child that still writes would never exit
        status = self.process.wait()
        problem: str | None = None
        if self.is_stuck:
            return
        if status != 0:
            problem = f"ffmpeg stopped ({self.process.describe_exit(status)})"
        elif error is not None:
            problem = "ffmpeg's output ended early"
        elif self._tolerant and (bad_packets := find_bad_ts_packets(self._source.path)):
            problem = f"the file is damaged: {bad_packets}"
        elif self.damage_count:
            problem = "the file is damaged"
        truncation = find_truncation(self._source.path)
        if truncation is not None:
            problem = f"the file is truncated: {truncation}"
        if problem is None:
            return
        ended_normally = status == 0 and error is None
        if not ended_normally or not (self._tolerant or (self._ignore_damage and truncation is None)):
            remedy = "repair it or get a complete copy"
            has_crashed = not self.damage_count and truncation is None  # the next run may not
            raise IncompleteStreamError(
                f"{problem}; {remedy}" + ("" if self._tolerant else ", or use --keep-going"),
                "" if has_crashed else None if self._tolerant else KEEP_GOING,
            )
        count = self.damage_count
        self.warnings.append(f"{problem} ({count} place{'s' * (count > 1)})" if count else problem)

    def _on_stderr_line(self, line: str) -> None:
        """Record damage and size changes; runs in the thread that drains stderr."""
        size, video = parse_size_change(line), self._source.video
        if size is not None and size != video.coded_size:
            self._changed_size = size
        self.has_decoder_error = self.has_decoder_error or is_decoder_error(line)
        if is_damage_message(line):
            self.damage_count += 1
            self._reports_since_frame += 1
            if self._stop_if_stuck and self._reports_since_frame > _MAX_REPORTS_WITHOUT_FRAME:
                self._kill_if_stuck()

    def _kill_if_stuck(self) -> None:
        """Kill ffmpeg unless another frame arrives: its decoder waits, the frames in its queues do not."""
        frame_count = self._frame_count
        self.is_stuck = self.is_stuck or self.process.kill_if_waited_for(
            _STANDSTILL_SECONDS, lambda: self._frame_count != frame_count
        )


def place_by_packets(
    frames: Iterable[Frame], times: IndexedTimes, has_damage: Callable[[], bool]
) -> Iterator[Frame]:
    """Yield frames at the times of an AVI's index, leaving out those of packets that gave no frame.

    ffmpeg numbers frames by the packets after which they come, so numbers are missing where packets give
    none. Within the few frames that a decoder reorders, the one that is missing may be another one; if one of
    the first few packets gives none, the frames up to the end may be one early.

    Args:
        frames: as ffmpeg gives them.
        times: of the file.
        has_damage: returns whether ffmpeg has reported damage so far; without it, no frame is missing.
    """
    numbers: dict[int, int] = {dts: number for number, dts in enumerate(times.packet_dts.tolist())}
    previous_number: int | None = None
    place, wait_count = -1, 0
    for frame in frames:
        following = 0 if previous_number is None else previous_number + 1
        # At the end of the file, the decoder gives the last frames without any packet.
        number = numbers.get(frame.pts, following)
        step = 1 if previous_number is None else max(number - previous_number, 1)
        previous_number = max(number, following)
        if step > 1:
            wait_count += not has_damage()
            if not _is_true_soon(has_damage, _CONFIRMATION_SECONDS if wait_count <= _MAX_LONG_WAITS else 0):
                step = 1
        place += step
        if place < len(times.packets):
            yield replace(frame, pts=int(times.packets[place]))


def _is_true_soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition holds within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


class DamageConcealer:
    """Fill in frames that the container has but the decoder could not decode.

    A gap is filled if ffmpeg has reported damage, by now or soon after: while frames are missing without a
    report, further frames are read, since ffmpeg may be unable to go on before. Where many frames are missing
    without any damage (if one frame has two packets, say), nothing is filled in.

    Args:
        source: the video.
        frame_ticks: presentation times of all its frames, sorted, in ticks of its clock: int64 (N,).
        has_damage: returns whether ffmpeg has reported damage so far.

    Attributes:
        replaced_ticks: times of the frames that were filled in, in ticks.
    """

    def __init__(self, source: Source, frame_ticks: np.ndarray, has_damage: Callable[[], bool]) -> None:
        self.replaced_ticks: list[int] = []
        self._source = source
        self._frame_ticks = frame_ticks
        self._has_damage = has_damage
        self._frame_count = self._harmless_gaps = 0
        self._frames_ahead: deque[Frame] = deque()

    def conceal(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames and, for each missing one, a copy of the frame before it.

        Frames missing at the start become copies of the first good one.
        """
        rest = iter(frames)
        ticks, next_index, last_good = self._frame_ticks, 0, None
        while (frame := self._next_frame(rest)) is not None:
            index = int(np.searchsorted(ticks, frame.pts))
            is_in_file = index < len(ticks) and ticks[index] == frame.pts
            if last_good is not None and frame.pts <= last_good.pts + (not is_in_file):
                continue  # a second frame for one time, to which ffmpeg has given the next possible one
            if index > next_index and self._is_damage(frame, rest):
                yield from self._repeat(last_good or frame, next_index, index)
            next_index = max(next_index, index + is_in_file)
            last_good = frame
            self._frame_count += 1
            yield frame
        if last_good is not None and next_index < len(ticks) and self._is_damage(last_good, rest):
            yield from self._repeat(last_good, next_index, len(ticks))

    def summary(self) -> str | None:
        """Return one line that lists the replaced frames; None if there are none."""
        if not self.replaced_ticks:
            return None
        indices = np.searchsorted(self._frame_ticks, self.replaced_ticks)
        runs = np.split(np.asarray(self.replaced_ticks), np.flatnonzero(np.diff(indices) != 1) + 1)
        ranges = [self._format_range(run) for run in runs[:_MAX_LISTED_RANGES]]
        more = f" and {len(runs) - _MAX_LISTED_RANGES} more places" if len(runs) > _MAX_LISTED_RANGES else ""
        count = len(self.replaced_ticks)
        frames = "1 damaged frame was" if count == 1 else f"{count} damaged frames were"
        return f"{frames} replaced by the frame before: at {', '.join(ranges)}{more}"

    def _next_frame(self, rest: Iterator[Frame]) -> Frame | None:
        return self._frames_ahead.popleft() if self._frames_ahead else next(rest, None)

    def _repeat(self, frame: Frame, first: int, end: int) -> Iterator[Frame]:
        """Yield ``frame`` at the times ``first`` to ``end`` (exclusive)."""
        for pts in self._frame_ticks[first:end].tolist():
            self.replaced_ticks.append(pts)
            yield replace(frame, pts=pts)

    def _is_damage(self, frame: Frame, rest: Iterator[Frame]) -> bool:
        """Return whether the gap before ``frame`` is damage; may read further frames."""
        if self._harmless_gaps > self._frame_count * _HARMLESS_SHARE:
            is_damage = False
        else:
            is_damage = self._has_damage() or self._wait_for_damage(frame, rest)
        self._harmless_gaps += not is_damage
        return is_damage

    def _wait_for_damage(self, frame: Frame, rest: Iterator[Frame]) -> bool:
        """Return whether ffmpeg reports damage within some frames and ``_CONFIRMATION_SECONDS``."""
        limit = max(min(_CONFIRMATION_FRAMES, _CONFIRMATION_BYTES // frame.pixels.nbytes), 2)
        while len(self._frames_ahead) < limit and not self._has_damage():
            if (ahead := next(rest, None)) is None:
                break
            self._frames_ahead.append(ahead)
        wait_seconds = _CONFIRMATION_SECONDS if self._harmless_gaps < _MAX_LONG_WAITS else 0
        return _is_true_soon(self._has_damage, wait_seconds)

    def _format_range(self, run: np.ndarray) -> str:
        """Return ``0:01.240`` or ``0:01.240 to 0:01.320``, counted from the video's start."""
        return " to ".join(
            format_ticks(self._source, ticks) for ticks in dict.fromkeys((int(run[0]), int(run[-1])))
        )


def format_ticks(source: Source, ticks: int) -> str:
    """Return a time in ticks as ``0:00:01.240``, counted from the video's start."""
    return format_timestamp(float(ticks * source.video.time_base - source.start), hours=True)
