"""One ffmpeg that decodes: its pictures, and whether they were all.

Carry on over damage: a picture that cannot be decoded is replaced by the last good one.

So the film keeps its number of frames and every time, and what was replaced can be told at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.media.process import FFmpegProcess, is_damage_message, parse_size_change
from vsrcli.media.safety import find_bad_ts_packets, find_truncation
from vsrcli.media.types import Frame, Source
from vsrcli.system.text import format_timestamp


class IncompleteStreamError(Exception):
    """The pictures ended before the film did.

    Attributes:
        what: why, as half a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.reason = what


class RawFrameReader:
    """Starts ffmpeg and takes its pictures out of the pipe.

    Args:
        source: the film.
        command: from ``decode_command``.
        alpha: whether pictures have a fourth channel.
        tolerant: damage, and an end that is cut off, become a warning.
        lenient: damage becomes a warning.

    Attributes:
        damage: what ffmpeg has said about damaged data so far.
        warnings: what was passed over, in words.
        process: the running ffmpeg.

    Raises:
        OSError: ffmpeg cannot be started.
    """

    def __init__(
        self, source: Source, command: list[str], *, alpha: bool, tolerant: bool, ignore_damage: bool
    ) -> None:
        self.damage_messages: list[str] = []
        self.warnings: list[str] = []
        self._source = source
        self._alpha = alpha
        self._tolerant = tolerant
        self._lenient = ignore_damage
        self._resized: tuple[int, int] | None = None
        self.process = FFmpegProcess(command, stdout=True, on_line=self._listen)

    def frames(self) -> Iterator[Frame]:
        """Every picture that ffmpeg gives.

        Raises:
            IncompleteStreamError: there were not all of them; nothing ends quietly before the film does.
        """
        import av

        try:
            with av.open(self.process.stdout, format="nut", buffer_size=1 << 20) as container:
                for packet in self._packets(container):
                    yield self._frame(packet)
        except (av.FFmpegError, OSError, EOFError) as error:
            self._finish(error)  # the pipe broke off: ffmpeg's own exit tells why, if it knows
        else:
            self._finish(None)

    def _packets(self, container: Any) -> Iterator[Any]:
        video = self._source.video
        channels = 4 if self._alpha else 3
        expected = video.width * video.height * channels * (2 if video.is_high_bit_depth else 1)
        packets = (packet for packet in container.demux(container.streams.video[0]) if packet.size)
        for packet in packets:
            if packet.size != expected and next(packets, None) is None:
                raise EOFError("the pipe ended inside this picture")
            if packet.size != expected or self._turned_unseen():
                width, height = self._resized or (0, 0)
                size = f"{width}x{height}" if width else f"{packet.size} instead of {expected} bytes"
                raise IncompleteStreamError(
                    f"the picture changes from {video.width}x{video.height} to {size}; split the film"
                )
            yield packet

    def _turned_unseen(self) -> bool:
        """A change to as many pixels (64x48 to 48x64) does not show in the bytes: stop where it is known."""
        if self._resized is None:
            return False
        return self._resized[0] * self._resized[1] == self._source.video.width * self._source.video.height

    def _frame(self, packet: Any) -> Frame:
        video = self._source.video
        ticks = (packet.pts * Fraction(packet.time_base) - self._source.pts_offset) / video.time_base
        if ticks.denominator != 1:
            raise IncompleteStreamError(f"ffmpeg gave a time between two ticks of the file's clock ({ticks})")
        kind = np.dtype("<u2") if video.is_high_bit_depth else np.dtype(np.uint8)
        pixels = np.frombuffer(packet, kind).reshape(video.height, video.width, -1)
        alpha = pixels[..., 3] if self._alpha else None
        return Frame(pixels[..., :3], ticks.numerator, video.time_base, alpha)

    def _finish(self, error: Exception | None) -> None:
        """The pipe has ended: was that the end of the film?"""
        if error is not None:
            self.process.stdout.close()  # or else a child that still writes would wait for us, and we for it
        status = self.process.wait()
        problem: str | None = None
        if status != 0:
            problem = f"ffmpeg stopped ({self.process.describe_exit(status)})"
        elif error is not None:
            problem = "ffmpeg's output broke off"
        elif self._tolerant and (torn := find_bad_ts_packets(self._source.path)):
            problem = f"the file is damaged: {torn}"
        elif self.damage_messages:
            problem = "the file is damaged"
        missing = find_truncation(self._source.path)
        if missing is not None:
            problem = f"the file is cut short: {missing}"
        if problem is None:
            return
        whole = status == 0 and error is None
        if not whole or not (self._tolerant or (self._lenient and missing is None)):
            remedy = "repair it or get a complete copy"
            raise IncompleteStreamError(
                f"{problem}; {remedy}" + ("" if self._tolerant else ", or use --keep-going")
            )
        count = len(self.damage_messages)
        self.warnings.append(f"{problem} ({count} place{'s' * (count > 1)})" if count else problem)

    def _listen(self, line: str) -> None:
        """Called in the draining thread for every line that ffmpeg says."""
        size, video = parse_size_change(line), self._source.video
        if size is not None:
            turned = video.rotation in (90, 270)
            if size != ((video.height, video.width) if turned else (video.width, video.height)):
                self._resized = size
        if is_damage_message(line):
            self.damage_messages.append(line)


