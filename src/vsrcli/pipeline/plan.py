"""The plan: into which pieces a video is cut. A pure function of the source's shots and times.

A video is a function of its source, its options and this plan; machines only carry the plan out. So the plan
does not know how many there are: the same pieces are computed by one process or by a hundred.

A piece ends at the first shot change after :attr:`PlanRules.min_seconds`. A shot begins without memory of the
one before, so frames of such pieces are those of a run in one go, bit for bit. Inside a shot, a piece ends
after :attr:`PlanRules.max_seconds`, and the next one *warms up*: it upscales the frames before its first one,
too, and throws them away. For networks with a window of frames that is exact. A recurrent network forgets
where it started: after 40 frames results differ by a code at most (74 dB); by two where every frame is shown
twice, so that 20 are computed (65 dB), and by three where each is shown three times (60 dB).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class PlanRules:
    """Where pieces may end.

    Attributes:
        min_seconds: of video, after which a shot change ends a piece.
        max_seconds: of video, after which a piece ends inside a shot.
        warmup_frames: frames that a piece inside a shot upscales before its first one: the frames that the
            network looks back, or 40 with a recurrent state.
    """

    min_seconds: Fraction = Fraction(10)
    max_seconds: Fraction = Fraction(60)
    warmup_frames: int = 40


@dataclass(frozen=True)
class Piece:
    """Consecutive frames that are upscaled and encoded by themselves.

    Attributes:
        number: place among the pieces, from 0.
        first_frame, end_frame: half-open range, counted from the first frame that is upscaled.
        warmup_frames: frames before ``first_frame`` to upscale and throw away; 0 where a shot begins.
    """

    number: int
    first_frame: int
    end_frame: int
    warmup_frames: int = 0

    @property
    def frame_count(self) -> int:
        """Frames in the result."""
        return self.end_frame - self.first_frame

    @property
    def work(self) -> int:
        """Frames to upscale."""
        return self.frame_count + self.warmup_frames


class Planner:
    """Makes the plan while frames are still being looked at: each piece is known at its end.

    Args:
        rules: where pieces may end.
        number, first_frame, warmup_frames: of the piece that begins with the next frame.

    Attributes:
        number, first_frame, warmup_frames: of the piece that has begun, see :class:`Piece`.
    """

    def __init__(
        self,
        rules: PlanRules | None = None,
        *,
        number: int = 0,
        first_frame: int = 0,
        warmup_frames: int = 0,
    ) -> None:
        self._rules = rules or PlanRules()
        self.number, self.first_frame, self.warmup_frames = number, first_frame, warmup_frames
        self._next_frame, self._shot_start = first_frame, first_frame - warmup_frames
        self._start_time: Fraction | None = None

    def push(self, time: Fraction, *, starts_shot: bool) -> Piece | None:
        """Look at the next frame.

        Args:
            time: of its presentation, in seconds; never less than that of the frame before.
            starts_shot: whether a shot begins with it.

        Returns:
            The piece that ends *before* this frame, if one does.
        """
        piece = None
        if self._start_time is None:
            self._start_time = time
        else:
            limit = self._rules.min_seconds if starts_shot else self._rules.max_seconds
            if time - self._start_time >= limit:
                piece, self._start_time = self._end_piece(), time
        if starts_shot:
            self._shot_start = self._next_frame
        if piece is not None:
            in_shot = self._next_frame - self._shot_start
            self.warmup_frames = min(self._rules.warmup_frames, in_shot)
        self._next_frame += 1
        return piece

    def flush(self) -> Piece | None:
        """Return the last piece, after the last frame; None if there was no frame."""
        return self._end_piece() if self._next_frame > self.first_frame else None

    def _end_piece(self) -> Piece:
        piece = Piece(self.number, self.first_frame, self._next_frame, self.warmup_frames)
        self.number, self.first_frame = self.number + 1, self._next_frame
        return piece


def plan_pieces(frames: Iterable[tuple[Fraction, bool]], rules: PlanRules | None = None) -> Iterator[Piece]:
    """Yield the pieces of a video.

    Args:
        frames: of each frame its time in seconds, and whether a shot begins with it.
        rules: where pieces may end.
    """
    planner = Planner(rules)
    for time, starts_shot in frames:
        if (piece := planner.push(time, starts_shot=starts_shot)) is not None:
            yield piece
    if (piece := planner.flush()) is not None:
        yield piece
