"""Every stream can be stopped at any moment and goes on elsewhere, bit for bit."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import answers, film, tiny_cached, tiny_recurrent

from vsrcli.errors import EngineError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, RecurrentStream, compile_cached, compile_recurrent
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.windows import WindowStream, compile_window
from vsrcli.inference.wrappers import ResizingStream
from vsrcli.models import duf_r

HEIGHT, WIDTH, COUNT = 10, 24, 12
PLAN = plan_tiles(HEIGHT, WIDTH, 14, 2, feather=2)
FRAMES = film(COUNT, HEIGHT, WIDTH)

Opener = Callable[[int, int], Stream]


def windowed(window: Any, training: bool) -> Any:
    """Seven frames, each with a weight of its own, at twice the size."""
    weights = np.arange(1, 8, dtype=np.float32)[None, :, None, None, None] / 28
    merged = keras.ops.sum(window * weights, axis=1)
    return keras.ops.repeat(keras.ops.repeat(merged, 2, axis=1), 2, axis=2)


def half() -> duf_r.DufR:
    """A recurrent network in bfloat16, a type that NumPy has not."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return tiny_recurrent(2)
    finally:
        keras.config.set_dtype_policy(before)


def openers() -> dict[str, Opener]:
    """One way to open each kind; networks are compiled once for each size."""
    compiled: dict[Any, Any] = {}

    def once(kind: str, model: Any, compile_model: Any, stream: Any, **options: Any) -> Opener:
        def opened(height: int, width: int) -> Stream:
            key = kind, height, width
            if key not in compiled:
                compiled[key] = compile_model(KerasBackend(model), height, width, **options)
            return stream(compiled[key])

        return opened

    recurrent = tiny_recurrent(2)
    kinds = {
        "windowed": once("windowed", windowed, compile_window, WindowStream),
        "cached": once("cached", tiny_cached(2), compile_cached, CachedStream),
        "recurrent": once("recurrent", recurrent, compile_recurrent, RecurrentStream),
        "banded": once("banded", recurrent, compile_recurrent, RecurrentStream, band_pixels=72),
        "half": once("half", half(), compile_recurrent, RecurrentStream),
        "bicubic": ResampleEngine("bicubic", 2).open,
    }
    for kind in ("windowed", "cached", "recurrent", "bicubic"):
        plain = kinds[kind]
        kinds[f"tiled {kind}"] = lambda height, width, plain=plain: TiledStream(plain, PLAN, 2)
    tiled = kinds["tiled recurrent"]
    kinds["fitted"] = lambda height, width: ResizingStream(tiled(height, width), 17, 31)
    return kinds


KINDS = openers()


