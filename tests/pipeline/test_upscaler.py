"""Retries after out-of-memory and NaN: the same results, and no frame lost; also in bursts of tiles."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_engine import MixingEngine, MixingStream
from hypothesis import given, settings
from hypothesis import strategies as st

from vsrcli.errors import NonFiniteError, OutOfMemoryError, VsrError
from vsrcli.frames.tiling import TilePlan, plan_tiles, retile_state
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.tiled import TiledStream
from vsrcli.pipeline import upscaler as upscaler_module
from vsrcli.pipeline.passes import Pass
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.pipeline.upscaler import Upscaler

HEIGHT, WIDTH, COUNT, OVERLAP = 40, 56, 9, 2
BURST_FRAME_COUNT = 13
FRAMES = np.random.default_rng(0).random((COUNT, HEIGHT, WIDTH, 3)).astype(np.float32)

Fail = Callable[[int, int], VsrError | None]
Opened = tuple[Upscaler, list[str], list[MixingEngine]]


def make_pass(tiles: TilePlan, tile_pixels: int = 0) -> Pass:
    network = SimpleNamespace(kind="recurrent", multiple=1, tile_pixels=tile_pixels)
    model: Any = SimpleNamespace(architecture=network, checksum="")
    return Pass(model, tiles, OVERLAP, 2 * HEIGHT, 2 * WIDTH)


def make_upscaler(
    monkeypatch: pytest.MonkeyPatch,
    fail: Fail,
    *,
    precision: str = "fp16",
    tile: int = 64,
    tile_pixels: int = 0,
    can_keep_tiles: bool = True,
    engine_type: type[MixingEngine] = MixingEngine,
) -> Opened:
    """Return an upscaler whose engine fails in the requested precision, and never after falling back."""
    notices: list[str] = []
    engines: list[MixingEngine] = []

    def load(model: Any, *, device: str, precision: str, **others: Any) -> MixingEngine:
        engines.append(engine_type(precision, fail if len(engines) == 0 else lambda h, w: None))
        return engines[-1]

    monkeypatch.setattr(upscaler_module, "open_engine", load)
    tiles = plan_tiles(HEIGHT, WIDTH, tile, OVERLAP)
    job = SimpleNamespace(
        passes=[make_pass(tiles, tile_pixels)],
        options=SimpleNamespace(device="cpu", precision=precision, engine="auto"),
        plan=SimpleNamespace(target=Path("out.mkv"), to_stdout=False),
        tiles=(tiles,),
        can_keep_tiles=lambda tiles: can_keep_tiles,
        is_faithful=False,
    )
    reporter = CallbackReporter(on_notice=notices.append)
    return Upscaler(job, [tiles], reporter), notices, engines  # type: ignore[arg-type]


def upscale(upscaler: Upscaler, frames: np.ndarray = FRAMES) -> np.ndarray:
    stream = upscaler.open_stream()
    results = [stream.push(frame) for frame in frames]
    return np.stack([result for result in results if result is not None] + stream.flush())


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    return upscale(make_upscaler(monkeypatch, lambda h, w: None)[0])


def test_planned_tiles_are_no_notice_whatever_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    _, notices, _ = make_upscaler(monkeypatch, lambda h, w: None, can_keep_tiles=False)
    assert notices == []


@pytest.mark.parametrize("first", [0, 1, 4, COUNT - 1])
def test_out_of_memory(first: int, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray) -> None:
    """From the result ``first`` on, no tile larger than 30 pixels fits."""
    calls = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal calls
        calls += 1
        return OutOfMemoryError("too large") if calls > first and max(height, width) > 30 else None

    upscaler, notices, engines = make_upscaler(monkeypatch, fail)
    np.testing.assert_allclose(upscale(upscaler), expected, atol=1e-6)
    assert notices == ["not enough memory for tiles of 56x40: going on with 24x24"]
    assert max(max(size) for size in engines[0].sizes[1:]) == 24
    assert len(engines) == 1
    before = len(notices)
    upscale(upscaler)  # the next shot begins with the smaller tiles
    assert len(notices) == before


@pytest.mark.parametrize("first", [0, 4])
def test_memory_is_free_before_smaller_tiles_take_it(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[tuple[int, weakref.ref[MixingStream]]] = []
    alive: list[int] = []
    calls, cleared = 0, 0

    class CompilingEngine(MixingEngine, StreamingEngine):
        def open(self, height: int, width: int) -> MixingStream:
            alive.extend(side for side, stream in streams if side > width and stream())
            stream = MixingStream(height, width, self._fail)
            streams.append((width, weakref.ref(stream)))
            return stream

        def clear_compiled(self) -> None:
            nonlocal cleared
            cleared += 1

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal calls
        calls += 1
        return OutOfMemoryError("too large") if calls > first and width > 30 else None

    upscaler, notices, _ = make_upscaler(monkeypatch, fail, engine_type=CompilingEngine)
    upscale(upscaler)
    assert (len(notices), alive, cleared) == (1, [], 1)


def test_no_tile_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler, notices, _ = make_upscaler(monkeypatch, lambda h, w: OutOfMemoryError("give a smaller --tile"))
    with pytest.raises(OutOfMemoryError, match="smaller --tile"):
        upscale(upscaler)
    assert 1 <= len(notices) < 5


def test_smaller_tiles_of_a_network_of_one_size_take_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler, notices, engines = make_upscaler(
        monkeypatch, lambda h, w: OutOfMemoryError("too large"), tile_pixels=64 * 64
    )
    with pytest.raises(OutOfMemoryError, match="too large"):
        upscale(upscaler)
    assert (notices, len(engines[0].sizes)) == ([], 1)


@pytest.mark.parametrize("first", [0, 3])
def test_not_finite_in_half_precision(
    first: int, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    calls = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal calls
        calls += 1
        return NonFiniteError("NaN") if calls == first + 1 else None

    upscaler, notices, engines = make_upscaler(monkeypatch, fail)
    np.testing.assert_array_equal(upscale(upscaler), expected)
    assert notices == ["the network gave NaN or infinity in fp16: this shot goes on in fp32"]
    assert [engine.precision for engine in engines] == ["fp16", "fp32"]
    assert len(engines[1].sizes) == 1
    upscale(upscaler)  # the next shot begins in half precision
    assert len(engines[1].sizes) == 1


def test_not_finite_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler, notices, _ = make_upscaler(monkeypatch, lambda h, w: NonFiniteError("NaN"), precision="fp32")
    with pytest.raises(NonFiniteError, match="NaN"):
        upscale(upscaler)
    assert notices == []


def test_resume_after_fallback_in_tiles(monkeypatch: pytest.MonkeyPatch, expected: np.ndarray) -> None:
    """The state of a shot in tiles that has fallen back to fp32 is resumed by another upscaler."""
    errors = [None, None, NonFiniteError("NaN")]
    upscaler, _, _ = make_upscaler(monkeypatch, lambda h, w: errors.pop(0) if errors else None, tile=30)
    stream = upscaler.open_stream()
    results = [stream.push(frame) for frame in FRAMES[:6]]
    state = stream.state()
    other, notices, engines = make_upscaler(monkeypatch, lambda h, w: None, tile=30)
    resumed = other.open_stream()
    resumed.restore(state)
    results += [resumed.push(frame) for frame in FRAMES[6:]]
    actual = [result for result in results if result is not None] + resumed.flush()
    np.testing.assert_allclose(np.stack(actual), expected, atol=1e-6)
    assert [engine.precision for engine in engines] == ["fp16", "fp32"]
    assert notices == []


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 24), st.integers(8, 24), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_retiled_states_are_exact(height: int, width: int, old: int, new: int, overlap: int) -> None:
    plans = [plan_tiles(height, width, max(side, 2 * overlap + 8), overlap) for side in (old, new)]
    engine, frames = MixingEngine(), np.random.default_rng(1).random((4, height, width, 3), np.float32)
    streams = [TiledStream(engine.open, plan, 2) for plan in plans]
    for frame in frames:
        for stream in streams:
            stream.push(frame)
    retiled = retile_state(streams[0].state(), *plans)
    expected = streams[1].state()
    assert retiled.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(retiled[name], array)


def upscale_in_bursts(
    monkeypatch: pytest.MonkeyPatch, folder: Path, burst: int, first: int | None = None
) -> tuple[np.ndarray, list[str], MixingEngine]:
    """Return all results; from the result ``first`` on, no tile larger than 30 pixels fits."""
    calls, notices = 0, []

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal calls
        calls += 1
        short = first is not None and calls > first and max(height, width) > 30
        return OutOfMemoryError("too large") if short else None

    engine = MixingEngine("fp32", fail)

    def load(model: Any, **options: Any) -> MixingEngine:
        return engine

    monkeypatch.setattr(upscaler_module, "open_engine", load)
    tiles = replace(plan_tiles(HEIGHT, WIDTH, 44, OVERLAP), burst=burst)
    job: Any = SimpleNamespace(
        passes=[make_pass(tiles)],
        options=SimpleNamespace(device="cpu", precision="fp32", engine="auto"),
        plan=SimpleNamespace(target=folder / "out.mkv", to_stdout=False),
        can_keep_tiles=lambda tiles: True,
        is_faithful=False,
    )
    stream = Upscaler(job, [tiles], CallbackReporter(on_notice=notices.append)).open_stream()
    frames = np.random.default_rng(0).random((BURST_FRAME_COUNT, HEIGHT, WIDTH, 3)).astype(np.float32)
    results = [stream.push(frame) for frame in frames]
    actual = [result for result in results if result is not None] + stream.flush()
    return np.stack(actual), notices, engine


@pytest.mark.parametrize("first", [0, 3, 9, 20, 2 * BURST_FRAME_COUNT - 1])
def test_burst_is_repeated_with_smaller_tiles(
    first: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected, _, _ = upscale_in_bursts(monkeypatch, tmp_path, 1)
    actual, notices, engine = upscale_in_bursts(monkeypatch, tmp_path, 4, first)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert len(notices) == 1
    assert "not enough memory for tiles of 32x40" in notices[0]
    assert max(engine.sizes[-1]) <= 30
    if first == 0:  # the size that does not fit was opened for the first tile, and not again
        assert [size for size in engine.sizes if max(size) > 30] == [(40, 32)]
    assert list(tmp_path.iterdir()) == []  # temporary files have no name
