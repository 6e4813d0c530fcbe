"""Upscale frames shot by shot: detect shots, open a new stream for each, and compute what repeats once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from vsrcli.frames.pixels import resize_alpha, to_float, to_integer
from vsrcli.frames.repeats import RepeatDetector
from vsrcli.frames.shots import ShotDetector
from vsrcli.frames.state import State
from vsrcli.inference.types import Stream
from vsrcli.media.resumable_decoder import ResumePoint
from vsrcli.media.types import Frame
from vsrcli.system.signals import raise_if_cancelled

# Of their keys in a state:
_DETECTOR_PREFIX, _REPEATS_PREFIX, _STREAM_PREFIX = "detector.", "repeats.", "stream."
_PENDING_REPEATS, _LAST_RESULT = "pending_repeats", "last_result"


class ShotUpscaler:
    """Upscales frames with a new stream for each shot, so that no window of a network crosses a cut.

    Alpha does not pass through the network; it is resized.

    A frame that repeats the one before can be left out: the network does not see it, and it shows the result
    of that one. Results are as late as before, in frames that the network sees.

    Args:
        open_stream: opens the stream of a shot.
        state: of another instance, to resume from; None to start at the first frame.
        on_repeat: leave out frames that repeat the one before, see :mod:`vsrcli.frames.repeats`, and call
            this for each; None: compute every frame.

    Attributes:
        count: shots begun.

    Raises:
        EngineError: the state is of another network.
    """

    def __init__(
        self,
        open_stream: Callable[[], Stream],
        state: Mapping[str, np.ndarray] | None = None,
        *,
        on_repeat: Callable[[], None] | None = None,
    ) -> None:
        self.count = 0
        self._open_stream = open_stream
        self._detector = ShotDetector()
        self._on_repeat = on_repeat
        self._repeats = RepeatDetector() if on_repeat else None
        self._stream: Stream | None = None
        self._next_starts_shot = False  # a cut before the next frame has been detected
        self._pending: deque[_PendingFrame] = deque()  # result not returned yet
        self._last_result: np.ndarray | None = None  # of the newest frame, which the next may repeat
        self._input_count, self._last_frame = 0, None  # frames pushed, and the last of them
        self._resume_point: ResumePoint | None = None
        if state is not None:
            self._restore(state)

    @property
    def last_input(self) -> ResumePoint | None:
        """The last frame pushed, where decoding resumes; None before the first."""
        if self._last_frame is None:
            return self._resume_point
        return ResumePoint.of(self._last_frame, self._input_count)

    @property
    def at_shot_boundary(self) -> bool:
        """Whether a shot has ended and the next has not begun."""
        return self._stream is None

    def upscale(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield one frame for each that is read, in order, with its timestamp and sample type."""
        for group in self.upscale_grouped(frames):
            yield from group

    def upscale_grouped(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Yield the same frames in groups, which may be empty; after each group ``state`` can be saved."""
        while self._stream and (result := self._stream.take_overdue()) is not None:
            raise_if_cancelled()
            yield self._to_frames([result])
        for frame in frames:
            raise_if_cancelled()
            pixels = frame.fill_transparent()
            self._next_starts_shot = self._next_starts_shot or self._detector.is_cut(pixels)
            if self._next_starts_shot and self._stream:
                yield self._end_shot()
            if self._stream is None:
                self._stream, self.count = self._open_stream(), self.count + 1
            is_repeat = self._repeats is not None and self._repeats.is_repeat(pixels)
            result = None if is_repeat else self._stream.push(to_float(pixels))
            self._pending.append(_PendingFrame(replace(frame, pixels=pixels[:0].copy()), is_repeat))
            self._next_starts_shot, self._input_count, self._last_frame = False, self._input_count + 1, frame
            if is_repeat and self._on_repeat:
                self._on_repeat()
            yield self._to_frames([] if result is None else [result])
        if self._stream:
            yield self._end_shot()

    def state(self) -> State:
        """Return the state to resume from, in another process. Call between groups of frames."""
        state = {
            "shots": np.array([self.count, self._next_starts_shot, self._stream is not None], np.int64),
            "pending_pts": np.array([each.frame.pts for each in self._pending], np.int64),
        }
        if self.last_input is not None:
            state["last_input"] = _to_array(self.last_input)
        if self._pending:
            first = self._pending[0].frame
            state["time_base"] = np.array(first.time_base.as_integer_ratio(), np.int64)
            state["pixels"] = first.pixels  # no rows; for their width and sample type
            if first.alpha is not None:
                alphas = [each.frame.alpha for each in self._pending]
                state["pending_alpha"] = np.stack([alpha for alpha in alphas if alpha is not None])
        if self._repeats is not None and self._stream is not None:
            state[_PENDING_REPEATS] = np.array([each.is_repeat for each in self._pending], bool)
            state |= {_REPEATS_PREFIX + name: array for name, array in self._repeats.state().items()}
            if self._last_result is not None:
                state[_LAST_RESULT] = self._last_result.copy()
        state |= {_DETECTOR_PREFIX + name: array for name, array in self._detector.state().items()}
        stream_state = self._stream.state() if self._stream else {}
        return state | {_STREAM_PREFIX + name: array for name, array in stream_state.items()}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.count, next_starts_shot, in_shot = (int(number) for number in state["shots"])
        self._next_starts_shot = bool(next_starts_shot)
        self._resume_point = resume_point_of(state)
        self._input_count = self._resume_point.frame_count if self._resume_point else 0
        repeats = state.get(_PENDING_REPEATS)
        for number, pts in enumerate(state["pending_pts"].tolist()):
            is_repeat = repeats is not None and bool(repeats[number])
            alpha = state["pending_alpha"][number] if "pending_alpha" in state else None
            time_base = Fraction(*(int(term) for term in state["time_base"]))
            self._pending.append(_PendingFrame(Frame(state["pixels"], pts, time_base, alpha), is_repeat))
        if self._repeats is not None:
            self._repeats.restore(_strip_prefix(state, _REPEATS_PREFIX))
            self._last_result = state.get(_LAST_RESULT)
        self._detector.restore(_strip_prefix(state, _DETECTOR_PREFIX))
        if in_shot:
            self._stream = self._open_stream()
            self._stream.restore(_strip_prefix(state, _STREAM_PREFIX))

    def _end_shot(self) -> list[Frame]:
        """Flush the stream of the shot and close it."""
        assert self._stream is not None
        results, self._stream = self._to_frames(self._stream.flush()), None
        self._last_result = None
        if self._repeats is not None:
            self._repeats.reset()
        return results

    def _to_frames(self, results: Iterable[np.ndarray]) -> list[Frame]:
        """Return the frames of the next results, and of what repeats the last of them."""
        frames = []
        for result in results:
            pending = self._pending.popleft()
            self._last_result = to_integer(result, pending.frame.pixels.dtype)
            frames.append(_with_pixels(pending.frame, self._last_result))
            frames += self._repeated_frames()
        frames += self._repeated_frames()
        if self._pending or self._repeats is None:
            self._last_result = None  # hold a result only where it may be repeated: it is large
        return frames

    def _repeated_frames(self) -> Iterator[Frame]:
        """Take the pending frames that repeat the last result."""
        while self._pending and self._pending[0].is_repeat and self._last_result is not None:
            yield _with_pixels(self._pending.popleft().frame, self._last_result)


@dataclass(frozen=True, eq=False)
class _PendingFrame:
    """A frame whose result has not been returned yet.

    Attributes:
        frame: without its pixels' rows.
        is_repeat: it has been left out, and shows the result of the one before.
    """

    frame: Frame
    is_repeat: bool


def _with_pixels(frame: Frame, pixels: np.ndarray) -> Frame:
    """Return a result: ``pixels``, with the alpha of the frame in their size."""
    alpha = None if frame.alpha is None else resize_alpha(frame.alpha, *pixels.shape[:2])
    return replace(frame, pixels=pixels, alpha=alpha)


def resume_point_of(state: Mapping[str, np.ndarray] | None) -> ResumePoint | None:
    """Return where decoding resumes with a state; None: at the start."""
    if state is None or "last_input" not in state:
        return None
    return ResumePoint(*(int(number) for number in state["last_input"]))


def state_before_shot(
    count: int, next_starts_shot: bool, last_input: ResumePoint, detector: Mapping[str, np.ndarray]
) -> State:
    """Return the state of a :class:`ShotUpscaler` without a stream: it opens one with the next frame.

    Args:
        count: shots begun.
        next_starts_shot: whether a cut before the next frame has been detected.
        last_input: the frame before.
        detector: state of the shot detector.
    """
    return {
        "shots": np.array([count, next_starts_shot, False], np.int64),
        "pending_pts": np.array([], np.int64),
        "last_input": _to_array(last_input),
        **{_DETECTOR_PREFIX + name: array for name, array in detector.items()},
    }


def _to_array(point: ResumePoint) -> np.ndarray:
    return np.array([point.frame_count, point.pts, point.crc32], np.int64)


def _strip_prefix(state: Mapping[str, np.ndarray], prefix: str) -> State:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
