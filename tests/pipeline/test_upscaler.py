"""Short of memory, or numbers that overflow: the same frame again, and not one lost."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from fake_engine import MixingEngine

from vsrcli.errors import NonFiniteError, OutOfMemoryError, VsrError
from vsrcli.frames.tiling import plan_tiles, retile_state
from vsrcli.inference.tiled import TiledStream
from vsrcli.pipeline import upscaler
from vsrcli.pipeline.upscaler import Upscaler

HEIGHT, WIDTH, COUNT, OVERLAP = 40, 56, 9, 2
FRAMES = np.random.default_rng(0).random((COUNT, HEIGHT, WIDTH, 3)).astype(np.float32)

Fail = Callable[[int, int], VsrError | None]
Opened = tuple[Upscaler, list[str], list[MixingEngine]]


def workshop(
    monkeypatch: pytest.MonkeyPatch, fail: Fail, *, precision: str = "fp16", tile: int = 64
) -> Opened:
    """A workshop whose engines fail in the precision that was asked for, and never in fp32."""
    notices: list[str] = []
    engines: list[MixingEngine] = []

    def load(model: Any, *, device: str, precision: str, **others: Any) -> MixingEngine:
        engines.append(MixingEngine(precision, fail if len(engines) == 0 else lambda h, w: None))
        return engines[-1]

    monkeypatch.setattr(upscaler, "open_engine", load)
    job = SimpleNamespace(
        model=SimpleNamespace(
            architecture=SimpleNamespace(kind="recurrent"), second_pass=None
        ),  # it keeps a trace
        options=SimpleNamespace(device="cpu", precision=precision, engine="auto"),
        plan=SimpleNamespace(height=2 * HEIGHT, width=2 * WIDTH),
        overlap=OVERLAP,
        geometry=SimpleNamespace(visible_share=(1.0, 1.0)),
        fits_budget=lambda tiles: True,
    )
    return Upscaler(job, plan_tiles(HEIGHT, WIDTH, tile, OVERLAP), notices.append), notices, engines  # type: ignore[arg-type]


def run(shop: Upscaler, frames: np.ndarray = FRAMES) -> np.ndarray:
    stream = shop.open_stream()
    results = [stream.push(frame) for frame in frames]
    return np.stack([result for result in results if result is not None] + stream.flush())


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    return run(workshop(monkeypatch, lambda h, w: None)[0])


@pytest.mark.parametrize("first", [0, 1, 4, COUNT - 1])
def test_out_of_memory(first: int, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray) -> None:
    """From the answer ``first`` on, nothing larger than 30 pixels fits."""
    asked = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal asked
        asked += 1
        return OutOfMemoryError("too large") if asked > first and max(height, width) > 30 else None

    shop, notices, engines = workshop(monkeypatch, fail)
    np.testing.assert_allclose(run(shop), expected, atol=1e-6)
    assert notices == ["not enough memory for tiles of 56x40: going on with 24x24"]
    assert max(max(size) for size in engines[0].sizes[1:]) == 24
    assert len(engines) == 1
    before = len(notices)
    run(shop)  # the next shot begins with the smaller tiles
    assert len(notices) == before


def test_no_tile_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, notices, _ = workshop(monkeypatch, lambda h, w: OutOfMemoryError("give a smaller --tile"))
    with pytest.raises(OutOfMemoryError, match="smaller --tile"):
        run(shop)
    assert 1 <= len(notices) < 5


@pytest.mark.parametrize("first", [0, 3])
def test_not_finite_in_half_precision(
    first: int, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    asked = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal asked
        asked += 1
        return NonFiniteError("NaN") if asked == first + 1 else None

    shop, notices, engines = workshop(monkeypatch, fail)
    np.testing.assert_array_equal(run(shop), expected)
    assert notices == ["the network gave NaN or infinity in fp16: this shot goes on in fp32"]
    assert [engine.precision for engine in engines] == ["fp16", "fp32"]
    assert len(engines[1].sizes) == 1
    run(shop)  # the next shot begins in half precision
    assert len(engines[1].sizes) == 1


def test_not_finite_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, notices, _ = workshop(monkeypatch, lambda h, w: NonFiniteError("NaN"), precision="fp32")
    with pytest.raises(NonFiniteError, match="NaN"):
        run(shop)
    assert notices == []


def test_both_at_once_and_then_elsewhere(monkeypatch: pytest.MonkeyPatch, expected: np.ndarray) -> None:
    """The state of a shot that has gone over to fp32 and to tiles goes on in another process."""
    troubles = [None, None, NonFiniteError("NaN")]
    shop, _, _ = workshop(monkeypatch, lambda h, w: troubles.pop(0) if troubles else None, tile=30)
    stream = shop.open_stream()
    results = [stream.push(frame) for frame in FRAMES[:6]]
    state, asked = stream.state(), []

    def fail(height: int, width: int) -> VsrError | None:
        asked.append((height, width))
        return OutOfMemoryError("too large") if len(asked) == 1 else None

    other, notices, engines = workshop(monkeypatch, lambda h, w: None, tile=30)
    again = other.open_stream()
    again.restore(state)
    results += [again.push(frame) for frame in FRAMES[6:]]
    found = [result for result in results if result is not None] + again.flush()
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-6)
    assert [engine.precision for engine in engines] == ["fp16", "fp32"]
    assert notices == []


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 24), st.integers(8, 24), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_states_are_cut_anew_exactly(height: int, width: int, old: int, new: int, overlap: int) -> None:
    plans = [plan_tiles(height, width, max(side, 2 * overlap + 8), overlap) for side in (old, new)]
    engine, frames = MixingEngine(), np.random.default_rng(1).random((4, height, width, 3), np.float32)
    streams = [TiledStream(engine.open, plan, 2) for plan in plans]
    for frame in frames:
        for stream in streams:
            stream.push(frame)
    cut = retile_state(streams[0].state(), *plans)
    wanted = streams[1].state()
    assert cut.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(cut[name], array)
