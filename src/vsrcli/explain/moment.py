"""The frames around one time of a video, as ``vsr upscale`` would give them to a network."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.errors import InputError, UsageError
from vsrcli.frames.pixels import to_float
from vsrcli.frames.repeats import MAX_REPEATS, RepeatDetector
from vsrcli.frames.shots import ShotDetector
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.source_reader import SourceReader
from vsrcli.pipeline.preparation import open_source
from vsrcli.system.signals import raise_if_cancelled

_LEAD_FRAMES = 8  # that the shot detector sees before the first one that may be needed
_LONG_LEAD = Fraction(4)  # seconds; where frames are rare, as in recordings of a screen
_DEFAULT_POSITION = Fraction(1, 3)  # of the duration, as in `vsr preview`
_TOLERANCE = Fraction(1, 200)  # seconds by which containers round times


@dataclass(frozen=True, eq=False)
class Moment:
    """Consecutive frames of one shot.

    Attributes:
        path: of the video.
        time: of the frame in question, in seconds from the video's start.
        frames: float32 R'G'B' (T, H, W, 3) in [0, 1].
        centre: which of them is in question.
        begins_shot: whether no earlier frame belongs to the shot, so that a network pads time before them.
        ends_shot: the same, for what comes later.
        repeats: how many frames were left out between them, see :mod:`vsrcli.frames.repeats`.
    """

    path: Path
    time: Fraction
    frames: np.ndarray
    centre: int
    begins_shot: bool
    ends_shot: bool
    repeats: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def following(self) -> int:
        """Frames after the one in question."""
        return len(self.frames) - 1 - self.centre

    def offsets(self) -> list[int]:
        """Return where each frame lies, the one in question at 0."""
        return [number - self.centre for number in range(len(self.frames))]


def read_moment(
    path: Path,
    at: Fraction | None,
    *,
    before: int,
    after: int,
    ffmpeg: Ffmpeg,
    leave_out_repeats: bool = False,
) -> Moment:
    """Read the frame that is shown at a time, with those around it as far as they belong to the same shot.

    Args:
        path: of a video or an image sequence.
        at: seconds from its start; None: a third of the way.
        before, after: frames before and after, at most.
        ffmpeg: that decodes.
        leave_out_repeats: without frames that repeat the one before, as a network with a state gets them.

    Raises:
        UsageError: the video ends before ``at``.
        InputError: it cannot be read.
        DecodeError: it is damaged.
    """
    reader = open_source(path)
    end = _end(reader)
    if at is None:
        at = end * _DEFAULT_POSITION if end else Fraction(0)
    elif end is not None and at >= end:
        raise _beyond(path, at, end)
    rate = reader.source.video.frame_rate
    before_all = before * (MAX_REPEATS + 1 if leave_out_repeats else 1)
    lead = (before_all + _LEAD_FRAMES + 1) / rate if rate else at
    for start in (at - lead, at - max(lead, _LONG_LEAD), None):
        start = start if start is not None and start > 0 else None
        repeats = RepeatDetector() if leave_out_repeats else None
        shown = _read_around(reader, start, at, repeats, before=before, after=after, ffmpeg=ffmpeg)
        if shown is not None:
            break
        if start is None:
            raise _beyond(path, at, end)
    assert shown is not None
    if shown.ends_shot and shown.following == 0 and end is None and rate:
        stop = shown.time + 1 / rate
        if at >= stop + _TOLERANCE:
            raise _beyond(path, at, stop)
    return shown


def _read_around(
    reader: SourceReader,
    start: Fraction | None,
    at: Fraction,
    repeats: RepeatDetector | None,
    *,
    before: int,
    after: int,
    ffmpeg: Ffmpeg,
) -> Moment | None:
    """Decode from ``start`` on (None: the beginning); None if the frame shown at ``at`` begins earlier."""
    source = reader.source
    earlier: deque[tuple[int, Fraction, np.ndarray]] = deque(maxlen=before + 1)  # number, time, pixels
    later: list[np.ndarray] = []
    detector, begins_shot, ends_shot = ShotDetector(), start is None, False
    last_number = -1
    try:
        with reader.open_decoder(start=start, alpha=source.video.has_alpha, ffmpeg=ffmpeg) as decoder:
            for number, frame in enumerate(decoder):
                raise_if_cancelled()
                pixels = frame.fill_transparent()
                is_cut = detector.is_cut(pixels)
                time = frame.time - source.start
                if time > at + _TOLERANCE and not earlier and start is not None:
                    return None
                if repeats is not None and is_cut:
                    repeats.reset()
                if repeats is not None and repeats.is_repeat(pixels):
                    continue
                if time > at + _TOLERANCE and earlier:
                    if ends_shot := is_cut:
                        break
                    later.append(to_float(pixels))
                    last_number = number
                    if len(later) >= after:
                        break
                    continue
                if is_cut:
                    earlier.clear()
                    begins_shot = True
                elif len(earlier) == before + 1:
                    begins_shot = False
                earlier.append((number, time, to_float(pixels)))
                last_number = number
            else:
                ends_shot = True
    except InputError:
        if start is None or earlier:
            raise
        return None  # no frame starts from there on
    if not earlier:
        return None
    frames = np.stack([*(pixels for *_, pixels in earlier), *later[:after]])
    repeats_left_out = last_number - earlier[0][0] + 1 - len(frames)
    return Moment(
        source.path, earlier[-1][1], frames, len(earlier) - 1, begins_shot, ends_shot, repeats_left_out
    )


def _end(reader: SourceReader) -> Fraction | None:
    """Return when the last frame ends, in seconds from the start; None if the file does not say."""
    source, last = reader.source, reader.read_span(None, None).last_frame
    rate = source.video.frame_rate
    if last is None:
        return source.video.duration or source.duration
    return last[0] - source.start + (last[1] or (1 / rate if rate else Fraction(1, 25)))


def _beyond(path: Path, at: Fraction, end: Fraction | None) -> UsageError:
    length = "" if end is None else f", which ends at {float(end):.6g} s"
    return UsageError(f"--at {float(at):g} is beyond {path}{length}: give an earlier time")
