"""A recurrent network as a stream: same results as sequences, late, in bands, half precision and tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from random_networks import noise_frames, run_stream, tiny_recurrent

from vsrcli.errors import EngineError
from vsrcli.frames.resample import resize
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CompiledNetwork, RecurrentStream, compile_network
from vsrcli.inference.tiled import TiledStream
from vsrcli.models import duf_r
from vsrcli.models.costs import streaming_radius

STEP = streaming_radius(levels=2, blocks=1)


@pytest.fixture(scope="module")
def model() -> duf_r.DufR:
    return tiny_recurrent()


@pytest.fixture(scope="module")
def network(model: duf_r.DufR) -> CompiledNetwork:
    return compile_network(KerasBackend(model), 10, 12)


def run_sequence(model: duf_r.DufR, frames: np.ndarray) -> np.ndarray:
    """Run the network on a sequence whose ends are repeated."""
    ends = [2] + [0] * (len(frames) - 1), [0] * (len(frames) - 1) + [2]
    repeated = np.repeat(frames, 1 + np.add(*ends), axis=0)
    return np.clip(ops.convert_to_numpy(model(repeated[None]))[0], 0, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_stream_equals_the_sequence(model: duf_r.DufR, network: CompiledNetwork, count: int) -> None:
    frames = noise_frames(count)
    actual = run_stream(RecurrentStream(network), frames)
    assert len(actual) == count
    np.testing.assert_allclose(np.stack(actual), run_sequence(model, frames), atol=1e-5)


def test_without_feedback_the_state_is_the_hidden_one_alone() -> None:
    """Sequences compute all outputs together, streams one by one."""
    model, frames = tiny_recurrent(feedback=False), noise_frames(7)
    compiled = compile_network(KerasBackend(model), 10, 12)
    expected = run_sequence(model, frames)
    np.testing.assert_allclose(run_stream(RecurrentStream(compiled), frames), expected, atol=1e-5)
    stream = RecurrentStream(compiled)
    results = [stream.push(frame) for frame in frames[:4]]
    state = stream.state()
    assert set(state) == {"frames", "hidden"}
    other = RecurrentStream(compile_network(KerasBackend(model, 36), 10, 12))  # in bands
    other.restore(state)
    done = sum(result is not None for result in results)
    np.testing.assert_allclose(run_stream(other, frames[4:]), expected[done:], atol=1e-5)


@pytest.mark.parametrize("band_pixels", [36, 60, 1])  # 4 bands of 3 rows, the last overlapping; 2 of 5; rows
def test_bands_give_the_same_frames(network: CompiledNetwork, model: duf_r.DufR, band_pixels: int) -> None:
    frames = noise_frames(6)
    banded = RecurrentStream(compile_network(KerasBackend(model, band_pixels), 10, 12))
    np.testing.assert_allclose(
        run_stream(banded, frames), run_stream(RecurrentStream(network), frames), atol=1e-5
    )


def test_bands_do_not_show_in_the_state(network: CompiledNetwork, model: duf_r.DufR) -> None:
    """A state can be restored with other bands."""
    frames = noise_frames(6)
    plain, banded = (
        RecurrentStream(compiled) for compiled in (network, compile_network(KerasBackend(model, 36), 10, 12))
    )
    for frame in frames[:3]:
        plain.push(frame)
    banded.restore(plain.state())
    for name, array in plain.state().items():
        np.testing.assert_array_equal(banded.state()[name], array)
    np.testing.assert_allclose(run_stream(banded, frames[3:]), run_stream(plain, frames[3:]), atol=1e-5)


def test_results_are_a_frame_late_for_every_level(network: CompiledNetwork) -> None:
    stream = RecurrentStream(network)
    assert [stream.push(frame) is None for frame in noise_frames(4)] == [True, True, False, False]
    assert len(stream.flush()) == 2
    assert RecurrentStream(network).flush() == []


def test_each_frame_is_encoded_once(network: CompiledNetwork) -> None:
    encoded: list[np.ndarray] = []

    def advance(frame: np.ndarray, *state: Any) -> Any:
        encoded.append(frame)
        return network.functions["advance"](frame, *state)

    frames = noise_frames(5)
    counted = replace(network, functions={**network.functions, "advance": advance})
    run_stream(RecurrentStream(counted), frames)
    ends = [frames[:1]] * 2, [frames[-1:]] * 2
    np.testing.assert_array_equal(np.concatenate(encoded), np.concatenate([*ends[0], frames, *ends[1]]))


def test_feedback_is_not_clipped(network: CompiledNetwork) -> None:
    stream = RecurrentStream(network)
    frames = noise_frames(5)
    results = [stream.push(frame) for frame in frames]
    result, state = results[-1], stream.state()
    assert result is not None
    assert (result.min(), result.max()) == (0, 1)
    assert np.abs(state["feedback"]).max() <= 1
    sub_pixels = state["feedback"].reshape(10, 12, 4, 4, 3) + frames[2][:, :, None, None]
    unclipped = sub_pixels.transpose(0, 2, 1, 3, 4).reshape(40, 48, 3)
    assert unclipped.min() < 0
    np.testing.assert_allclose(unclipped.clip(0, 1), result, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(network: CompiledNetwork, model: duf_r.DufR, policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half_precision = duf_r.build(4, width=8, levels=2, blocks=1, head=8)
    finally:
        keras.config.set_dtype_policy(before)
    half_precision.set_weights(model.get_weights())
    compiled = compile_network(KerasBackend(half_precision), 10, 12)
    assert keras.backend.standardize_dtype(compiled.initial_state[0].dtype) == policy.removeprefix("mixed_")
    stream, frames = RecurrentStream(compiled), noise_frames(30)
    actual = np.stack(run_stream(stream, frames))
    assert actual.dtype == np.float32
    assert 0 < np.abs(actual - run_stream(RecurrentStream(network), frames)).max() < 0.05
    assert stream.state()["feedback"].dtype == np.float32
    assert stream.state()["hidden"].dtype == (np.float16 if policy == "mixed_float16" else np.float32)


def test_nan_is_an_error_and_not_a_black_frame(network: CompiledNetwork) -> None:
    frame = np.full((10, 12, 3), np.nan, np.float32)
    with pytest.raises(EngineError, match="--precision fp32"):
        run_stream(RecurrentStream(network), frame[None])


def pan(count: int, height: int, width: int) -> np.ndarray:
    """A camera over an image with detail at several sizes: two pixels right a frame, half a one down."""
    rng = np.random.default_rng(4)
    size = height + count, width + 2 * count
    layers = [(4, 0.6), (12, 0.5), (40, 0.5)]
    result = sum(weight * (resize(rng.random((cells, cells, 3)), *size) - 0.5) for cells, weight in layers)
    result = np.clip(0.5 + result, 0, 1).astype(np.float32)
    return np.stack([result[i // 2 :, 2 * i :][:height, :width] for i in range(count)])


@pytest.mark.parametrize("kind", ["noise", "pan"])
def test_tiles_hardly_show(model: duf_r.DufR, kind: str) -> None:
    """A state carries influence from beyond the overlap, but it fades: with twice a step's radius no pixel
    differs by more than 2e-4 of the full range, with once by less than a level of 8 bits."""
    frames = noise_frames(30, 24, 100) if kind == "noise" else pan(30, 24, 100)
    compiled: dict[tuple[int, int], CompiledNetwork] = {}

    def open_stream(height: int, width: int) -> RecurrentStream:
        if (height, width) not in compiled:
            compiled[height, width] = compile_network(KerasBackend(model), height, width)
        return RecurrentStream(compiled[height, width])

    reference = np.stack(run_stream(open_stream(24, 100), frames))
    differences = []
    for overlap in (STEP, 2 * STEP):
        plan = plan_tiles(24, 100, 60, overlap)
        assert len(plan) > 1
        tiled = np.stack(run_stream(TiledStream(open_stream, plan, 4), frames))
        differences.append(np.abs(tiled - reference).max(axis=(1, 2, 3)))
    single, double = differences
    assert single[0] < 1e-6  # one step has no larger receptive field
    assert single.max() < 1 / 255
    assert double.max() < 2e-4
    assert double.max() < single.max() / 5
