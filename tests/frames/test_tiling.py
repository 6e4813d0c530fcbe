"""Tiles: no seams at any size, for networks with and without lookahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.state import State, stack_frames
from vsrcli.frames.tiling import TilePlan, min_tile_side, plan_tiles
from vsrcli.inference.functions import NetworkShapes, plan_bands
from vsrcli.inference.streams import CompiledNetwork, WindowStream
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.wrappers import ResizingStream

sizes = st.integers(1, 80)


class NearestStream(WindowStream):
    """Nearest neighbour, by way of 2*lookahead+1-frame windows."""

    def __init__(self, scale: int, lookahead: int = 0) -> None:
        shapes = NetworkShapes("window", scale, lookahead)
        backend: Any = SimpleNamespace(shapes=shapes, read_result=lambda result: result)
        functions = {"upscale": lambda windows: self.answer(windows[0])[None]}
        super().__init__(CompiledNetwork(backend, 1, 1, plan_bands(1, 1), functions))
        self.scale, self.lookahead = scale, lookahead

    def answer(self, window: Sequence[np.ndarray]) -> np.ndarray:
        return window[self.lookahead].repeat(self.scale, 0).repeat(self.scale, 1)

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, 1, 1)} if self.lookahead else {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for frame in state.get("frames", ()):
            self.push(frame)


class BoxBlurStream(NearestStream):
    """A network with a receptive field: mean of (2r+1)^2 pixels, zeros outside, then nearest neighbour."""

    def __init__(self, scale: int, radius: int) -> None:
        super().__init__(scale)
        self.radius = radius

    def answer(self, window: Sequence[np.ndarray]) -> np.ndarray:
        r, n = self.radius, 2 * self.radius + 1
        padded = np.pad(window[0], ((r, r), (r, r), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (n, n), axis=(0, 1))
        return super().answer((views.mean(axis=(-2, -1), dtype=np.float64).astype(np.float32),))


def noise_frames(height: int, width: int, count: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(height * 100 + width)
    return [rng.random((height, width, 3), np.float32) for _ in range(count)]


def run_stream(stream: TiledStream | NearestStream, frames: list[np.ndarray]) -> list[np.ndarray]:
    answers = [stream.push(frame) for frame in frames]
    return [a for a in answers if a is not None] + stream.flush()


def check_plan(plan: TilePlan) -> None:
    """Both axes are covered without gap, and bands neither meet nor leave their tiles."""
    for size, tile, spans in (
        (plan.height, plan.tile_height, plan.rows),
        (plan.width, plan.tile_width, plan.columns),
    ):
        assert spans[0].valid_start == 0
        assert spans[-1].valid_stop == size
        for span in spans:
            assert (
                0
                <= span.start
                <= span.valid_start
                <= span.valid_start + span.blend
                <= span.valid_stop
                <= span.start + tile
                <= size
            )
        for left, right in pairwise(spans):
            assert right.valid_start + right.blend == left.valid_stop
            assert left.valid_start + left.blend <= right.valid_start


@given(
    height=sizes, width=sizes, extra=st.integers(0, 40), overlap=st.integers(0, 9), feather=st.integers(0, 6)
)
def test_any_plan_is_sound(height: int, width: int, extra: int, overlap: int, feather: int) -> None:
    plan = plan_tiles(height, width, min_tile_side(overlap, feather) + extra, overlap, feather)
    check_plan(plan)
    for size, tile, spans in (
        (height, plan.tile_height, plan.rows),
        (width, plan.tile_width, plan.columns),
    ):
        for span in spans:  # context on every inner side, full frame border
            assert span.start == 0 or span.valid_start - span.start >= overlap
            assert span.start + tile == size or span.start + tile - span.valid_stop >= overlap


@pytest.mark.parametrize(("height", "width"), [(4096, 16), (8, 8), (1080, 1920), (135, 241), (16, 4096)])
def test_odd_frames(height: int, width: int) -> None:
    plan = plan_tiles(height, width, 64, 8)
    check_plan(plan)
    assert plan.tile_height <= min(64, height)
    assert plan.tile_width <= min(64, width)
    assert plan.overhead_factor >= 1


def test_tiles_shrink_to_what_their_number_needs() -> None:
    plan = plan_tiles(270, 480, 128, 8)
    assert (len(plan.rows), len(plan.columns)) == (3, 5)
    assert (plan.tile_height, plan.tile_width) == (104, 112)  # 3*(104-20)+20 >= 270, 5*(112-20)+20 = 480
    assert plan.overhead_factor == pytest.approx(15 * 104 * 112 / (270 * 480))


@given(
    height=sizes,
    width=sizes,
    extra=st.integers(0, 40),
    overlap=st.integers(0, 4),
    feather=st.integers(0, 4),
    scale=st.integers(2, 4),
    lookahead=st.integers(0, 3),
    count=st.integers(1, 5),
)
@example(height=80, width=80, extra=0, overlap=0, feather=0, scale=2, lookahead=3, count=2)
@settings(max_examples=60, deadline=None)
def test_repeating_pixels_through_tiles_and_windows_is_exact(
    height: int, width: int, extra: int, overlap: int, feather: int, scale: int, lookahead: int, count: int
) -> None:
    plan = plan_tiles(height, width, min_tile_side(overlap, feather) + extra, overlap, feather)
    assume(len(plan) <= 400)
    frames = noise_frames(height, width, count)
    results = run_stream(TiledStream(lambda h, w: NearestStream(scale, lookahead), plan, scale), frames)
    assert len(results) == count
    for result, frame in zip(results, frames, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, frame.repeat(scale, 0).repeat(scale, 1))


@given(
    height=sizes,
    width=sizes,
    extra=st.integers(0, 30),
    radius=st.integers(0, 3),
    more=st.integers(0, 2),
    scale=st.integers(2, 4),
)
@settings(max_examples=60, deadline=None)
def test_context_of_the_receptive_field_gives_the_untiled_result(
    height: int, width: int, extra: int, radius: int, more: int, scale: int
) -> None:
    overlap = radius + more
    plan = plan_tiles(height, width, min_tile_side(overlap) + extra, overlap)
    frames = noise_frames(height, width)
    untiled = run_stream(BoxBlurStream(scale, radius), frames)
    tiled = run_stream(TiledStream(lambda h, w: BoxBlurStream(scale, radius), plan, scale), frames)
    np.testing.assert_allclose(tiled[0], untiled[0], atol=1e-6)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    extra=st.integers(0, 12),
    lookahead=st.integers(0, 3),
    count=st.integers(0, 9),
    position=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_a_state_can_be_restored_at_any_position(
    height: int, width: int, extra: int, lookahead: int, count: int, position: int
) -> None:
    plan = plan_tiles(height, width, min_tile_side(1, 1) + extra, 1, 1)
    frames, position = noise_frames(height, width, count), min(position, count)

    def open_stream() -> ResizingStream:
        tiled = TiledStream(lambda h, w: NearestStream(2, lookahead), plan, 2)
        return ResizingStream(tiled, 2 * height, 2 * width)

    one, other = open_stream(), open_stream()
    first_results = [one.push(frame) for frame in frames[:position]]
    state = one.state()
    assert len(state) == 1 + len(plan) * (lookahead > 0)
    other.restore(state)
    results = [result for result in first_results if result is not None]
    for frame in frames[position:]:
        result = other.push(frame)
        results += [] if result is None else [result]
    results += other.flush()
    assert len(results) == count
    for result, frame in zip(results, frames, strict=True):
        np.testing.assert_array_equal(result, frame.repeat(2, 0).repeat(2, 1))


def test_the_state_of_other_tiles_is_refused() -> None:
    def open_stream(width: int, tile: int, overlap: int) -> TiledStream:
        return TiledStream(lambda h, w: NearestStream(2, 1), plan_tiles(20, width, tile, overlap), 2)

    state = open_stream(60, 30, 2).state()
    assert list(state) == ["tile_origins", "tile0.frames", "tile1.frames", "tile2.frames"]
    np.testing.assert_array_equal(state["tile_origins"], [[0, 0], [0, 18], [0, 34]])
    with pytest.raises(EngineError, match=r"'tile2\.frames', which is unknown here"):
        open_stream(60, 40, 2).restore(state)
    with pytest.raises(EngineError, match="its tiles lie elsewhere in the frame"):
        open_stream(62, 30, 2).restore(state)
    with pytest.raises(EngineError, match="it has no 'tile_origins'"):
        open_stream(60, 30, 2).restore({})


def test_too_little_context_is_feathered() -> None:
    """Zero padding darkens tile edges; a feathered seam has no step larger than a share of that."""
    hard, soft = plan_tiles(24, 96, 48, 1, feather=0), plan_tiles(24, 96, 48, 1, feather=6)
    flat = [np.full((24, 96, 3), 0.8, np.float32)]
    steps = []
    for plan in (hard, soft):
        (result,) = run_stream(TiledStream(lambda h, w: BoxBlurStream(2, 4), plan, 2), flat)
        steps.append(np.abs(np.diff(result[24, 20:-20, 0])).max())
    assert steps[0] > 0.05
    assert steps[1] < steps[0] / 1.5


def test_a_single_tile_passes_frames_through() -> None:
    for tile in (None, 40, 1000):
        received: list[np.ndarray] = []

        class RecordingStream(NearestStream):
            def push(self, frame: np.ndarray, received: list[np.ndarray] = received) -> np.ndarray | None:
                received.append(frame)
                return super().push(frame)

        stream = TiledStream(
            lambda h, w, recording=RecordingStream: recording(2), plan_tiles(30, 40, tile, 8), 2
        )
        (frame,) = noise_frames(30, 40)
        stream.push(frame)
        assert received[0] is frame


def test_all_tiles_are_opened_with_one_shape() -> None:
    shapes: deque[tuple[int, int]] = deque()

    def open_stream(height: int, width: int) -> NearestStream:
        shapes.append((height, width))
        return NearestStream(2)

    plan = plan_tiles(37, 150, 50, 8)
    TiledStream(open_stream, plan, 2)
    assert len(shapes) == len(plan) > 1
    assert set(shapes) == {(37, plan.tile_width)}


def test_bad_combinations_name_the_remedy() -> None:
    with pytest.raises(
        UsageError, match=r"tile of 20 pixels .* tile of 24 or more or an overlap of 6 or less"
    ):
        plan_tiles(100, 100, 20, 8)
    with pytest.raises(UsageError, match=r"use a tile of 24 or more$"):
        plan_tiles(100, 100, 5, 8)
    with pytest.raises(UsageError, match="at least 1"):
        plan_tiles(100, 100, 0, 8)
    with pytest.raises(UsageError, match="overlap -1"):
        plan_tiles(100, 100, 64, -1)
    with pytest.raises(ValueError, match="empty frame"):
        plan_tiles(0, 10, None, 8)
    assert len(plan_tiles(20, 20, 20, 8)) == 1  # a single tile needs no context


def test_broken_streams_are_named() -> None:
    plan = plan_tiles(20, 60, 30, 2)
    lookaheads = iter([0, 1, 1, 1])
    stream = TiledStream(lambda h, w: NearestStream(2, next(lookaheads)), plan, 2)
    with pytest.raises(EngineError, match="tile 1 answers earlier or later"):
        stream.push(noise_frames(20, 60)[0])
    with pytest.raises(EngineError, match="26x20 came back as"):
        TiledStream(lambda h, w: NearestStream(3), plan, 2).push(noise_frames(20, 60)[0])
    lookaheads = iter([2, 3, 3, 3])
    stream = TiledStream(lambda h, w: NearestStream(2, next(lookaheads)), plan, 2)
    for frame in noise_frames(20, 60, 2):
        stream.push(frame)
    stream._streams[1].push(noise_frames(20, 26)[0])
    with pytest.raises(EngineError, match="tile 1 owes 3 frames, tile 0 2"):
        stream.flush()
    with pytest.raises(ValueError, match="planned for frames of 60x20"):
        TiledStream(lambda h, w: NearestStream(2), plan, 2).push(noise_frames(21, 60)[0])
