"""The pictures that films show at the same moment, streamed or looked up; a few are in memory at a time.

The first film's pictures set the moments. Another film shows at a moment what a player would: the last
picture that is not later, where times may differ by what containers round them by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vsrcli.compare.inputs import ComparedVideo, Comparison
from vsrcli.errors import InputError
from vsrcli.frames.resample import resize
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import Frame

_BACK = (Fraction(1, 4), Fraction(4), None)  # seconds before a moment in which its picture may have begun


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """What all films show at one time.

    Attributes:
        number: of the first film's picture, from 0 at the line-up's start; None if it was looked up.
        time: seconds since the films' first pictures.
        frame: the first film's picture as it is, with its own time.
        pictures: one for each of ``ModelComparison.all``, (height, width, 3) of the common size, uint8 or uint16.
    """

    number: int | None
    time: Fraction
    frame: Frame
    pictures: tuple[np.ndarray, ...]


def iter_aligned(line: Comparison, *, deep: bool = False, ffmpeg: Ffmpeg) -> Iterator[AlignedFrames]:
    """All moments of the line-up, in order.

    Args:
        line: what is compared.
        deep: pictures are uint16 (0..65535), otherwise uint8.
        ffmpeg: the executable to run.

    Raises:
        DecodeError: a film is damaged.
        InputError: a film ends before its container says so.
    """
    first, *others = line.all
    with ExitStack() as open_films:
        shown = [
            open_films.enter_context(closing(TimedReader(film, line.start, ffmpeg=ffmpeg))) for film in others
        ]
        begin = first.zero + line.start - first.tolerance - first.source.start
        end = None if line.end is None else first.zero + line.end - first.tolerance - first.source.start
        reader = open_films.enter_context(
            Decoder(first.source, start=begin if begin > 0 else None, end=end, ffmpeg=ffmpeg)
        )
        for number, frame in enumerate(reader):
            time = frame.time - first.zero
            at = [film.at(time) for film in shown]
            if any(each is None for each in at):
                if number == 0:
                    raise InputError(
                        f"the films share no picture from {float(time):g} s on: give another --start"
                    )
                return  # unknown lengths: the common part is over
            pixels = (frame.pixels, *(each.pixels for each in at if each is not None))
            yield AlignedFrames(number, time, frame, tuple(_fitted(each, line, deep) for each in pixels))


def aligned_at(line: Comparison, times: Sequence[Fraction], *, ffmpeg: Ffmpeg) -> Iterator[AlignedFrames]:
    """The moments at ``times`` (or just before), found by seeking; uint8.

    Raises:
        DecodeError: a film is damaged.
        InputError: nothing is shown there.
    """
    for time in times:
        first = _looked_up(line.films[0], time, ffmpeg)
        exact = first.time - line.films[0].zero
        rest = [_looked_up(film, exact, ffmpeg) for film in line.all[1:]]
        pixels = (first.pixels, *(each.pixels for each in rest))
        yield AlignedFrames(None, exact, first, tuple(_fitted(each, line, False) for each in pixels))


class TimedReader:
    """One film as it is shown, asked for later and later moments; close it when done.

    Args:
        film: the film.
        start: the first moment that will be asked for.
        ffmpeg: the executable to run.
    """

    def __init__(self, film: ComparedVideo, start: Fraction, *, ffmpeg: Ffmpeg) -> None:
        self._film = film
        self._decoder, self._frames, self._next = _opened(film, start, ffmpeg)
        self._now: Frame | None = None
        self._step = Fraction(0)

    def at(self, moment: Fraction) -> Frame | None:
        """What is shown then; before the first picture that one, after the last one's time None."""
        latest = self._film.zero + moment + self._film.tolerance
        while self._next is not None and (self._now is None or self._next.time <= latest):
            if self._now is not None:
                self._step = self._next.time - self._now.time
            self._now, self._next = self._next, next(self._frames, None)
        if self._next is None and self._now is not None:
            rate = self._film.source.video.frame_rate
            lasts = max(self._step, 1 / rate if rate else self._step)
            stated = self._film.zero + (self._film.end or 0)
            if latest - 2 * self._film.tolerance >= max(self._now.time + lasts, stated):
                return None
        return self._now

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()


def _looked_up(film: ComparedVideo, moment: Fraction, ffmpeg: Ffmpeg) -> Frame:
    with closing(TimedReader(film, moment, ffmpeg=ffmpeg)) as showing:
        frame = showing.at(moment)
    if frame is None:
        raise InputError(f"{film.source.path} shows nothing at {float(moment):g} s; choose an earlier moment")
    return frame


def _opened(
    film: ComparedVideo, start: Fraction, ffmpeg: Ffmpeg
) -> tuple[Decoder, Iterator[Frame], Frame | None]:
    """A decoder, its frames, and the first of them, which is not later than ``start`` if any such exists."""
    wanted = film.zero + start + film.tolerance
    for back in _BACK:
        begin = None if back is None else film.zero + start - back - film.source.start
        if begin is None or begin <= 0 or begin + film.source.start <= film.source.video.start:
            begin = None
        decoder = Decoder(film.source, start=begin, ffmpeg=ffmpeg)
        try:
            frames = iter(decoder)
            first = next(frames, None)
        except BaseException as error:
            decoder.close()
            if begin is None or not isinstance(error, InputError):
                raise
            continue  # no picture begins so shortly before: look from further back
        if begin is None or (first is not None and first.time <= wanted):
            return decoder, frames, first
        decoder.close()
    raise AssertionError("the last attempt begins at the beginning")


def _fitted(pixels: np.ndarray, line: Comparison, deep: bool) -> np.ndarray:
    """At the common size and depth."""
    target = np.uint16 if deep else np.uint8
    top, most = np.iinfo(pixels.dtype).max, np.iinfo(target).max
    if pixels.shape[:2] != (line.height, line.width):
        scaled = resize(pixels, line.height, line.width, line.kernel)
        scaled *= np.float32(most / top)
        return np.rint(scaled, out=scaled).clip(0, most).astype(target)
    if pixels.dtype == target:
        return pixels
    if deep:
        return pixels.astype(np.uint16) * np.uint16(257)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
