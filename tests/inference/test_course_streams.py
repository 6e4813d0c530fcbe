"""The networks of the course projects as streams: on every engine, in tiles, resumed, and aligned by flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_networks import noise_frames, run_stream

from tiny_networks import tiny_weights
from vsrcli.errors import EngineError
from vsrcli.frames import flow
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.keras import KerasEngine
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Engine
from vsrcli.models.weights import read_weights

HEIGHT, WIDTH, COUNT = 13, 18, 4  # no multiples of what the U-Nets pool


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, KerasEngine]]:
    """``engines(name)``: path of random weights, and a Keras engine of them."""
    cache: dict[str, tuple[Path, KerasEngine]] = {}

    def get(name: str) -> tuple[Path, KerasEngine]:
        if name not in cache:
            path = tiny_weights(tmp_path_factory.mktemp(name), name)
            cache[name] = path, KerasEngine(read_weights(path), device="cpu")
        return cache[name]

    return get


Engines = Callable[[str], tuple[Path, KerasEngine]]


def open_other(path: Path, name: str) -> Engine:
    if name == "openvino":
        pytest.importorskip("openvino")
        from vsrcli.inference.openvino import OpenvinoEngine

        return OpenvinoEngine(read_weights(path), precision="fp32")
    pytest.importorskip("onnxruntime")
    from vsrcli.inference.onnxruntime import OnnxruntimeEngine

    return OnnxruntimeEngine(read_weights(path), device="cpu")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *((name, other) for name in ("runet", "srgan", "convlstm") for other in ("openvino", "onnxruntime")),
        pytest.param("five-parallel", "onnxruntime", marks=pytest.mark.slow),
    ],
)
def test_every_engine_gives_the_same(name: str, other: str, engines: Engines) -> None:
    path, keras = engines(name)
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    expected = np.stack(run_stream(keras.open(HEIGHT, WIDTH), frames))
    assert expected.shape == (COUNT, 2 * HEIGHT, 2 * WIDTH, 3)
    assert expected.std() > 0.03
    actual = np.stack(run_stream(open_other(path, other).open(HEIGHT, WIDTH), frames))
    np.testing.assert_allclose(actual, expected, atol=2e-4)  # values inside are large


@pytest.mark.parametrize("name", ["sr-unet", "convlstm", "delta"])
def test_a_stream_continues_elsewhere_bit_for_bit(name: str, engines: Engines) -> None:
    _, engine = engines(name)
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    expected, stream, returned = run_stream(engine.open(HEIGHT, WIDTH), frames), engine.open(HEIGHT, WIDTH), 0
    for position in range(COUNT):
        other = engine.open(HEIGHT, WIDTH)
        other.restore(stream.state())
        rest = run_stream(other, frames[position:])
        np.testing.assert_array_equal(np.stack(rest), np.stack(expected[returned:]))
        returned += stream.push(frames[position]) is not None
    assert returned == COUNT - engine.lookahead


@pytest.mark.parametrize("name", ["fsrcnn", "runet", "srgan", "convlstm", "delta"])
def test_tiles_do_not_show(name: str, engines: Engines) -> None:
    """Nor where frames and tiles are no multiples; a state carries little from beyond the overlap."""
    _, engine = engines(name)
    multiple = read_weights(engines(name)[0]).architecture.multiple
    width = 4 * engine.radius + 21
    frames = noise_frames(3, HEIGHT, width)
    plan = plan_tiles(HEIGHT, width, 2 * engine.radius + 14, engine.radius, multiple=multiple)
    assert len(plan) > 2
    whole = np.stack(run_stream(engine.open(HEIGHT, width), frames))
    tiled = np.stack(run_stream(TiledStream(engine.open, plan, 2), frames))
    np.testing.assert_allclose(tiled, whole, atol=2e-4 if name == "convlstm" else 4e-5)


def shifted(frames: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a flow for frames that move by two pixels to the right each, as their order in time says."""
    pictures = [np.rint(frame @ flow.LUMA * 255).astype(np.uint8) for frame in frames]

    def estimate(source: np.ndarray, target: np.ndarray) -> np.ndarray:
        moments = [
            next(t for t, picture in enumerate(pictures) if np.array_equal(picture, each))
            for each in (source, target)
        ]
        vectors = np.zeros((*source.shape, 2), np.float32)
        vectors[..., 0] = 2 * (moments[1] - moments[0])
        return vectors

    return estimate


def test_aligned_windows_are_those_of_a_still_scene(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the true flow, a moving scene gives what its centre frame alone would, but for the borders."""
    scene = noise_frames(1, HEIGHT, WIDTH + 12)[0]
    moving = np.stack([scene[:, 8 - 2 * t : 8 - 2 * t + WIDTH] for t in range(COUNT)])
    monkeypatch.setattr(flow, "find_spec", lambda name: True)
    monkeypatch.setattr(flow, "estimate_flow", shifted(moving))
    aligned = KerasEngine(read_weights(tiny_weights(tmp_path, "delta-flow")), device="cpu")
    plain = engines("delta")[1]
    results = run_stream(aligned.open(HEIGHT, WIDTH), moving)
    for t, result in enumerate(results[1:-1], start=1):
        still = run_stream(plain.open(HEIGHT, WIDTH), np.stack([moving[t]] * 3))[1]
        inside = 2 * (plain.radius + 2)
        np.testing.assert_allclose(result[:, inside:-inside], still[:, inside:-inside], atol=1e-5)
        assert np.abs(result - still).max() > 1e-3  # at the borders, where there is nothing to move there


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(flow, "find_spec", lambda name: None)
    weights = read_weights(tiny_weights(tmp_path, "delta-flow"))
    with pytest.raises(EngineError, match=r"delta-flow needs OpenCV.*pip install 'vsrcli\[flow\]'"):
        KerasEngine(weights, device="cpu")


def test_warping_reads_between_pixels_and_repeats_borders() -> None:
    frame: Any = np.arange(5, dtype=np.float32)[None, :, None].repeat(2, axis=0)
    vectors = np.zeros((2, 5, 2), np.float32)
    vectors[..., 0] = 1.5
    np.testing.assert_allclose(flow.warp(frame, vectors)[0, :, 0], [1.5, 2.5, 3.5, 4, 4])


def test_dense_inverse_search_finds_a_movement() -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'vsrcli[flow]'")
    y, x = np.mgrid[0:48, 0:64]
    pictures: list[Any] = [
        np.uint8(128 + 60 * np.sin((x - shift) / 4) + 60 * np.sin(y / 5 + (x - shift) / 9))
        for shift in (0, 2)
    ]
    vectors = flow.estimate_flow(*pictures)
    np.testing.assert_allclose(np.median(vectors, axis=(0, 1)), [2, 0], atol=0.2)
    assert not flow.estimate_flow(*(picture[:8] for picture in pictures)).any()
