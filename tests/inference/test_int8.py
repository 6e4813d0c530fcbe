"""Inference in eight bits on OpenVINO: close to float32, equal to itself, and only with measured ranges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from random_networks import noise_frames, run_stream

from tiny_networks import tiny_weights
from vsrcli.errors import EngineError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.functions import plan_bands
from vsrcli.inference.int8_ranges import Calibration, Loss, Range, Ranges, calibration_path, read_calibration
from vsrcli.inference.openvino import OpenvinoBackend, OpenvinoEngine
from vsrcli.inference.openvino_observation import ObservingBackend, best_limit
from vsrcli.inference.openvino_passes import layer_of
from vsrcli.inference.openvino_quantization import SHOWN
from vsrcli.inference.streams import compile_stream
from vsrcli.inference.tiled import TiledStream
from vsrcli.models.weights import Weights, file_sha256, read_weights

HEIGHT, WIDTH, COUNT = 10, 12, 6
KINDS = ("cached", "recurrent", "fast")
Calibrated = Callable[[str], Weights]


def write_calibration(weights: Weights, **changes: Any) -> None:
    observed = ObservingBackend(weights)
    observed.watch((255 * noise_frames(COUNT, HEIGHT, WIDTH)).astype(np.uint8))
    ranges = {
        name: found and {"signed": found.signed, "limits": found.limits}
        for name, found in observed.ranges().items()
    }
    content = {"sha256": weights.card["sha256"], "ranges": ranges, "method": "", "loss": {}, **changes}
    calibration_path(weights).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """``calibrated(kind)``: random weights with ranges of noise."""
    cache: dict[str, Weights] = {}

    def get(kind: str) -> Weights:
        if kind not in cache:
            cache[kind] = read_weights(tiny_weights(tmp_path_factory.mktemp(kind), kind))
            write_calibration(cache[kind])
        return cache[kind]

    return get


@pytest.fixture
def plain(tmp_path: Path) -> Weights:
    """Weights without ranges."""
    return read_weights(tiny_weights(tmp_path, "recurrent"))


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_close_to_those_of_float32(kind: str, calibrated: Calibrated) -> None:
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    quantized, exact = (
        np.stack(run_stream(OpenvinoEngine(calibrated(kind), precision=each).open(HEIGHT, WIDTH), frames))
        for each in ("int8", "fp32")
    )
    error = np.sqrt(np.mean((quantized - exact) ** 2))
    assert 0 < error < 0.02 * exact.std()


def root_mean_square_error(weights: Weights, ranges: Ranges) -> float:
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    quantized, exact = (
        np.stack(run_stream(compile_stream(backend, HEIGHT, WIDTH)(), frames))
        for backend in (OpenvinoBackend(weights, "int8", ranges=ranges), OpenvinoBackend(weights, "fp32"))
    )
    return float(np.sqrt(np.mean((quantized - exact) ** 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_of_each_channel(kind: str, tmp_path: Path) -> None:
    """Channels of very different strength: those of one layer's output, and what the next makes of it."""
    path = Path(tiny_weights(tmp_path, kind))
    strength = (0.05 ** (np.arange(8) % 2)).astype(np.float32)
    with h5py.File(path, "r+") as file:
        for each in ("vars/0", "vars/1"):
            file[f"encoder/{each}"][...] *= strength
        file["fusions/conv2d/vars/0"][...] /= np.resize(strength, 24)[:, None]
    weights = read_weights(path)
    weights = Weights(path, {**weights.card, "sha256": file_sha256(path)})
    observed = ObservingBackend(weights)
    observed.watch((255 * noise_frames(COUNT, HEIGHT, WIDTH)).astype(np.uint8))
    own, common = (
        {name: found if "fusions/conv2d/" in name else None for name, found in ranges.items()}
        for ranges in (observed.ranges(), observed.ranges(by_channel=False))
    )
    assert all(len(found.limits) == 8 for found in own.values() if found)
    assert root_mean_square_error(weights, own) < 0.9 * root_mean_square_error(weights, common)


