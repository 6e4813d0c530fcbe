"""Tiles one after another, a burst of frames each: the same pictures, bit for bit, a little later."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from networks import answers, film, tiny_cached, tiny_recurrent

from vsrcli.errors import EngineError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, RecurrentStream, compile_cached, compile_recurrent
from vsrcli.inference.tiled import BurstTiledStream, TiledStream
from vsrcli.inference.types import Stream

HEIGHT, WIDTH, COUNT = 10, 24, 11
PLAN = plan_tiles(HEIGHT, WIDTH, 14, 2, feather=2)
FRAMES = film(COUNT, HEIGHT, WIDTH)

Opener = Callable[[int, int], Stream]


def openers() -> dict[str, tuple[Opener, int]]:
    """A way to open each kind's tile, and how late it answers; networks are compiled once for each size."""
    size = PLAN.tile_height, PLAN.tile_width
    compiled = {
        "cached": (compile_cached(KerasBackend(tiny_cached(2)), *size), CachedStream, 3),
        "recurrent": (compile_recurrent(KerasBackend(tiny_recurrent(2)), *size), RecurrentStream, 2),
    }
    kinds: dict[str, tuple[Opener, int]] = {
        kind: (lambda height, width, network=network, stream=stream: stream(network), late)
        for kind, (network, stream, late) in compiled.items()
    }
    return {**kinds, "bicubic": (ResampleEngine("bicubic", 2).open, 0)}


KINDS = openers()


def opened(kind: str, burst: int) -> BurstTiledStream:
    opener, lookahead = KINDS[kind]
    return BurstTiledStream(opener, replace(PLAN, burst=burst), 2, lookahead)


@pytest.fixture(scope="module")
def expected() -> dict[str, list[np.ndarray]]:
    return {kind: answers(TiledStream(opener, PLAN, 2), FRAMES) for kind, (opener, _) in KINDS.items()}


@pytest.mark.parametrize("burst", [1, 2, 4, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_the_pictures_of_tiles_side_by_side(
    kind: str, burst: int, expected: dict[str, list[np.ndarray]]
) -> None:
    stream, found = opened(kind, burst), []
    lookahead = KINDS[kind][1] + burst - 1
    for number, frame in enumerate(FRAMES, start=1):
        answer = stream.push(frame)
        assert (answer is not None) == (number > lookahead)
        found += [] if answer is None else [answer]
    found += stream.flush()
    np.testing.assert_array_equal(np.stack(found), np.stack(expected[kind]))


@pytest.mark.parametrize("count", range(5))
def test_short_shots(count: int) -> None:
    opener, _ = KINDS["cached"]
    found = answers(opened("cached", 3), FRAMES[:count])
    wanted = answers(TiledStream(opener, PLAN, 2), FRAMES[:count])
    assert len(found) == len(wanted) == count
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, right)


def saved(stream: Stream) -> Iterator[tuple[str, np.ndarray]]:
    """A state by way of a file."""
    file = io.BytesIO()
    np.savez(file, **stream.state())  # type: ignore[arg-type]
    file.seek(0)
    return iter(np.load(file, allow_pickle=False).items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_moment(kind: str, expected: dict[str, list[np.ndarray]]) -> None:
    stream, given = opened(kind, 3), 0
    for moment in range(COUNT + 1):
        state = dict(saved(stream))
        other = opened(kind, 3)
        other.restore(state)
        again = other.state()
        assert set(again) == set(state)
        for name in state:
            assert again[name].dtype == state[name].dtype
            np.testing.assert_array_equal(again[name], state[name])
        rest = answers(other, FRAMES[moment:])
        assert len(rest) == COUNT - given
        for got, right in zip(rest, expected[kind][given:], strict=True):
            np.testing.assert_array_equal(got, right)
        if moment < COUNT:
            given += stream.push(FRAMES[moment]) is not None


def test_a_fork_goes_its_own_way(expected: dict[str, list[np.ndarray]]) -> None:
    stream, results = opened("recurrent", 3), []
    for frame in FRAMES:
        other = stream.fork()
        for _ in range(4):
            other.push(1 - frame)
        other.flush()
        results.append(stream.push(frame))
    found = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(found), np.stack(expected["recurrent"]))


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_from_tiles_side_by_side(kind: str, expected: dict[str, list[np.ndarray]]) -> None:
    """A film that was begun with more memory."""
    opener, _ = KINDS[kind]
    before, found = TiledStream(opener, PLAN, 2), []
    for frame in FRAMES[:6]:
        answer = before.push(frame)
        found += [] if answer is None else [answer]
    stream = opened(kind, 4)
    stream.restore(before.state())
    found += answers(stream, FRAMES[6:])
    np.testing.assert_array_equal(np.stack(found), np.stack(expected[kind]))


def test_a_state_of_other_tiles_is_refused() -> None:
    stream = opened("cached", 2)
    state = stream.state()
    for change in ({"corners": state["corners"] + 1}, {"late": np.zeros(2, np.int64)}, {"more": np.zeros(1)}):
        with pytest.raises(EngineError, match="another stream's"):
            opened("cached", 2).restore({**state, **change})


def test_what_is_kept_between_bursts_is_frames_not_features() -> None:
    """The point of it all: a window's state is the frames, which all tiles share and nobody copies."""
    stream = opened("cached", 4)
    for frame in FRAMES[:8]:
        stream.push(frame)
    tiles = [stream._kept[number] for number in range(len(PLAN))]
    assert all(isinstance(value, int) for tile in tiles for value in tile.values())
    assert all(any(mine is frame for frame in FRAMES) or mine.base is FRAMES for mine in stream._recent)
