"""Time of an engine alone, without the frames at a shot's start that fill windows and compile networks."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from vsrcli.evaluate.results import WARMUP_FRAMES
from vsrcli.frames.state import State
from vsrcli.inference.types import Stream


class Stopwatch:
    """Adds up.

    Attributes:
        seconds: of all timed frames.
        frames: that were timed.
    """

    def __init__(self) -> None:
        self.seconds, self.frames = 0.0, 0

    def add(self, seconds: float) -> None:
        """One more frame."""
        self.seconds += seconds
        self.frames += 1


class TimedStream:
    """A stream under a stopwatch, see :class:`~vsrcli.inference.types.Stream`.

    Once it has answered ``WARMUP_FRAMES`` times, each push takes one frame in and gives one out: that is timed.
    Whatever a network compiles, it has compiled before. What it gives at the end is not timed, since nothing
    comes in for it.
    """

    def __init__(self, stream: Stream, watch: Stopwatch) -> None:
        self._stream, self._watch = stream, watch
        self._answers = 0

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        began = time.perf_counter()
        answer = self._stream.push(frame)
        if self._answers >= WARMUP_FRAMES:
            self._watch.add(time.perf_counter() - began)
        self._answers += answer is not None
        return answer

    def flush(self) -> list[np.ndarray]:
        return self._stream.flush()

    def fork(self) -> TimedStream:
        twin = TimedStream(self._stream.fork(), self._watch)
        twin._answers = self._answers
        return twin

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)
