"""Every stream can be saved at any position and restored elsewhere, bit for bit."""

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
from random_networks import noise_frames, run_stream, tiny_cached, tiny_recurrent

from vsrcli.errors import EngineError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, RecurrentStream, WindowStream, compile_network
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import ResizingStream
from vsrcli.models import duf_r

HEIGHT, WIDTH, COUNT = 10, 24, 12
PLAN = plan_tiles(HEIGHT, WIDTH, 14, 2, feather=2)
FRAMES = noise_frames(COUNT, HEIGHT, WIDTH)

OpenStream = Callable[[int, int], Stream]


def weighted_mean(window: Any, training: bool) -> Any:
    """Seven frames, each with a weight of its own, at twice the size."""
    weights = np.arange(1, 8, dtype=np.float32)[None, :, None, None, None] / 28
    merged = keras.ops.sum(window * weights, axis=1)
    return keras.ops.repeat(keras.ops.repeat(merged, 2, axis=1), 2, axis=2)


def bfloat16_network() -> duf_r.DufR:
    """A recurrent network in bfloat16, a type that NumPy lacks."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return tiny_recurrent(2)
    finally:
        keras.config.set_dtype_policy(before)


def stream_factories() -> dict[str, OpenStream]:
    """Return a function that opens a stream of each kind; networks are compiled once for each size."""
    compiled: dict[Any, Any] = {}

    def compiled_once(kind: str, model: Any, stream: Any, *options: Any) -> OpenStream:
        def open_stream(height: int, width: int) -> Stream:
            key = kind, height, width
            if key not in compiled:
                compiled[key] = compile_network(KerasBackend(model, *options), height, width)
            return stream(compiled[key])

        return open_stream

    recurrent = tiny_recurrent(2)
    kinds = {
        "windowed": compiled_once("windowed", weighted_mean, WindowStream),
        "cached": compiled_once("cached", tiny_cached(2), CachedStream),
        "recurrent": compiled_once("recurrent", recurrent, RecurrentStream),
        "banded": compiled_once("banded", recurrent, RecurrentStream, 72),
        "half": compiled_once("half", bfloat16_network(), RecurrentStream),
        "bicubic": ResampleEngine("bicubic", 2).open,
    }
    for kind in ("windowed", "cached", "recurrent", "bicubic"):
        plain = kinds[kind]
        kinds[f"tiled {kind}"] = lambda height, width, plain=plain: TiledStream(plain, PLAN, 2)
    tiled = kinds["tiled recurrent"]
    kinds["fitted"] = lambda height, width: ResizingStream(tiled(height, width), 17, 31)
    return kinds


KINDS = stream_factories()


def through_a_file(state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Save a state with ``numpy.savez`` and load it."""
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    return np.load(file, allow_pickle=False)


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, list[np.ndarray]]:
    return {kind: run_stream(open_stream(HEIGHT, WIDTH), FRAMES) for kind, open_stream in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_position(kind: str, uninterrupted: dict[str, list[np.ndarray]]) -> None:
    open_stream, expected = KINDS[kind], uninterrupted[kind]
    assert len(expected) == COUNT
    stream = open_stream(HEIGHT, WIDTH)
    states, returned_counts = [through_a_file(stream.state())], [0]
    for frame in FRAMES:
        has_result = stream.push(frame) is not None
        states.append(through_a_file(stream.state()))
        returned_counts.append(returned_counts[-1] + has_result)
    for position, (state, returned_count) in enumerate(zip(states, returned_counts, strict=True)):
        other = open_stream(HEIGHT, WIDTH)
        other.restore(state)
        restored_state = other.state()
        assert set(restored_state) == set(state)
        for name in state:
            assert restored_state[name].dtype == state[name].dtype
            np.testing.assert_array_equal(restored_state[name], state[name])
        remaining = run_stream(other, FRAMES[position:])
        assert len(remaining) == COUNT - returned_count
        for result, reference in zip(remaining, expected[returned_count:], strict=True):
            np.testing.assert_array_equal(result, reference)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_is_independent(kind: str, uninterrupted: dict[str, list[np.ndarray]]) -> None:
    """Whatever is pushed to the other one."""
    stream, results = KINDS[kind](HEIGHT, WIDTH), []
    for frame in FRAMES:
        other = stream.fork()
        other.push(1 - frame)
        other.flush()
        results.append(stream.push(frame))
    actual = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(actual), np.stack(uninterrupted[kind]))


@pytest.mark.parametrize("kind", ["windowed", "cached", "recurrent", "tiled recurrent"])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
@settings(max_examples=5, deadline=None)
def test_saved_and_restored_repeatedly(
    kind: str, seed: int, share: float, uninterrupted: dict[str, list[np.ndarray]]
) -> None:
    """Also twice at the same position; the buffers of states are overwritten afterwards."""
    rng = random.Random(seed)
    stream, results = KINDS[kind](HEIGHT, WIDTH), []
    for frame in FRAMES:
        while rng.random() < share * 0.7:
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
    copies = {name: array.copy() for name, array in state.items()}
    remaining = run_stream(stream, FRAMES[5:])
    other = KINDS[kind](HEIGHT, WIDTH)
    other.restore(copies)
    np.testing.assert_array_equal(np.stack(run_stream(other, FRAMES[5:])), np.stack(remaining))
    for name, array in state.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize(
    ("kind", "count", "size"), [("windowed", 6, 72), ("cached", 6, 72), ("recurrent", 4, 48 + 4 * 8 + 48)]
)
def test_the_size_is_the_one_in_the_docstring(kind: str, count: int, size: int) -> None:
    """Bytes per low-resolution pixel; the recurrent network here has 8 channels and upscales by 2."""
    stream = KINDS[kind](HEIGHT, WIDTH)
    run_stream(stream, FRAMES)
    state = stream.state()
    assert len(state["frames"]) == count
    assert sum(array.nbytes for array in state.values()) == size * HEIGHT * WIDTH


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_another_stream_is_refused(kind: str) -> None:
    stream = KINDS[kind](HEIGHT, WIDTH)
    for frame in FRAMES[:8]:
        stream.push(frame)
    state = stream.state()

    def assert_refused(invalid: Mapping[str, np.ndarray], reason: str) -> None:
        with pytest.raises(EngineError, match=f"^this saved state is another stream's: .*{reason}.*or start"):
            KINDS[kind](HEIGHT, WIDTH).restore(invalid)

    assert_refused({**state, "song": np.zeros(3)}, "it has 'song', which is unknown here")
    for name, array in state.items():
        array_name = name.rpartition(".")[2]
        assert_refused(
            {key: value for key, value in state.items() if key != name}, f"it has no '{array_name}'"
        )
        assert_refused({**state, name: array.astype(np.int16)}, f"its '{array_name}' is int16")
        assert_refused({**state, name: np.concatenate([array] * 9)}, f"its '{array_name}' is ")
        assert_refused({**state, name: array[..., :1]}, f"its '{array_name}' is ")


def test_other_tiles_and_sizes_are_named() -> None:
    state = KINDS["tiled recurrent"](HEIGHT, WIDTH).state()
    moved = {**state, "tile_origins": state["tile_origins"] + 1}
    with pytest.raises(EngineError, match="its tiles lie elsewhere in the frame"):
        KINDS["tiled recurrent"](HEIGHT, WIDTH).restore(moved)
    with pytest.raises(
        EngineError, match=r"its 'frames' is float32 \(0, 9, 24, 3\), not .*\(0\.\.4, 10, 24, 3\)"
    ):
        KINDS["recurrent"](HEIGHT, WIDTH).restore(KINDS["recurrent"](9, WIDTH).state())
