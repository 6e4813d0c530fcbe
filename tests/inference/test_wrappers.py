"""Resizing of results: alignment and cropping. Two passes in sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
import pytest

from vsrcli.errors import EngineError
from vsrcli.frames.geometry import SizeRequest, geometry_for_size
from vsrcli.frames.resample import resize
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import ChainedStream, ResizingStream


def run_stream(stream: Stream, frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    results = [stream.push(frame) for frame in frames]
    return [result for result in results if result is not None] + stream.flush()


def soft_dot(height: int, width: int, y: float, x: float) -> np.ndarray:
    """A soft dot around (y, x), in pixels from the upper left corner of the frame."""
    rows, columns = np.arange(height) + 0.5 - y, np.arange(width) + 0.5 - x
    dot = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 1.5**2))
    return np.repeat(dot[..., None], 3, axis=-1).astype(np.float32)


def centre_of_mass(frame: np.ndarray) -> tuple[float, float]:
    mass = frame[..., 0].astype(np.float64)
    rows, columns = np.arange(mass.shape[0]) + 0.5, np.arange(mass.shape[1]) + 0.5
    return float((mass.sum(1) * rows).sum() / mass.sum()), float((mass.sum(0) * columns).sum() / mass.sum())


@pytest.mark.parametrize("native_scale", [2, 3, 4])
@pytest.mark.parametrize(
    "requested",
    [
        SizeRequest(height=101),
        SizeRequest(width=150),
        SizeRequest(130, 130),
        SizeRequest(200, 90, fill=True),
        SizeRequest(91, 160, fill=True),
        SizeRequest(333, 301, fill=True),
    ],
    ids=str,
)
def test_a_dot_stays_aligned(native_scale: int, requested: SizeRequest) -> None:
    height, width, y, x = 41, 57, 22.3, 27.6
    geometry = geometry_for_size(width, height, Fraction(1), requested)
    engine = ResampleEngine("lanczos", native_scale)
    stream = ResizingStream(
        engine.open(height, width), geometry.height, geometry.width, geometry.visible_share
    )
    (result,) = run_stream(stream, [soft_dot(height, width, y, x)])
    assert result.shape == (geometry.height, geometry.width, 3)
    left, top = (
        side * (1 - share) / 2 for side, share in zip((width, height), geometry.visible_share, strict=True)
    )
    expected = (
        (y - top) * geometry.height / (height * geometry.visible_share[1]),
        (x - left) * geometry.width / (width * geometry.visible_share[0]),
    )
    np.testing.assert_allclose(centre_of_mass(result), expected, atol=0.1)


def test_the_centre_stays_in_the_centre() -> None:
    for width, height, box in [(64, 48, (200, 100)), (65, 49, (101, 333)), (48, 64, (300, 300))]:
        geometry = geometry_for_size(width, height, Fraction(1), SizeRequest(*box, fill=True))
        stream = ResizingStream(
            ResampleEngine("bicubic", 4).open(height, width), box[1], box[0], geometry.visible_share
        )
        (result,) = run_stream(stream, [soft_dot(height, width, height / 2, width / 2)])
        np.testing.assert_allclose(centre_of_mass(result), (box[1] / 2, box[0] / 2), atol=0.02)


def test_filling_crops_above_and_below() -> None:
    frame = np.zeros((48, 64, 3), np.float32)
    frame[:6], frame[-6:] = 1, 1  # an eighth above and below
    visible_share = geometry_for_size(64, 48, Fraction(1), SizeRequest(256, 144, fill=True)).visible_share
    assert visible_share == (1.0, 0.75)
    full = ResizingStream(ResampleEngine("bicubic", 4).open(48, 64), 144, 192)
    cropped = ResizingStream(ResampleEngine("bicubic", 4).open(48, 64), 144, 256, visible_share)
    (full_result,), (cropped_result,) = run_stream(full, [frame]), run_stream(cropped, [frame])
    assert full_result[:15].min() > 0.9
    assert cropped_result[8:-8].max() < 0.1


def test_a_crop_is_the_centre_of_the_full_frame() -> None:
    frame = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
    full = resize(frame, 80, 120, "lanczos3")
    cropped = resize(frame, 60, 120, "lanczos3", visible_share=(1.0, 0.75))
    np.testing.assert_allclose(cropped, full[10:-10], atol=1e-5)
    with pytest.raises(ValueError, match="share"):
        resize(frame, 60, 120, visible_share=(1.0, 0.0))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_frames(side: int) -> None:
    frame = np.full((side, side, 3), 0.25, np.float32)
    stream = ResizingStream(ResampleEngine("lanczos", 2).open(side, side), 5, 7, (1.0, 0.5))
    (result,) = run_stream(stream, [frame])
    np.testing.assert_allclose(result, np.full((5, 7, 3), 0.25), atol=1e-6)


class DelayedStream(Stream):
    """Returns, two frames late, the mean of three frames at twice the size."""

    def __init__(self, recent: Iterable[np.ndarray] = ()) -> None:
        self._recent = deque(recent, 3)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self._recent.append(frame)
        return self._result() if len(self._recent) == 3 else None

    def flush(self) -> list[np.ndarray]:
        remaining = min(len(self._recent), 2)
        return [self._result() * np.float32(0.5) for _ in range(remaining)]

    def fork(self) -> DelayedStream:
        return DelayedStream(self._recent)

    def state(self) -> dict[str, np.ndarray]:
        return {"recent": np.stack(list(self._recent))} if self._recent else {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._recent = deque(state.get("recent", ()), 3)

    def _result(self) -> np.ndarray:
        return np.mean(list(self._recent), axis=0).repeat(2, axis=0).repeat(2, axis=1)


FRAMES = list(np.random.default_rng(1).random((9, 6, 8, 3)).astype(np.float32))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_chain_is_two_streams_one_after_the_other(count: int) -> None:
    expected = run_stream(DelayedStream(), run_stream(DelayedStream(), FRAMES[:count]))
    result = run_stream(ChainedStream([DelayedStream(), DelayedStream()]), FRAMES[:count])
    assert len(result) == count
    for actual, reference in zip(result, expected, strict=True):
        np.testing.assert_array_equal(actual, reference)


@pytest.mark.parametrize("stop", range(10))
def test_a_chain_can_be_restored(stop: int) -> None:
    expected = run_stream(ChainedStream([DelayedStream(), DelayedStream()]), FRAMES)
    stream = ChainedStream([DelayedStream(), DelayedStream()])
    result = [stream.push(frame) for frame in FRAMES[:stop]]
    fork, state = stream.fork(), stream.state()
    restored = ChainedStream([DelayedStream(), DelayedStream()])
    restored.restore(state)
    stream.push(FRAMES[0])  # does not disturb the other two
    for reference in (restored, fork):
        results = [*result, *(reference.push(frame) for frame in FRAMES[stop:])]
        results = [result for result in results if result is not None] + reference.flush()
        for actual, two in zip(results, expected, strict=True):
            np.testing.assert_array_equal(actual, two)
    with pytest.raises(EngineError, match=r"third.recent.*unknown"):
        ChainedStream([DelayedStream(), DelayedStream()]).restore({"third.recent": np.zeros(3)})


def test_a_chain_in_tiles() -> None:
    """Both passes in tiles of their own give the untiled result."""
    frame = np.random.default_rng(2).random((40, 52, 3)).astype(np.float32)
    engines = ResampleEngine("bicubic", 4), ResampleEngine("bicubic", 2)
    plans = plan_tiles(40, 52, 24, 4), plan_tiles(160, 208, 50, 4)
    assert min(map(len, plans)) > 1
    chained = ChainedStream(
        [TiledStream(engines[0].open, plans[0], 4), TiledStream(engines[1].open, plans[1], 2)]
    )
    (result,) = run_stream(chained, [frame])
    (expected,) = run_stream(engines[1].open(160, 208), run_stream(engines[0].open(40, 52), [frame]))
    np.testing.assert_allclose(result, expected, atol=1e-5)
