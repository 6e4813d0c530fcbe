"""OpenVINO computes what Keras computes, and its streams keep the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from random_networks import noise_frames, run_stream

from tiny_networks import tiny_weights
from vsrcli.errors import EngineError, ModelError, NonFiniteError, OutOfMemoryError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.keras import KerasEngine
from vsrcli.inference.openvino import OpenvinoBackend, OpenvinoEngine
from vsrcli.inference.streams import CachedStream, RecurrentStream, compile_network, compile_stream
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Stream
from vsrcli.models.architectures import architecture
from vsrcli.models.weights import Weights, file_sha256, read_weights

HEIGHT, WIDTH, COUNT = 10, 12, 6
KINDS = ("cached", "recurrent", "fast", "window")
HALF_A_STEP = 1 / 510  # of 8 bits
fp32_engine = partial(OpenvinoEngine, precision="fp32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Weights]:
    """``weights(kind)``: random ones, the same for all tests."""
    cache: dict[str, Weights] = {}

    def get(kind: str) -> Weights:
        if kind not in cache:
            folder = tmp_path_factory.mktemp(kind)
            cache[kind] = read_weights(duf_16l(folder) if kind == "window" else tiny_weights(folder, kind))
        return cache[kind]

    return get


def duf_16l(folder: Path) -> Path:
    """The paper's network, with random kernels and batch norms."""
    model = architecture("duf-16l").build(2)
    rng = np.random.default_rng(3)
    for variable in model.weights:
        if "kernel" in variable.path:
            fan_in = float(np.prod(variable.shape[:-1]))
            variable.assign(rng.normal(size=variable.shape) * np.sqrt(2 / fan_in))
        elif "_bn" in variable.path:  # scales and variances around 1, the others around 0
            centre = 1.0 if "gamma" in variable.path or "variance" in variable.path else 0.0
            variable.assign(centre + 0.2 * rng.random(variable.shape))
    path = folder / "duf-16l-x2-video.weights.h5"
    model.save_weights(path)
    card = {"architecture": "duf-16l", "scale": 2, "degradation": "video", "sha256": file_sha256(path)}
    path.with_name("duf-16l-x2-video.json").write_text(json.dumps(card), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def engines(weights: Callable[[str], Weights]) -> Callable[[str], OpenvinoEngine]:
    cache: dict[str, OpenvinoEngine] = {}

    def get(kind: str) -> OpenvinoEngine:
        if kind not in cache:
            cache[kind] = fp32_engine(weights(kind))
        return cache[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_keras(
    kind: str, weights: Callable[[str], Weights], engines: Callable[[str], OpenvinoEngine]
) -> None:
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    result = np.stack(run_stream(engines(kind).open(HEIGHT, WIDTH), frames))
    keras = np.stack(run_stream(KerasEngine(weights(kind), device="cpu").open(HEIGHT, WIDTH), frames))
    assert result.shape == keras.shape == (COUNT, 2 * HEIGHT, 2 * WIDTH, 3)
    assert result.dtype == np.float32
    assert keras.std() > 0.05
    np.testing.assert_allclose(result, keras, atol=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_engines_have_the_same_attributes(
    kind: str, weights: Callable[[str], Weights], engines: Callable[[str], OpenvinoEngine]
) -> None:
    engine, keras = engines(kind), KerasEngine(weights(kind), device="cpu")
    for name in ("scale", "radius", "lookahead", "precision", "on_gpu"):
        assert getattr(engine, name) == getattr(keras, name)
    assert engine.description == f"{weights(kind).name} on CPU, openvino, fp32"


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_position(kind: str, engines: Callable[[str], OpenvinoEngine]) -> None:
    """Bit for bit, also in a stream of another network made of the same graphs."""
    frames, engine = noise_frames(COUNT, HEIGHT, WIDTH), engines(kind)
    expected = run_stream(engine.open(HEIGHT, WIDTH), frames)
    stream, returned_count = engine.open(HEIGHT, WIDTH), 0
    for position in range(COUNT):
        other = engine.open(HEIGHT, WIDTH)
        other.restore(stream.state())
        for result, reference in zip(
            run_stream(other, frames[position:]), expected[returned_count:], strict=True
        ):
            np.testing.assert_array_equal(result, reference)
        returned_count += stream.push(frames[position]) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_is_independent(kind: str, engines: Callable[[str], OpenvinoEngine]) -> None:
    frames, engine = noise_frames(COUNT, HEIGHT, WIDTH), engines(kind)
    expected = run_stream(engine.open(HEIGHT, WIDTH), frames)
    stream, results = engine.open(HEIGHT, WIDTH), []
    for frame in frames:
        other = stream.fork()
        other.push(1 - frame)
        other.flush()
        results.append(stream.push(frame))
    actual = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(actual), np.stack(expected))


@pytest.mark.parametrize("first", ["keras", "openvino"])
def test_a_recurrent_state_is_restored_in_the_other_engine(
    first: str, weights: Callable[[str], Weights], engines: Callable[[str], OpenvinoEngine]
) -> None:
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    stream = KerasEngine(weights("recurrent"), device="cpu").open(HEIGHT, WIDTH)
    other = engines("recurrent").open(HEIGHT, WIDTH)
    if first == "openvino":
        stream, other = other, stream
    for frame in frames[:4]:
        stream.push(frame)
    state = stream.state()
    assert np.abs(state["hidden"]).max() > 0.1
    other.restore(state)
    remaining = run_stream(stream, frames[4:])
    np.testing.assert_allclose(np.stack(run_stream(other, frames[4:])), np.stack(remaining), atol=5e-5)


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
@pytest.mark.parametrize("height", [1, 5, 12, 13])
def test_frames_of_any_height(kind: str, height: int, weights: Callable[[str], Weights]) -> None:
    """OpenVINO computes six rows together; padding rows must not show."""
    frames = noise_frames(COUNT, height, WIDTH)
    result, keras = (
        np.stack(run_stream(engine.open(height, WIDTH), frames))
        for engine in (
            OpenvinoEngine(weights(kind), precision="fp32"),
            KerasEngine(weights(kind), device="cpu"),
        )
    )
    np.testing.assert_allclose(result, keras, atol=5e-5)


@pytest.mark.parametrize("kind", ["cached", "recurrent", "window"])
def test_bands_give_the_same_frames(
    kind: str, weights: Callable[[str], Weights], engines: Callable[[str], OpenvinoEngine]
) -> None:
    """Four bands of three rows; the last one begins early."""
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    network = OpenvinoBackend(weights(kind))
    network.band_pixels = 36
    stream: Stream
    if kind == "recurrent":
        stream = RecurrentStream(compile_network(network, HEIGHT, WIDTH))
    else:
        stream = CachedStream(compile_network(network, HEIGHT, WIDTH))
    reference = run_stream(engines(kind).open(HEIGHT, WIDTH), frames)
    np.testing.assert_allclose(np.stack(run_stream(stream, frames)), np.stack(reference), atol=5e-5)


@pytest.mark.parametrize("kind", ["cached", "recurrent", "fast"])
def test_a_state_in_fp32_is_restored_in_bf16(
    kind: str, weights: Callable[[str], Weights], engines: Callable[[str], OpenvinoEngine]
) -> None:
    """The order of features differs. A CPU without bfloat16 computes in float32, close as well."""
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    stream = engines(kind).open(HEIGHT, WIDTH)
    for frame in frames[:4]:
        stream.push(frame)
    other = compile_stream(OpenvinoBackend(weights(kind), "bf16"), HEIGHT, WIDTH)()
    other.restore(stream.state())
    remaining = np.stack(run_stream(stream, frames[4:]))
    np.testing.assert_allclose(np.stack(run_stream(other, frames[4:])), remaining, atol=0.05)


def test_tiles_do_not_show(engines: Callable[[str], OpenvinoEngine]) -> None:
    engine = engines("cached")
    frames = noise_frames(4, 12, 40)
    reference = run_stream(engine.open(12, 40), frames)
    tiled = TiledStream(engine.open, plan_tiles(12, 40, 30, engine.radius), 2)
    np.testing.assert_allclose(np.stack(run_stream(tiled, frames)), np.stack(reference), atol=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_an_error_and_not_a_black_frame(kind: str, engines: Callable[[str], OpenvinoEngine]) -> None:
    frame = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    with pytest.raises(NonFiniteError, match="--precision fp32"):
        run_stream(engines(kind).open(HEIGHT, WIDTH), frame[None])


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
def test_weights_that_overflow_are_an_error_and_not_a_black_frame(kind: str, tmp_path: Path) -> None:
    """Results are looked at, unless the weights themselves say that nothing can overflow."""
    path = tiny_weights(tmp_path, kind)
    with h5py.File(path, "r+") as file:
        file["head/vars/0"][...] = 3e38
    card = path.with_name(path.name.replace(".weights.h5", ".json"))
    changed = {**json.loads(card.read_text()), "sha256": file_sha256(path)}
    card.write_text(json.dumps(changed), encoding="utf-8")
    stream = compile_stream(OpenvinoBackend(read_weights(path), "bf16"), HEIGHT, WIDTH)()
    with pytest.raises(NonFiniteError):
        run_stream(stream, noise_frames(COUNT, HEIGHT, WIDTH))


@pytest.mark.parametrize("failure", [MemoryError("no"), RuntimeError("std::bad_alloc")])
def test_out_of_memory_is_an_error_of_its_own(
    failure: Exception, engines: Callable[[str], OpenvinoEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that smaller tiles are tried."""
    stream = engines("cached").open(HEIGHT, WIDTH)

    class Request:
        def infer(self) -> None:
            raise failure

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *arguments: None

    monkeypatch.setattr(stream._network.functions["advance"], "_request", Request())  # type: ignore[attr-defined]
    with pytest.raises(OutOfMemoryError, match="--tile"):
        stream.push(noise_frames(1, HEIGHT, WIDTH)[0])


def test_a_state_of_another_size_is_refused(engines: Callable[[str], OpenvinoEngine]) -> None:
    state = engines("recurrent").open(HEIGHT, WIDTH).state()
    with pytest.raises(EngineError, match="another stream's"):
        engines("recurrent").open(HEIGHT, WIDTH).restore({**state, "hidden": state["hidden"][:, 1:]})


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tiny_weights(tmp_path, "cached")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged"):
        OpenvinoEngine(read_weights(path))


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = tiny_weights(tmp_path, "cached")
    weights = read_weights(path)
    options = {**weights.card["options"], "width": 16}
    weights.card_path.write_text(json.dumps({**weights.card, "options": options}))
    with pytest.raises(ModelError, match="does not fit"):
        OpenvinoEngine(read_weights(path)).open(HEIGHT, WIDTH)