def test_a_file_with_one_limit_for_all_channels(plain: Weights) -> None:
    """As versions before wrote it."""
    write_calibration(plain)
    content = json.loads(calibration_path(plain).read_text("utf-8"))
    for found in filter(None, content["ranges"].values()):
        found["limit"] = max(found.pop("limits"))
    calibration_path(plain).write_text(json.dumps(content), encoding="utf-8")
    assert {found.limits for found in read_calibration(plain).ranges.values() if found} == {
        (found["limit"],) for found in content["ranges"].values() if found
    }
    OpenvinoEngine(plain, precision="int8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_position(kind: str, calibrated: Calibrated) -> None:
    frames, engine = noise_frames(COUNT, HEIGHT, WIDTH), OpenvinoEngine(calibrated(kind), precision="int8")
    expected = run_stream(engine.open(HEIGHT, WIDTH), frames)
    stream, returned_count = engine.open(HEIGHT, WIDTH), 0
    for position in range(COUNT):
        state = stream.state()
        assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
        other = engine.open(HEIGHT, WIDTH)
        other.restore(state)
        results = run_stream(other, frames[position:])
        np.testing.assert_array_equal(np.stack(results), np.stack(expected[returned_count:]))
        returned_count += stream.push(frames[position]) is not None


def test_tiles_give_the_same_frames(calibrated: Calibrated) -> None:
    frames, engine = noise_frames(COUNT, 24, 28), OpenvinoEngine(calibrated("cached"), precision="int8")
    whole = np.stack(run_stream(engine.open(24, 28), frames))
    tiles = plan_tiles(24, 28, 22, engine.radius)
    assert len(tiles) > 1
    tiled = np.stack(run_stream(TiledStream(engine.open, tiles, engine.scale), frames))
    # sums in float32 may round differently beside another border, and then a code may be the next one
    assert np.quantile(np.abs(tiled - whole), 0.99) < 1e-6
    np.testing.assert_allclose(tiled, whole, atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_have_names(kind: str, calibrated: Calibrated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its own, that of its kernel; those of all functions are in the file."""
    names: list[str] = []
    compile_graph = OpenvinoBackend._compile

    def record(self: OpenvinoBackend, name: str, graph: Any) -> Any:
        compiled: Any = compile_graph(self, name, graph)
        names.extend(each.removeprefix(SHOWN) for each in compiled.names if each.startswith(SHOWN))
        return compiled

    monkeypatch.setattr(OpenvinoBackend, "_compile", record)
    ObservingBackend(calibrated(kind)).compile(4, 5, plan_bands(4, 5))
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(read_calibration(calibrated(kind)).ranges)
    with h5py.File(calibrated(kind).path) as file:
        assert all(file[layer_of(name)].ndim == 4 for name in names)


def test_queues_hold_codes(calibrated: Calibrated) -> None:
    backend = OpenvinoBackend(calibrated("recurrent"), "int8")
    advance = backend.compile(4, 5, plan_bands(4, 5))["advance"]
    _, *newest = advance(
        noise_frames(1, 4, 5), *(np.zeros((1, 4, 5, 8), np.float32) for _ in range(2 * backend.shapes.levels))
    )
    assert {each.dtype for each in newest} == {np.dtype(np.uint8)}


def test_queues_stay_in_float_with_a_layer_that_does(calibrated: Calibrated) -> None:
    ranges = read_calibration(calibrated("fast")).ranges
    ranges = {name: None if "fusions" in name else found for name, found in ranges.items()}
    backend = OpenvinoBackend(calibrated("fast"), "int8", ranges=ranges)
    advance = backend.compile(4, 5, plan_bands(4, 5))["advance"]
    _, newest = advance(noise_frames(1, 4, 5), *(np.zeros((1, 4, 5, 8), np.float32) for _ in range(2)))
    assert newest.dtype == np.float32


def test_a_convolution_without_a_range_is_an_error(calibrated: Calibrated) -> None:
    ranges = read_calibration(calibrated("fast")).ranges
    known = {name: found for name, found in ranges.items() if "head" not in name}
    backend = OpenvinoBackend(calibrated("fast"), "int8", ranges=known)
    with pytest.raises(EngineError, match="lack the convolution 'head/vars/0'"):
        backend.compile(4, 5, plan_bands(4, 5))


def test_without_a_file_the_error_says_what_to_do(plain: Weights) -> None:
    with pytest.raises(EngineError, match=r"no file 'duf-r-s-x2-video\.int8\.json' beside it; use --prec"):
        OpenvinoEngine(plain, precision="int8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "of others"}, "belongs to other weights"),
        ({"ranges": {"head/vars/0": {"signed": True, "limits": [-1.0]}}}, "is damaged"),
        ({"ranges": {"head/vars/0": {"signed": True, "limits": []}}}, "is damaged"),
        ({"ranges": []}, "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(plain: Weights, changes: dict[str, Any], message: str) -> None:
    write_calibration(plain, **changes)
    with pytest.raises(EngineError, match=message):
        OpenvinoEngine(plain, precision="int8")


def test_a_network_of_windows_has_no_int8(plain: Weights) -> None:
    other = Weights(plain.path, {**plain.card, "architecture": "duf-16l", "options": {}})
    with pytest.raises(EngineError, match=r"duf-16l has no --precision int8: use fp32"):
        OpenvinoBackend(other, "int8")


def test_which_losses_are_small() -> None:
    small = Loss(mean_db=0.01, worst_db=0.05, worst_clip="a", steady_db=0.0, flicker_codes=0.0)
    ranges = {"head": Range(True, (1.0,))}
    assert Calibration(ranges, {"bi x4": small}).is_good
    assert not Calibration(ranges, {}).is_good
    for figures in ((0.06, 0.06, "a", 0.0, 0.0), (0.01, 0.2, "a", 0.0, 0.0), (0.0, 0.0, "a", 0.0, 0.1)):
        assert not Calibration(ranges, {"bi x4": small, "bi x4 crf 23": Loss(*figures)}).is_good


def test_the_best_limit_clips_what_is_rare() -> None:
    values = np.random.default_rng(0).random(200_000).astype(np.float32)
    assert best_limit(values, signed=False) == pytest.approx(values.max(), rel=0.05)
    values[0] = 1.3
    assert 0.9 < best_limit(values, signed=False) < 1.1
    assert best_limit(np.zeros(10), signed=True) == 0
