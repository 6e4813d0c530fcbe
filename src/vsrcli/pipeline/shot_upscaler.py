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

_DETECTOR_PREFIX, _STREAM_PREFIX = "detector.", "stream."  # what their parts of a state begin with


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
        self.count = 0
        self._open_stream = open_stream
        self._detector = ShotDetector()
        self._stream: Stream | None = None
        self._next_starts_shot = False  # the next frame is known to begin a shot
        self._pending: deque[Frame] = deque()  # pushed, not answered yet; without their colours
        self._input_count, self._last_frame = 0, None  # how many frames came in, and the one that came last
        self._resume_point: ResumePoint | None = None
        if state is not None:
            self._restore(state)

    @property
    def last_input(self) -> ResumePoint | None:
        """The last frame that came in; None before the first."""
        return (
            self._resume_point
            if self._last_frame is None
            else ResumePoint(self._input_count, self._last_frame.pts, frame_crc32(self._last_frame))
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
            self._next_starts_shot = self._next_starts_shot or self._detector.is_cut(pixels)
            if self._next_starts_shot and self._stream:
                yield self._end_shot()
            if self._stream is None:
                self._stream, self.count = self._open_stream(), self.count + 1
            result = self._stream.push(to_float(pixels))
            self._pending.append(replace(frame, pixels=pixels[:0].copy()))
            self._next_starts_shot, self._input_count, self._last_frame = False, self._input_count + 1, frame
            yield self._collect([] if result is None else [result])
        if self._stream:
            yield self._end_shot()

    def state(self) -> State:
        """What has to be known to go on in another process, as named arrays."""
        state = {
            "shots": np.array([self.count, self._next_starts_shot, self._stream is not None], np.int64),
            "waiting": np.array([frame.pts for frame in self._pending], np.int64),
        }
        if self.last_input is not None:
            state["seen"] = np.array(
                [self.last_input.frame_count, self.last_input.pts, self.last_input.crc32], np.int64
            )
        if self._pending:
            first = self._pending[0]
            state["clock"] = np.array(first.time_base.as_integer_ratio(), np.int64)
            state["colours"] = first.pixels  # none, but of their number format
            if first.alpha is not None:
                state["alpha"] = np.stack([frame.alpha for frame in self._pending if frame.alpha is not None])
        state |= {_DETECTOR_PREFIX + name: array for name, array in self._detector.state().items()}
        stream_state = self._stream.state() if self._stream else {}
        return state | {_STREAM_PREFIX + name: array for name, array in stream_state.items()}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.count, next_starts_shot, in_shot = (int(number) for number in state["shots"])
        self._next_starts_shot = bool(next_starts_shot)
        if "seen" in state:
            self._resume_point = ResumePoint(*(int(number) for number in state["seen"]))
            self._input_count = self._resume_point.frame_count
        for number, pts in enumerate(state["waiting"].tolist()):
            alpha = state["alpha"][number] if "alpha" in state else None
            time_base = Fraction(*(int(term) for term in state["clock"]))
            self._pending.append(Frame(state["colours"], pts, time_base, alpha))
        self._detector.restore(_strip_prefix(state, _DETECTOR_PREFIX))
        if in_shot:
            self._stream = self._open_stream()
            self._stream.restore(_strip_prefix(state, _STREAM_PREFIX))

    def _end_shot(self) -> list[Frame]:
        """The shot is over: what it still owes."""
        assert self._stream is not None
        results, self._stream = self._stream.flush(), None
        return self._collect(results)

    def _collect(self, results: Iterable[np.ndarray]) -> list[Frame]:
        return [self._to_frame(result) for result in results]

    def _to_frame(self, result: np.ndarray) -> Frame:
        pending = self._pending.popleft()
        alpha = None if pending.alpha is None else resize_alpha(pending.alpha, *result.shape[:2])
        return replace(pending, pixels=to_integer(result, pending.pixels.dtype), alpha=alpha)


def _strip_prefix(state: Mapping[str, np.ndarray], prefix: str) -> State:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
