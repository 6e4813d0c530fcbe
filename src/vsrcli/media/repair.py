"""Carry on over damage: a picture that cannot be decoded is replaced by the last good one.

So the film keeps its number of frames and every time, and what was replaced can be told at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vsrcli.media.types import Frame, Source

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

    def __init__(self, source: Source, times: np.ndarray, damaged: Callable[[], bool]) -> None:
        self.replaced: list[int] = []
        self._source = source
        self._times = times
        self._damaged = damaged
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
        if not self.replaced:
            return None
        at = np.searchsorted(self._times, self.replaced)
        runs = np.split(np.asarray(self.replaced), np.flatnonzero(np.diff(at) != 1) + 1)
        places = [self._place(run) for run in runs[:_LISTED]]
        more = f" and {len(runs) - _LISTED} more places" if len(runs) > _LISTED else ""
        count = len(self.replaced)
        frames = "1 damaged frame was" if count == 1 else f"{count} damaged frames were"
        return f"{frames} replaced by the frame before: at {', '.join(places)}{more}"

    def _copies(self, good: Frame, first: int, last: int) -> Iterator[Frame]:
        if last > first and self._one_for_one and not self._confirmed():
            self._one_for_one = False
        if not self._one_for_one:
            return
        for pts in self._times[first:last].tolist():
            self.replaced.append(pts)
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
        return " to ".join(_clock(end) for end in ends)


def _clock(seconds: Fraction) -> str:
    milliseconds = max(round(1000 * seconds), 0)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest / 1000:06.3f}"
