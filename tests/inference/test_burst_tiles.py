"""Tiles one at a time, a burst of frames each: the same results, bit for bit, some frames later."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_networks import noise_frames, run_stream, tiny_cached, tiny_recurrent

from vsrcli.errors import EngineError, OutputError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.array_spool import ArraySpool
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, RecurrentStream, compile_network
from vsrcli.inference.tiled import BurstTiledStream, TiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import ResizingStream, StaticFrameStream

HEIGHT, WIDTH, COUNT = 10, 24, 11
PLAN = plan_tiles(HEIGHT, WIDTH, 14, 2, feather=2)
FRAMES = noise_frames(COUNT, HEIGHT, WIDTH)

OpenStream = Callable[[int, int], Stream]


def stream_factories() -> dict[str, tuple[OpenStream, int]]:
    """Return a function that opens a tile of each kind, and its lookahead; networks are compiled once."""
    size = PLAN.tile_height, PLAN.tile_width
    compiled = {
        "cached": (compile_network(KerasBackend(tiny_cached(2)), *size), CachedStream, 3),
        "recurrent": (compile_network(KerasBackend(tiny_recurrent(2)), *size), RecurrentStream, 2),
    }
    kinds: dict[str, tuple[OpenStream, int]] = {
        kind: (lambda height, width, network=network, stream=stream: stream(network), lookahead)
        for kind, (network, stream, lookahead) in compiled.items()
    }
    return {**kinds, "bicubic": (ResampleEngine("bicubic", 2).open, 0)}


KINDS = stream_factories()


def open_burst(kind: str, burst: int) -> BurstTiledStream:
    open_tile, lookahead = KINDS[kind]
    return BurstTiledStream(open_tile, replace(PLAN, burst=burst), 2, lookahead)


@pytest.fixture(scope="module")
def expected() -> dict[str, list[np.ndarray]]:
    return {
        kind: run_stream(TiledStream(open_tile, PLAN, 2), FRAMES) for kind, (open_tile, _) in KINDS.items()
    }


@pytest.mark.parametrize("burst", [1, 2, 4, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_results_equal_those_of_tiles_side_by_side(
    kind: str, burst: int, expected: dict[str, list[np.ndarray]]
) -> None:
    stream, actual = open_burst(kind, burst), []
    lookahead = KINDS[kind][1] + burst - 1
    for number, frame in enumerate(FRAMES, start=1):
        result = stream.push(frame)
        assert (result is not None) == (number > lookahead)
        actual += [] if result is None else [result]
    actual += stream.flush()
    np.testing.assert_array_equal(np.stack(actual), np.stack(expected[kind]))


@pytest.mark.parametrize("count", range(5))
def test_short_shots(count: int) -> None:
    open_tile, _ = KINDS["cached"]
    actual = run_stream(open_burst("cached", 3), FRAMES[:count])
    expected = run_stream(TiledStream(open_tile, PLAN, 2), FRAMES[:count])
    assert len(actual) == len(expected) == count
    for result, reference in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(result, reference)


def save_and_load(stream: Stream) -> Iterator[tuple[str, np.ndarray]]:
    """Save a state to a file and load it."""
    file = io.BytesIO()
    np.savez(file, **stream.state())  # type: ignore[arg-type]
    file.seek(0)
    return iter(np.load(file, allow_pickle=False).items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_position(kind: str, expected: dict[str, list[np.ndarray]]) -> None:
    stream, returned_count = open_burst(kind, 3), 0
    for position in range(COUNT + 1):
        state = dict(save_and_load(stream))
        other = open_burst(kind, 3)
        other.restore(state)
        restored_state = other.state()
        assert set(restored_state) == set(state)
        for name in state:
            assert restored_state[name].dtype == state[name].dtype
            np.testing.assert_array_equal(restored_state[name], state[name])
        remaining = run_stream(other, FRAMES[position:])
        assert len(remaining) == COUNT - returned_count
        for result, reference in zip(remaining, expected[kind][returned_count:], strict=True):
            np.testing.assert_array_equal(result, reference)
        if position < COUNT:
            returned_count += stream.push(FRAMES[position]) is not None


def test_a_fork_is_independent(expected: dict[str, list[np.ndarray]]) -> None:
    stream, results = open_burst("recurrent", 3), []
    for frame in FRAMES:
        other = stream.fork()
        for _ in range(4):
            other.push(1 - frame)
        other.flush()
        results.append(stream.push(frame))
    actual = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(actual), np.stack(expected["recurrent"]))


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_from_tiles_side_by_side(kind: str, expected: dict[str, list[np.ndarray]]) -> None:
    """As for a video begun with more memory."""
    open_tile, _ = KINDS[kind]
    side_by_side, actual = TiledStream(open_tile, PLAN, 2), []
    for frame in FRAMES[:6]:
        result = side_by_side.push(frame)
        actual += [] if result is None else [result]
    stream = open_burst(kind, 4)
    stream.restore(side_by_side.state())
    actual += run_stream(stream, FRAMES[6:])
    np.testing.assert_array_equal(np.stack(actual), np.stack(expected[kind]))


@pytest.mark.parametrize("position", range(COUNT + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_resuming_with_shorter_bursts_leaves_no_backlog(
    kind: str, position: int, expected: dict[str, list[np.ndarray]]
) -> None:
    """As with a smaller --max-memory: what longer bursts hold is handed out, before the first frame."""
    lookahead, first = KINDS[kind][1], open_burst(kind, 8)
    actual = [result for frame in FRAMES[:position] if (result := first.push(frame)) is not None]
    bursts: list[int] = []

    class Recording(BurstTiledStream):
        def _run_burst(self, frames: Sequence[np.ndarray], is_last: bool = False) -> None:
            bursts.append(len(frames))
            super()._run_burst(frames, is_last)

    stream = Recording(KINDS[kind][0], replace(PLAN, burst=2), 2, lookahead)
    stream.restore(first.state())
    wrapped = ResizingStream(StaticFrameStream(stream, lookahead + 1), 2 * HEIGHT, 2 * WIDTH)
    while (result := wrapped.take_overdue()) is not None:
        actual.append(result)
    assert max(bursts, default=0) <= 2
    assert position - len(actual) <= lookahead + 1
    assert len(stream.state()["pending_results"]) <= lookahead + 1
    actual += run_stream(wrapped, FRAMES[position:])
    np.testing.assert_array_equal(np.stack(actual), np.stack(expected[kind]))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a traceback when the file is closed."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: Path("/dev/full").open("r+b"))  # noqa: SIM115
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    spool = ArraySpool(tmp_path)
    with pytest.raises(OutputError, match=r"cannot be written to .*No space left.*free some space"):
        spool.add({"state": np.zeros(9)})
    del spool
    gc.collect()
    assert ignored == []


def test_a_state_of_other_tiles_is_refused() -> None:
    stream = open_burst("cached", 2)
    state = stream.state()
    for change in (
        {"tile_origins": state["tile_origins"] + 1},
        {"results_due": np.zeros(2, np.int64)},
        {"more": np.zeros(1)},
        {"results_due": np.array(3)},  # of tiles that it does not have
    ):
        with pytest.raises(EngineError, match="another stream's"):
            open_burst("cached", 2).restore({**state, **change})


def test_between_bursts_frames_are_held_but_not_features() -> None:
    """A window's state is its frames, which all tiles share without a copy."""
    stream = open_burst("cached", 4)
    for frame in FRAMES[:8]:
        stream.push(frame)
    tiles = [stream._tile_states[number] for number in range(len(PLAN))]
    assert all(isinstance(value, int) for tile in tiles for value in tile.values())
    assert all(any(own is frame for frame in FRAMES) or own.base is FRAMES for own in stream._recent)