def through_a_file(state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What ``numpy.savez`` and ``numpy.load`` make of it."""
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    return np.load(file, allow_pickle=False)


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, list[np.ndarray]]:
    return {kind: answers(opened(HEIGHT, WIDTH), FRAMES) for kind, opened in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_moment(kind: str, uninterrupted: dict[str, list[np.ndarray]]) -> None:
    opened, expected = KINDS[kind], uninterrupted[kind]
    assert len(expected) == COUNT
    stream = opened(HEIGHT, WIDTH)
    states, given_out = [through_a_file(stream.state())], [0]
    for frame in FRAMES:
        answered = stream.push(frame) is not None
        states.append(through_a_file(stream.state()))
        given_out.append(given_out[-1] + answered)
    for moment, (state, done) in enumerate(zip(states, given_out, strict=True)):
        other = opened(HEIGHT, WIDTH)
        other.restore(state)
        again = other.state()
        assert set(again) == set(state)
        for name in state:
            assert again[name].dtype == state[name].dtype
            np.testing.assert_array_equal(again[name], state[name])
        rest = answers(other, FRAMES[moment:])
        assert len(rest) == COUNT - done
        for got, wanted in zip(rest, expected[done:], strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_goes_its_own_way(kind: str, uninterrupted: dict[str, list[np.ndarray]]) -> None:
    """Whatever the other one is given, even if that fails halfway."""
    stream, results = KINDS[kind](HEIGHT, WIDTH), []
    for frame in FRAMES:
        other = stream.fork()
        other.push(1 - frame)
        other.flush()
        results.append(stream.push(frame))
    found = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(found), np.stack(uninterrupted[kind]))


@pytest.mark.parametrize("kind", ["windowed", "cached", "recurrent", "tiled recurrent"])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
@settings(max_examples=5, deadline=None)
def test_stopped_again_and_again(
    kind: str, seed: int, share: float, uninterrupted: dict[str, list[np.ndarray]]
) -> None:
    """Also twice in the same place; the buffers that frames and states came in are used for other things."""
    chance = random.Random(seed)
    stream, results = KINDS[kind](HEIGHT, WIDTH), []
    for frame in FRAMES:
        while chance.random() < share * 0.7:
            state = stream.state()
            stream = KINDS[kind](HEIGHT, WIDTH)
            stream.restore(state)
            for array in state.values():
                array.fill(7)
        results.append(stream.push(frame))
    results = [result for result in results if result is not None] + stream.flush()
    np.testing.assert_array_equal(np.stack(results), np.stack(uninterrupted[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_taking_a_state_changes_nothing_and_later_pushes_do_not_change_it(kind: str) -> None:
    stream = KINDS[kind](HEIGHT, WIDTH)
    for frame in FRAMES[:5]:
        stream.push(frame)
    state = stream.state()
    kept = {name: array.copy() for name, array in state.items()}
    rest = answers(stream, FRAMES[5:])
    other = KINDS[kind](HEIGHT, WIDTH)
    other.restore(kept)
    np.testing.assert_array_equal(np.stack(answers(other, FRAMES[5:])), np.stack(rest))
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize(
    ("kind", "count", "size"), [("windowed", 6, 72), ("cached", 6, 72), ("recurrent", 4, 48 + 4 * 8 + 48)]
)
def test_the_size_is_the_one_in_the_docstring(kind: str, count: int, size: int) -> None:
    """Bytes per low-resolution pixel; the recurrent network here has 8 channels and upscales by 2."""
    stream = KINDS[kind](HEIGHT, WIDTH)
    answers(stream, FRAMES)
    state = stream.state()
    assert len(state["frames"]) == count
    assert sum(array.nbytes for array in state.values()) == size * HEIGHT * WIDTH


@pytest.mark.parametrize("kind", KINDS)
def test_anothers_state_is_refused(kind: str) -> None:
    stream = KINDS[kind](HEIGHT, WIDTH)
    for frame in FRAMES[:8]:
        stream.push(frame)
    state = stream.state()

    def refused(wrong: Mapping[str, np.ndarray], why: str) -> None:
        with pytest.raises(EngineError, match=f"^this saved state is another stream's: .*{why}.*or start"):
            KINDS[kind](HEIGHT, WIDTH).restore(wrong)

    refused({**state, "song": np.zeros(3)}, "it has 'song', which is unknown here")
    for name, array in state.items():
        short = name.rpartition(".")[2]
        refused({key: value for key, value in state.items() if key != name}, f"it has no '{short}'")
        refused({**state, name: array.astype(np.int16)}, f"its '{short}' is int16")
        refused({**state, name: np.concatenate([array] * 9)}, f"its '{short}' is ")
        refused({**state, name: array[..., :1]}, f"its '{short}' is ")


def test_other_tiles_and_sizes_are_named() -> None:
    state = KINDS["tiled recurrent"](HEIGHT, WIDTH).state()
    moved = {**state, "corners": state["corners"] + 1}
    with pytest.raises(EngineError, match="its tiles lie elsewhere in the frame"):
        KINDS["tiled recurrent"](HEIGHT, WIDTH).restore(moved)
    with pytest.raises(
        EngineError, match=r"its 'frames' is float32 \(0, 9, 24, 3\), not .*\(0\.\.4, 10, 24, 3\)"
    ):
        KINDS["recurrent"](HEIGHT, WIDTH).restore(KINDS["recurrent"](9, WIDTH).state())
