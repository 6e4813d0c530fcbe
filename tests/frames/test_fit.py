"""The last resample: where things land, what is cut, and that nothing else changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
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
from vsrcli.inference.wrappers import ChainedStream, ResizingStream, chain_tiles, first_pass_tiles


def answers(stream: Stream, frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    results = [stream.push(frame) for frame in frames]
    return [result for result in results if result is not None] + stream.flush()


def dot(height: int, width: int, y: float, x: float) -> np.ndarray:
    """A soft dot around (y, x), in pixels from the upper left corner of the picture."""
    rows, columns = np.arange(height) + 0.5 - y, np.arange(width) + 0.5 - x
    spot = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 1.5**2))
    return np.repeat(spot[..., None], 3, axis=-1).astype(np.float32)


def centroid(picture: np.ndarray) -> tuple[float, float]:
    mass = picture[..., 0].astype(np.float64)
    rows, columns = np.arange(mass.shape[0]) + 0.5, np.arange(mass.shape[1]) + 0.5
    return float((mass.sum(1) * rows).sum() / mass.sum()), float((mass.sum(0) * columns).sum() / mass.sum())


@pytest.mark.parametrize("native", [2, 3, 4])
@pytest.mark.parametrize(
    "wanted",
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
def test_a_dot_lands_where_it_should(native: int, wanted: SizeRequest) -> None:
    height, width, y, x = 41, 57, 22.3, 27.6
    geometry = geometry_for_size(width, height, Fraction(1), wanted)
    engine = ResampleEngine("lanczos", native)
    stream = ResizingStream(
        engine.open(height, width), geometry.height, geometry.width, geometry.visible_share
    )
    (found,) = answers(stream, [dot(height, width, y, x)])
    assert found.shape == (geometry.height, geometry.width, 3)
    left, top = (
        side * (1 - share) / 2 for side, share in zip((width, height), geometry.visible_share, strict=True)
    )
    expected = (
        (y - top) * geometry.height / (height * geometry.visible_share[1]),
        (x - left) * geometry.width / (width * geometry.visible_share[0]),
    )
    np.testing.assert_allclose(centroid(found), expected, atol=0.1)


def test_the_centre_stays_in_the_centre() -> None:
    for width, height, box in [(64, 48, (200, 100)), (65, 49, (101, 333)), (48, 64, (300, 300))]:
        geometry = geometry_for_size(width, height, Fraction(1), SizeRequest(*box, fill=True))
        stream = ResizingStream(
            ResampleEngine("bicubic", 4).open(height, width), box[1], box[0], geometry.visible_share
        )
        (found,) = answers(stream, [dot(height, width, height / 2, width / 2)])
        np.testing.assert_allclose(centroid(found), (box[1] / 2, box[0] / 2), atol=0.02)


def test_what_is_cut_is_what_stands_out() -> None:
    picture = np.zeros((48, 64, 3), np.float32)
    picture[:6], picture[-6:] = 1, 1  # an eighth above and below
    shares = geometry_for_size(64, 48, Fraction(1), SizeRequest(256, 144, fill=True)).visible_share
    assert shares == (1.0, 0.75)
    whole = ResizingStream(ResampleEngine("bicubic", 4).open(48, 64), 144, 192)
    cut = ResizingStream(ResampleEngine("bicubic", 4).open(48, 64), 144, 256, shares)
    (whole_picture,), (cut_picture,) = answers(whole, [picture]), answers(cut, [picture])
    assert whole_picture[:15].min() > 0.9
    assert cut_picture[8:-8].max() < 0.1


def test_a_cut_is_the_middle_of_the_whole() -> None:
    picture = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
    whole = resize(picture, 80, 120, "lanczos3")
    cut = resize(picture, 60, 120, "lanczos3", visible_share=(1.0, 0.75))
    np.testing.assert_allclose(cut, whole[10:-10], atol=1e-5)
    with pytest.raises(ValueError, match="share"):
        resize(picture, 60, 120, visible_share=(1.0, 0.0))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_pictures(side: int) -> None:
    picture = np.full((side, side, 3), 0.25, np.float32)
    stream = ResizingStream(ResampleEngine("lanczos", 2).open(side, side), 5, 7, (1.0, 0.5))
    (found,) = answers(stream, [picture])
    np.testing.assert_allclose(found, np.full((5, 7, 3), 0.25), atol=1e-6)


class Late:
    """Doubles a picture and answers two frames later, with the mean of what it remembers."""

    def __init__(self, seen: Iterable[np.ndarray] = ()) -> None:
        self._seen = deque(seen, 3)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self._seen.append(frame)
        return self._answer() if len(self._seen) == 3 else None

    def flush(self) -> list[np.ndarray]:
        owed = min(len(self._seen), 2)
        return [self._answer() * np.float32(0.5) for _ in range(owed)]

    def fork(self) -> Late:
        return Late(self._seen)

    def state(self) -> dict[str, np.ndarray]:
        return {"seen": np.stack(list(self._seen))} if self._seen else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._seen = deque(state.get("seen", ()), 3)

    def _answer(self) -> np.ndarray:
        return np.mean(list(self._seen), axis=0).repeat(2, axis=0).repeat(2, axis=1)


FRAMES = list(np.random.default_rng(1).random((9, 6, 8, 3)).astype(np.float32))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_chain_is_two_streams_one_after_the_other(count: int) -> None:
    expected = answers(Late(), answers(Late(), FRAMES[:count]))
    found = answers(ChainedStream(Late(), Late()), FRAMES[:count])
    assert len(found) == count
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stop", range(10))
def test_a_chain_goes_on_elsewhere(stop: int) -> None:
    expected = answers(ChainedStream(Late(), Late()), FRAMES)
    stream = ChainedStream(Late(), Late())
    found = [stream.push(frame) for frame in FRAMES[:stop]]
    twin, state = stream.fork(), stream.state()
    again = ChainedStream(Late(), Late())
    again.restore(state)
    stream.push(FRAMES[0])  # neither is disturbed by what the first does from here on
    for other in (again, twin):
        results = [*found, *(other.push(frame) for frame in FRAMES[stop:])]
        results = [result for result in results if result is not None] + other.flush()
        for one, two in zip(results, expected, strict=True):
            np.testing.assert_array_equal(one, two)
    with pytest.raises(EngineError, match="neither"):
        ChainedStream(Late(), Late()).restore({"third.seen": np.zeros(3)})


def test_a_chain_in_tiles() -> None:
    """Both passes in tiles of their own give what both give in one piece."""
    frame = np.random.default_rng(2).random((40, 52, 3)).astype(np.float32)
    engines = ResampleEngine("bicubic", 4), ResampleEngine("bicubic", 2)
    plans = plan_tiles(40, 52, 24, 4), plan_tiles(160, 208, 50, 4)
    tiles = chain_tiles(*plans)
    assert (first_pass_tiles(tiles), tiles.second_pass) == plans
    assert min(map(len, plans)) > 1
    both = ChainedStream(
        TiledStream(engines[0].open, first_pass_tiles(tiles), 4), TiledStream(engines[1].open, plans[1], 2)
    )
    (found,) = answers(both, [frame])
    (expected,) = answers(engines[1].open(160, 208), answers(engines[0].open(40, 52), [frame]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
