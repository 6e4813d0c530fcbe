"""Static frames are computed once, and the output is the same."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import noise_frames, run_stream, tiny_cached

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, upscale
from vsrcli.frames.state import State
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, WindowStream, compile_network
from vsrcli.inference.tiled import BurstTiledStream, TiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import ResizingStream, StaticFrameStream, reuse_static_frames

HEIGHT, WIDTH = 10, 24
PLAN = plan_tiles(HEIGHT, WIDTH, 14, 2, feather=2)
STILLS = noise_frames(4, HEIGHT, WIDTH)
COMPUTED = 7  # equal frames, the first included, until a window of seven repeats

OpenStream = Callable[[], Stream]


def weighted_mean(window: np.ndarray, training: bool) -> np.ndarray:
    """Seven frames, each with a weight of its own, at twice the size."""
    import keras

    weights = np.arange(1, 8, dtype=np.float32)[None, :, None, None, None] / 28
    merged = keras.ops.sum(window * weights, axis=1)
    return keras.ops.repeat(keras.ops.repeat(merged, 2, axis=1), 2, axis=2)


def stream_factories() -> dict[str, tuple[OpenStream, int]]:
    """Return a function that opens a stream of each kind, and its lookahead."""
    cached, window = {}, {}
    model = KerasBackend(tiny_cached(2))

    def open_cached(height: int, width: int) -> Stream:
        size = height, width
        cached[size] = cached.get(size) or compile_network(model, *size)
        return CachedStream(cached[size])

    def open_window(height: int, width: int) -> Stream:
        size = height, width
        window[size] = window.get(size) or compile_network(KerasBackend(weighted_mean), *size)
        return WindowStream(window[size])

    bicubic = ResampleEngine("bicubic", 2).open
    return {
        "cached": (lambda: open_cached(HEIGHT, WIDTH), 3),
        "windowed": (lambda: open_window(HEIGHT, WIDTH), 3),
        "tiled": (lambda: ResizingStream(TiledStream(open_cached, PLAN, 2), 17, 31), 3),
        "bicubic": (lambda: bicubic(HEIGHT, WIDTH), 0),
    }


KINDS = stream_factories()


class CountingStream(Stream):
    """A stream that counts pushes."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.pushes = stream, 0

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self.pushes += 1
        return self.stream.push(frame)

    def flush(self) -> list[np.ndarray]:
        return self.stream.flush()

    def fork(self) -> Stream:
        return self.stream.fork()

    def state(self) -> State:
        return self.stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.stream.restore(state)


def sequence_of(*lengths: int) -> list[np.ndarray]:
    """Return the stills in turn, each for so many frames; every frame an array of its own."""
    return [STILLS[index % 4].copy() for index, length in enumerate(lengths) for _ in range(length)]


@pytest.mark.parametrize("kind", KINDS)
@given(lengths=st.lists(st.integers(1, 14), min_size=1, max_size=5))
@settings(max_examples=5, deadline=None)
def test_the_same_results_bit_for_bit(kind: str, lengths: list[int]) -> None:
    open_stream, lookahead = KINDS[kind]
    frames, reuses = sequence_of(*lengths), []
    inner = CountingStream(open_stream())
    actual = run_stream(StaticFrameStream(inner, lookahead, lambda: reuses.append(1)), frames)
    np.testing.assert_array_equal(np.stack(actual), np.stack(run_stream(open_stream(), frames)))
    expected = sum(max(0, length - 2 * lookahead - 1) for length in lengths)
    assert len(reuses) == expected  # and as many pushes fewer
    assert inner.pushes == len(frames) - expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_every_position(kind: str) -> None:
    """Saved during static frames, before and after; the state is that of a plain stream."""
    open_stream, lookahead = KINDS[kind]
    frames = sequence_of(2, 9, 2)
    expected = run_stream(open_stream(), frames)
    stream, plain = StaticFrameStream(open_stream(), lookahead), open_stream()
    for position in range(len(frames) + 1):
        file = io.BytesIO()
        np.savez(file, **stream.state())  # type: ignore[arg-type]
        file.seek(0)
        state, plain_state = np.load(file, allow_pickle=False), plain.state()
        assert set(state) == set(plain_state)
        for name in plain_state:
            np.testing.assert_array_equal(state[name], plain_state[name])
        other = StaticFrameStream(open_stream(), lookahead)
        other.restore(state)
        remaining = run_stream(other, frames[position:])
        assert len(remaining) == len(frames) - max(0, position - lookahead)
        for result, reference in zip(remaining, expected[len(expected) - len(remaining) :], strict=True):
            np.testing.assert_array_equal(result, reference)
        if position < len(frames):
            stream.push(frames[position])
            plain.push(frames[position])


