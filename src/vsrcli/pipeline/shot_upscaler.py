"""Frames through streams, shot by shot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vsrcli.frames.pixels import fill_transparent, resize_alpha, to_float, to_integer
from vsrcli.frames.shots import ShotDetector
from vsrcli.frames.state import State
from vsrcli.inference.types import Stream
from vsrcli.media.resumable_decoder import ResumePoint, frame_crc32
from vsrcli.media.types import Frame

_DETECTOR, _STREAM = "detector.", "stream."  # what their parts of a state begin with


class ShotUpscaler:
    """Frames through streams, a fresh one for every shot, so that no window mixes two; alpha goes beside.

    Args:
        open_stream: makes the stream of a shot.
        state: of another path, to go on from there; None to begin a film.

    Attributes:
        shots: begun so far.

    Raises:
        EngineError: the state is of another network.
    """

    def __init__(
        self, open_stream: Callable[[], Stream], state: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.shots = 0
        self._open = open_stream
        self._detector = ShotDetector()
        self._stream: Stream | None = None
        self._begins = False  # the next frame is known to begin a shot
        self._waiting: deque[Frame] = deque()  # pushed, not answered yet; without their colours
        self._taken, self._last = 0, None  # how many frames came in, and the one that came last
        self._seen: ResumePoint | None = None
        if state is not None:
            self._restore(state)

    @property
    def last_input(self) -> ResumePoint | None:
        """The last frame that came in; None before the first."""
        return (
            self._seen
            if self._last is None
            else ResumePoint(self._taken, self._last.pts, frame_crc32(self._last))
        )

    @property
    def at_shot_boundary(self) -> bool:
        """Whether one shot is over and the next has not begun."""
        return self._stream is None

    def upscale(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """As many frames as come in, in order and at their own times, in the number format they came in."""
        for group in self.upscale_grouped(frames):
            yield from group

    def upscale_grouped(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """The same in groups, some of them empty. Behind each nothing is half done: ``state`` says all."""
        for frame in frames:
            pixels = frame.pixels if frame.alpha is None else fill_transparent(frame.pixels, frame.alpha)
            self._begins = self._begins or self._detector.is_cut(pixels)
            if self._begins and self._stream:
                yield self._end()
            if self._stream is None:
                self._stream, self.shots = self._open(), self.shots + 1
            result = self._stream.push(to_float(pixels))
            self._waiting.append(replace(frame, pixels=pixels[:0].copy()))
            self._begins, self._taken, self._last = False, self._taken + 1, frame
            yield self._collect([] if result is None else [result])
        if self._stream:
            yield self._end()

    def state(self) -> State:
        """What has to be known to go on in another process, as named arrays."""
        state = {
            "shots": np.array([self.shots, self._begins, self._stream is not None], np.int64),
            "waiting": np.array([frame.pts for frame in self._waiting], np.int64),
        }
        if self.last_input is not None:
            state["seen"] = np.array(
                [self.last_input.frame_count, self.last_input.pts, self.last_input.crc32], np.int64
            )
        if self._waiting:
            first = self._waiting[0]
            state["clock"] = np.array(first.time_base.as_integer_ratio(), np.int64)
            state["colours"] = first.pixels  # none, but of their number format
            if first.alpha is not None:
                state["alpha"] = np.stack([frame.alpha for frame in self._waiting if frame.alpha is not None])
        state |= {_DETECTOR + name: array for name, array in self._detector.state().items()}
        inner = self._stream.state() if self._stream else {}
        return state | {_STREAM + name: array for name, array in inner.items()}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.shots, begins, in_shot = (int(number) for number in state["shots"])
        self._begins = bool(begins)
        if "seen" in state:
            self._seen = ResumePoint(*(int(number) for number in state["seen"]))
            self._taken = self._seen.frame_count
        for number, pts in enumerate(state["waiting"].tolist()):
            alpha = state["alpha"][number] if "alpha" in state else None
            clock = Fraction(*(int(term) for term in state["clock"]))
            self._waiting.append(Frame(state["colours"], pts, clock, alpha))
        self._detector.restore(_part(state, _DETECTOR))
        if in_shot:
            self._stream = self._open()
            self._stream.restore(_part(state, _STREAM))

    def _end(self) -> list[Frame]:
        """The shot is over: what it still owes."""
        assert self._stream is not None
        results, self._stream = self._stream.flush(), None
        return self._collect(results)

    def _collect(self, results: Iterable[np.ndarray]) -> list[Frame]:
        return [self._frame(result) for result in results]

    def _frame(self, result: np.ndarray) -> Frame:
        asked = self._waiting.popleft()
        alpha = None if asked.alpha is None else resize_alpha(asked.alpha, *result.shape[:2])
        return replace(asked, pixels=to_integer(result, asked.pixels.dtype), alpha=alpha)


def _part(state: Mapping[str, np.ndarray], prefix: str) -> State:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
