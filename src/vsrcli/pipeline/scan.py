"""The scan: find the pieces of a video, and the exact state that each begins with, without a network.

Shots are found in order, since the detector remembers what it has seen; but that takes a small part of the
time that a network takes. So the scan runs ahead of those who compute the pieces. A piece's *start* is a
state of :class:`~vsrcli.pipeline.shot_upscaler.ShotUpscaler` between two shots, or inside one before the
frames of its warm-up: whoever restores it sees the same shots as the run in one go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from vsrcli.frames.shots import ShotDetector
from vsrcli.frames.state import State
from vsrcli.media.resumable_decoder import ResumePoint
from vsrcli.media.types import Frame
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.plan import Piece, Planner, PlanRules
from vsrcli.pipeline.shot_upscaler import resume_point_of, state_before_shot
from vsrcli.system.signals import raise_if_cancelled
from vsrcli.system.threads import Prefetcher

_PIECES_AHEAD = 4  # that wait for those who compute them


@dataclass(frozen=True, eq=False)
class PieceStart:
    """Where a piece begins.

    Attributes:
        number, first_frame, warmup_frames: of the piece.
        shot_count: shots begun before its first frame, or before its warm-up.
        state: of a ``ShotUpscaler``; None if the piece, or its warm-up, begins with the first frame.
    """

    number: int = 0
    first_frame: int = 0
    warmup_frames: int = 0
    shot_count: int = 0
    state: State | None = None


@dataclass(frozen=True, eq=False)
class FoundPiece:
    """A piece that has been found.

    Attributes:
        piece: itself.
        start: where it begins.
        following: where the next one begins; None: it is the last.
    """

    piece: Piece
    start: PieceStart
    following: PieceStart | None


@dataclass(frozen=True, eq=False)
class _Moment:
    """What is known before a frame: whether it starts a shot, shots begun, and the state of the detector."""

    starts_shot: bool
    shot_count: int
    last_input: ResumePoint | None
    detector: State


class Scanner:
    """Yields the pieces of a job, in order; a context manager. A thread looks a few pieces ahead.

    Args:
        job: its source is decoded.
        rules: of the plan.
        start: where to begin; the default: with the first frame.

    Attributes:
        warnings: of the decoder; complete at the end.
        shot_count: shots begun; complete at the end.

    Raises (while iterating):
        DecodeError: see ``Decoder``.
    """

    def __init__(self, job: Job, rules: PlanRules, start: PieceStart | None = None) -> None:
        self._rules, self._start = rules, start or PieceStart()
        self.warnings: tuple[str, ...] = ()
        self.shot_count = self._start.shot_count
        self._job, self._closed = job, False
        self._prefetcher = Prefetcher(self.scan(), _PIECES_AHEAD, self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._prefetcher.close()

    def __iter__(self) -> Iterator[FoundPiece]:
        return iter(self._prefetcher)

    def stop(self) -> None:
        """End the scan at the next frame. May be called in any thread."""
        self._closed = True

    def scan(self) -> Generator[FoundPiece]:
        """Yield the pieces in the calling thread, instead of iterating over the scanner."""
        start, rules = self._start, self._rules
        planner = Planner(
            rules,
            number=start.number,
            first_frame=start.first_frame,
            warmup_frames=start.warmup_frames,
        )
        detector, moments = ShotDetector(), deque[_Moment](maxlen=rules.warmup_frames + 1)
        next_starts_shot = detector_from(start.state, detector)
        number = start.first_frame - start.warmup_frames
        last: Frame | None = None
        with self._job.open_decoder(resume_point_of(start.state)) as frames:
            for frame in frames:
                raise_if_cancelled()
                if self._closed:
                    return
                pixels = frame.fill_transparent()
                before = detector.state()
                starts_shot = next_starts_shot or detector.is_cut(pixels)
                is_first = number == 0
                point = resume_point_of(start.state) if last is None else ResumePoint.of(last, number)
                state = detector.state() if starts_shot else before
                moments.append(_Moment(starts_shot, self.shot_count, point, state))
                self.shot_count += starts_shot or is_first
                if number >= start.first_frame:  # not of the warm-up, which an earlier piece has seen
                    time = frame.pts * frame.time_base
                    if (piece := planner.push(time, starts_shot=starts_shot or is_first)) is not None:
                        following = _start_of(planner, moments)
                        yield FoundPiece(piece, start, following)
                        start = following
                number, last, next_starts_shot = number + 1, frame, False
            self.warnings = frames.warnings
        if (piece := planner.flush()) is not None:
            yield FoundPiece(piece, start, None)


def detector_from(state: State | None, detector: ShotDetector) -> bool:
    """Restore a detector from a ``ShotUpscaler``'s state; return whether the next frame starts a shot."""
    if state is None:
        return False
    prefix = "detector."
    detector.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return bool(state["shots"][1])


def _start_of(planner: Planner, moments: deque[_Moment]) -> PieceStart:
    """Return the start of the piece that has just begun, with the last moment's frame as its first."""
    moment, state = moments[-1 - planner.warmup_frames], None
    if moment.last_input is not None:
        # A stream that begins inside a shot counts as one of its own until it is counted here.
        count = moment.shot_count if moment.starts_shot else moment.shot_count - 1
        state = _copied(state_before_shot(count, moment.starts_shot, moment.last_input, moment.detector))
    return PieceStart(planner.number, planner.first_frame, planner.warmup_frames, moment.shot_count, state)


def _copied(state: State) -> State:
    return {name: np.array(array) for name, array in state.items()}