_PATIENCE = 1.0  # seconds for ffmpeg's word about damage to arrive, which comes by another pipe
_LISTED = 20  # places in one message


class DamageConcealer:
    """Fills in pictures that the container has but the decoder could not give.

    Args:
        source: the film.
        times: presentation times of all its pictures, sorted, in ticks of its clock: int64 (N,).
        damaged: whether ffmpeg has met damage so far. Where pictures are missing without any (two packets for
            one picture, say), nothing is filled in.

    Attributes:
        replaced: times of the pictures that were filled in, in ticks.
    """

    def __init__(self, source: Source, frame_ticks: np.ndarray, has_damage: Callable[[], bool]) -> None:
        self.replaced_ticks: list[int] = []
        self._source = source
        self._times = frame_ticks
        self._damaged = has_damage
        self._one_for_one = True

    def conceal(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, and between them copies of the one before where one is missing.

        Before the first good frame, copies of that one: the film keeps its start.
        """
        due, good = 0, None
        for frame in frames:
            reached = int(np.searchsorted(self._times, frame.pts))
            yield from self._copies(good or frame, due, reached)
            due = max(due, reached + int(reached < len(self._times) and self._times[reached] == frame.pts))
            good = frame
            yield frame
        if good is not None:
            yield from self._copies(good, due, len(self._times))

    def summary(self) -> str | None:
        """One line that lists what was replaced; None if nothing was."""
        if not self.replaced_ticks:
            return None
        at = np.searchsorted(self._times, self.replaced_ticks)
        runs = np.split(np.asarray(self.replaced_ticks), np.flatnonzero(np.diff(at) != 1) + 1)
        places = [self._place(run) for run in runs[:_LISTED]]
        more = f" and {len(runs) - _LISTED} more places" if len(runs) > _LISTED else ""
        count = len(self.replaced_ticks)
        frames = "1 damaged frame was" if count == 1 else f"{count} damaged frames were"
        return f"{frames} replaced by the frame before: at {', '.join(places)}{more}"

    def _copies(self, good: Frame, first: int, last: int) -> Iterator[Frame]:
        if last > first and self._one_for_one and not self._confirmed():
            self._one_for_one = False
        if not self._one_for_one:
            return
        for pts in self._times[first:last].tolist():
            self.replaced_ticks.append(pts)
            yield replace(good, pts=pts)

    def _confirmed(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while not self._damaged():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _place(self, run: np.ndarray) -> str:
        """``0:01.240`` or ``0:01.240 to 0:01.320``, counted from the film's start."""
        base = self._source.video.time_base
        ends = [pts * base - self._source.start for pts in dict.fromkeys((int(run[0]), int(run[-1])))]
        return " to ".join(format_timestamp(float(end), hours=True) for end in ends)
