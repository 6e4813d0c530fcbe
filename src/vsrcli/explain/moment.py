"""The frames around one time of a video, as ``vsr upscale`` would give them to a network."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.errors import DecodeError, InputError, UsageError
from vsrcli.frames.pixels import to_float
from vsrcli.frames.shots import ShotDetector
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.source_reader import SourceReader
from vsrcli.pipeline.preparation import open_source
from vsrcli.system.signals import raise_if_cancelled

_LEAD_FRAMES = 8  # that the shot detector sees before the first one that may be needed
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
    """

    path: Path
    time: Fraction
    frames: np.ndarray
    centre: int
    begins_shot: bool
    ends_shot: bool

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


def read_moment(path: Path, at: Fraction | None, *, before: int, after: int, ffmpeg: Ffmpeg) -> Moment:
    """Read the frame that is shown at a time, with those around it as far as they belong to the same shot.

    Args:
        path: of a video or an image sequence.
        at: seconds from its start; None: a third of the way.
        before, after: frames before and after, at most.
        ffmpeg: that decodes.

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
    source, rate = reader.source, reader.source.video.frame_rate
    start = at - (before + _LEAD_FRAMES + 1) / rate if rate else Fraction(0)
    earlier: deque[tuple[Fraction, np.ndarray]] = deque(maxlen=before + 1)
    later: list[np.ndarray] = []
    detector, begins_shot, ends_shot, last = ShotDetector(), start <= 0, False, None
    options = {"start": start if start > 0 else None, "alpha": source.video.has_alpha}
    try:
        with reader.open_decoder(**options, ffmpeg=ffmpeg) as decoder:
            for frame in decoder:
                raise_if_cancelled()
                pixels, is_cut = frame.fill_transparent(), False
                is_cut = detector.is_cut(pixels)
                last = frame.time - source.start
                if last > at + _TOLERANCE and earlier:
                    if ends_shot := is_cut:
                        break
                    later.append(to_float(pixels))
                    if len(later) >= after:
                        break
                    continue
                if is_cut:
                    earlier.clear()
                    begins_shot = True
                elif len(earlier) == before + 1:
                    begins_shot = False
                earlier.append((last, to_float(pixels)))
            else:
                ends_shot = True
    except DecodeError:
        raise
    except InputError as error:  # no frame starts there
        raise _beyond(path, at, end) from error
    if not earlier:
        raise _beyond(path, at, end)
    if ends_shot and not later and end is None and rate and at >= earlier[-1][0] + 1 / rate + _TOLERANCE:
        raise _beyond(path, at, earlier[-1][0] + 1 / rate)
    frames = np.stack([*(pixels for _, pixels in earlier), *later[:after]])
    return Moment(path, earlier[-1][0], frames, len(earlier) - 1, begins_shot, ends_shot)


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
