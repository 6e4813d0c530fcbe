"""Frames that videos show at the same time, streamed or found by seeking; a few are in memory at a time.

The first video's frames set the times. At each time, another video shows what a player would: its last frame
that is not later, with a tolerance for times that containers round.
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

# Seconds to seek before a time, in turn, until a frame is found that starts there; None: from the beginning.
_SEEK_MARGINS = (Fraction(1, 4), Fraction(4), None)


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """Images of all videos at one time.

    Attributes:
        index: of the first video's frame, from the comparison's start; None if found by seeking.
        time: seconds since the videos' first frames.
        frame: the first video's frame, unchanged, with its own timestamp.
        images: one for each of ``Comparison.all_videos``, (height, width, 3) of the common size, uint8 or
            uint16.
    """

    index: int | None
    time: Fraction
    frame: Frame
    images: tuple[np.ndarray, ...]


def iter_aligned(
    comparison: Comparison, *, high_bit_depth: bool = False, ffmpeg: Ffmpeg
) -> Iterator[AlignedFrames]:
    """Yield the aligned frames of the whole comparison, in order.

    Images are uint8, or with ``high_bit_depth`` uint16 (0..65535).

    Raises:
        DecodeError: a video is damaged.
        InputError: the videos share no frame.
    """
    first, *others = comparison.all_videos
    with ExitStack() as stack:
        readers = [
            stack.enter_context(closing(TimedReader(video, comparison.start, ffmpeg=ffmpeg)))
            for video in others
        ]
        begin = first.origin + comparison.start - first.tolerance - first.source.start
        end = None
        if comparison.end is not None:
            end = first.origin + comparison.end - first.tolerance - first.source.start
        decoder = stack.enter_context(
            Decoder(first.source, start=begin if begin > 0 else None, end=end, ffmpeg=ffmpeg)
        )
        for index, frame in enumerate(decoder):
            time = frame.time - first.origin
            frames = [reader.frame_at(time) for reader in readers]
            if any(each is None for each in frames):
                if index == 0:
                    raise InputError(
                        f"the videos share no frame from {float(time):g} s on: use another --start"
                    )
                return  # unknown lengths: the common part is over
            images = [frame.pixels, *(each.pixels for each in frames if each is not None)]
            yield AlignedFrames(index, time, frame, _fit_all(images, comparison, high_bit_depth))


def aligned_at(
    comparison: Comparison, times: Sequence[Fraction], *, ffmpeg: Ffmpeg
) -> Iterator[AlignedFrames]:
    """Yield the aligned frames at ``times`` (or just before), found by seeking; images are uint8.

    Raises:
        DecodeError: a video is damaged.
        InputError: a video has no frame there.
    """
    for time in times:
        first = _seek_frame(comparison.videos[0], time, ffmpeg)
        exact = first.time - comparison.videos[0].origin
        others = [_seek_frame(video, exact, ffmpeg) for video in comparison.all_videos[1:]]
        images = [each.pixels for each in (first, *others)]
        yield AlignedFrames(None, exact, first, _fit_all(images, comparison))


class TimedReader:
    """Read the frames of a video at ascending times, the first one at ``start``; close it when done."""

    def __init__(self, video: ComparedVideo, start: Fraction, *, ffmpeg: Ffmpeg) -> None:
        self._video = video
        self._decoder, self._frames, self._next = _open_before(video, start, ffmpeg)
        self._current: Frame | None = None
        self._last_interval = Fraction(0)

    def frame_at(self, time: Fraction) -> Frame | None:
        """Return the frame at ``time``: before the first frame, that one; after the last one's end, None.

        Times must ascend from call to call.
        """
        latest = self._video.origin + time + self._video.tolerance
        while self._next is not None and (self._current is None or self._next.time <= latest):
            if self._current is not None:
                self._last_interval = self._next.time - self._current.time
            self._current, self._next = self._next, next(self._frames, None)
        if self._next is None and self._current is not None:
            rate = self._video.source.video.frame_rate
            lasts = max(self._last_interval, 1 / rate if rate else self._last_interval)
            stated = self._video.origin + (self._video.end or 0)
            if latest - 2 * self._video.tolerance >= max(self._current.time + lasts, stated):
                return None
        return self._current

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()


def _seek_frame(video: ComparedVideo, time: Fraction, ffmpeg: Ffmpeg) -> Frame:
    with closing(TimedReader(video, time, ffmpeg=ffmpeg)) as reader:
        frame = reader.frame_at(time)
    if frame is None:
        raise InputError(f"{video.source.path} has no frame at {float(time):g} s; choose an earlier time")
    return frame


def _open_before(
    video: ComparedVideo, start: Fraction, ffmpeg: Ffmpeg
) -> tuple[Decoder, Iterator[Frame], Frame | None]:
    """Open a decoder at a frame that is not later than ``start``, if there is one.

    Returns:
        The decoder, its further frames, and the first frame.
    """
    latest = video.origin + start + video.tolerance
    for margin in _SEEK_MARGINS:
        begin = None if margin is None else video.origin + start - margin - video.source.start
        if begin is None or begin <= 0 or begin + video.source.start <= video.source.video.start:
            begin = None
        decoder = Decoder(video.source, start=begin, ffmpeg=ffmpeg)
        try:
            frames = iter(decoder)
            first = next(frames, None)
        except BaseException as error:
            decoder.close()
            if begin is None or not isinstance(error, InputError):
                raise
            continue  # no frame starts in this interval: seek further back
        if begin is None or (first is not None and first.time <= latest):
            return decoder, frames, first
        decoder.close()
    raise AssertionError("the last attempt decodes from the beginning")


def _fit_all(
    images: Sequence[np.ndarray], comparison: Comparison, high_bit_depth: bool = False
) -> tuple[np.ndarray, ...]:
    """Convert images to the common size and bit depth."""
    return tuple(
        _fit(image, comparison, np.dtype(np.uint16 if high_bit_depth else np.uint8)) for image in images
    )


def _fit(pixels: np.ndarray, comparison: Comparison, dtype: np.dtype) -> np.ndarray:
    source_max, target_max = np.iinfo(pixels.dtype).max, np.iinfo(dtype).max
    if pixels.shape[:2] != (comparison.height, comparison.width):
        scaled = resize(pixels, comparison.height, comparison.width, comparison.kernel)
        scaled *= np.float32(target_max / source_max)
        return np.rint(scaled, out=scaled).clip(0, target_max).astype(dtype)
    if pixels.dtype == dtype:
        return pixels
    if dtype == np.uint16:
        return pixels.astype(np.uint16) * np.uint16(257)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