@pytest.mark.parametrize("kind", ["cached", "windowed"])
@given(position=st.integers(0, 24), lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_the_same_results_where_a_run_goes_on_with_shorter_bursts(
    kind: str, position: int, lengths: list[int]
) -> None:
    """As with a smaller --max-memory, while the picture stands still."""
    open_stream, lookahead = KINDS[kind]
    frames = [*noise_frames(9, HEIGHT, WIDTH), *sequence_of(*lengths)]
    plan = plan_tiles(HEIGHT, WIDTH, None, 0)

    def open_burst(burst: int) -> Stream:
        tiled = BurstTiledStream(
            lambda height, width: open_stream(), replace(plan, burst=burst), 2, lookahead
        )
        return StaticFrameStream(tiled, lookahead + burst - 1)

    stream = open_burst(9)
    results = [stream.push(frame) for frame in frames[:position]]
    other = open_burst(2)
    other.restore(stream.state())
    results = [result for result in results if result is not None] + run_stream(other, frames[position:])
    np.testing.assert_array_equal(np.stack(results), np.stack(run_stream(open_stream(), frames)))


def test_a_fork_is_independent() -> None:
    open_stream, lookahead = KINDS["cached"]
    frames, results = sequence_of(12, 1, 10), []
    stream = StaticFrameStream(open_stream(), lookahead)
    for frame in frames:
        other = stream.fork()
        for _ in range(9):
            other.push(STILLS[3])
        other.flush()
        results.append(stream.push(frame))
    actual = [result for result in results if result is not None] + stream.fork().flush()
    np.testing.assert_array_equal(np.stack(actual), np.stack(run_stream(open_stream(), frames)))


def test_one_code_of_one_pixel_is_a_change() -> None:
    open_stream, lookahead = KINDS["cached"]
    frames = sequence_of(12)
    frames[9][HEIGHT - 1, WIDTH - 1, 2] += np.float32(1 / 255)
    actual = run_stream(StaticFrameStream(open_stream(), lookahead), frames)
    np.testing.assert_array_equal(np.stack(actual), np.stack(run_stream(open_stream(), frames)))


def test_a_recurrent_network_is_not_wrapped() -> None:
    engine = ResampleEngine("bicubic", 2)
    stream = engine.open(HEIGHT, WIDTH)
    assert reuse_static_frames(stream, "recurrent", 3) is stream
    assert reuse_static_frames(stream, "resample", 0) is stream  # costs no more than the comparison
    assert isinstance(reuse_static_frames(stream, "cached", 3), StaticFrameStream)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless video: twenty frames of one slide, then twenty of another."""
    path = tmp_path_factory.mktemp("slides") / "slides.mkv"
    graph = "testsrc=s=32x24:r=25,trim=end_frame=1,loop=19:1:0[a];"
    graph += "mandelbrot=s=32x24:r=25,trim=end_frame=1,loop=19:1:0[b];[a][b]concat"
    media.run_ffmpeg("-filter_complex", graph, "-c:v", "ffv1", path)
    return path


def test_the_summary_counts_repeated_frames(
    slides: Path, tmp_path: Path, vsr: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_weights(tmp_path, "cached")
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    options = ("-m", "duf-s", "-s", "2", "-g", "cpu")
    outcome = vsr("upscale", slides, tmp_path / "out.mkv", *options, "--codec", "ffv1")
    assert outcome.status == 0
    assert f"{2 * (20 - COMPUTED)} of 40 frames were repeated and not computed again" in outcome.err
    moving = media.cfr(tmp_path)
    assert "repeated" not in vsr("upscale", moving, tmp_path / "moving.mkv", *options).err


def test_segments_do_not_show(slides: Path, tmp_path: Path) -> None:
    """A segment that ends in the middle of a slide does not cause it to be computed again."""
    weights = str(tiny_weights(tmp_path, "cached"))
    encode = EncodeOptions(codec="ffv1", overwrite=True)
    outputs = []
    for segment in ("none", 7):
        target = tmp_path / f"{segment}.mkv"
        result = upscale(
            slides, target, Options(Fraction(2), weights, device="cpu", segment=segment, encode=encode)
        )
        assert (result.frames, result.reused_frames) == (40, 2 * (20 - COMPUTED))
        raw = tmp_path / f"{segment}.rgb"
        media.run_ffmpeg("-i", target, "-f", "rawvideo", "-pix_fmt", "rgb24", raw)
        outputs.append(raw.read_bytes())
    assert outputs[0] == outputs[1]
