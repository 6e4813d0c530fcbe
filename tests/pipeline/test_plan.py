"""The plan: pieces partition the video, whoever asks."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from vsrcli.pipeline.plan import Piece, PlanRules, plan_pieces

RULES = PlanRules(Fraction(2), Fraction(5), warmup_frames=3)
FRAMES = st.lists(
    st.tuples(st.fractions(Fraction(1, 60), Fraction(3), max_denominator=60), st.booleans()), max_size=200
)


def timed(frames: list[tuple[Fraction, bool]]) -> list[tuple[Fraction, bool]]:
    """Return times from durations; the first frame begins a shot."""
    time, result = Fraction(0), []
    for number, (seconds, starts) in enumerate(frames):
        result.append((time, starts or number == 0))
        time += seconds
    return result


@given(FRAMES)
def test_pieces_partition_the_video(drawn: list[tuple[Fraction, bool]]) -> None:
    frames = timed(drawn)
    pieces = list(plan_pieces(frames, RULES))
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    ends = [piece.end_frame for piece in pieces]
    assert [0, *ends] == [*(piece.first_frame for piece in pieces), len(frames)]
    for piece in pieces:
        assert piece.frame_count > 0
        starts_shot = frames[piece.first_frame][1]
        assert starts_shot == (piece.warmup_frames == 0)
        shot = max(i for i in range(piece.first_frame + 1) if frames[i][1])
        assert piece.warmup_frames == min(RULES.warmup_frames, piece.first_frame - shot)


@given(FRAMES, st.integers(0, 200))
def test_the_rest_of_the_video_does_not_change_earlier_pieces(
    drawn: list[tuple[Fraction, bool]], count: int
) -> None:
    frames = timed(drawn)
    part = list(plan_pieces(frames[:count], RULES))[:-1]
    assert list(plan_pieces(frames, RULES))[: len(part)] == part


def test_a_piece_ends_at_the_first_shot_after_the_shortest_time_and_inside_one_after_the_longest() -> None:
    starts = {0, 24, 60, 70}  # of shots; ten frames a second
    frames = [(Fraction(i, 10), i in starts) for i in range(180)]
    assert list(plan_pieces(frames, RULES)) == [
        Piece(0, 0, 24),
        Piece(1, 24, 60),
        Piece(2, 60, 110),  # 70 comes too early; 110 is inside its shot
        Piece(3, 110, 160, warmup_frames=3),
        Piece(4, 160, 180, warmup_frames=3),
    ]


def test_a_warm_up_does_not_cross_the_shot_it_is_in() -> None:
    rules = PlanRules(Fraction(10), Fraction(5), warmup_frames=16)
    frames = [(Fraction(i, 10), i in (0, 45)) for i in range(60)]
    assert list(plan_pieces(frames, rules)) == [Piece(0, 0, 50), Piece(1, 50, 60, warmup_frames=5)]


def test_no_frames_no_pieces() -> None:
    assert list(plan_pieces([])) == []
