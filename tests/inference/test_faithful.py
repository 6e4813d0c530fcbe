"""Results closer to the source: shares of interpolation, and colours that a network has shifted."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import pytest

from vsrcli.errors import EngineError
from vsrcli.frames.color_transfer import transfer_color
from vsrcli.frames.resample import resize
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.faithful import FaithfulStream
from vsrcli.inference.types import Stream

CODE = 1 / 255
H, W = 37, 50
RNG = np.random.default_rng(3)
FRAMES = [
    resize(RNG.random((6, 8, 3)), H, W, "bicubic").clip(0.1, 0.9)
    + np.float32(0.05) * RNG.random((H, W, 3), "f4")
    for _ in range(7)
]


class LateStream(Stream):
    """Interpolates to twice the size, two frames late, and adds a shift."""

    def __init__(self, shift: tuple[float, float, float] = (0, 0, 0)) -> None:
        self._shift, self._frames = np.array(shift, np.float32), deque[np.ndarray]()

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self._frames.append(frame)
        return self._result() if len(self._frames) > 2 else None

    def flush(self) -> list[np.ndarray]:
        return [self._result() for _ in range(len(self._frames))]

    def fork(self) -> LateStream:
        twin = LateStream()
        twin._shift, twin._frames = self._shift, self._frames.copy()
        return twin

    def state(self) -> dict[str, np.ndarray]:
        return {"late": np.array([*self._frames], np.float32).reshape(-1, H, W, 3)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._frames = deque(state["late"])

    def _result(self) -> np.ndarray:
        result = resize(self._frames.popleft(), 2 * H, 2 * W, "bicubic") + self._shift
        return result.clip(0, 1)


def open_stream(inner: LateStream, **options: object) -> FaithfulStream:
    interpolation = ResampleEngine("lanczos", 2).open(H, W)
    return FaithfulStream(inner, H, W, interpolation, **options)  # type: ignore[arg-type]


def run(stream: FaithfulStream | LateStream, frames: list[np.ndarray]) -> list[np.ndarray]:
    results = [stream.push(frame) for frame in frames]
    return [result for result in results if result is not None] + stream.flush()


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.9])
def test_strength_is_linear(strength: float) -> None:
    network = run(LateStream((0.1, 0, 0)), FRAMES)
    blended = run(open_stream(LateStream((0.1, 0, 0)), strength=strength), FRAMES)
    assert len(blended) == len(FRAMES)
    for frame, result, picture in zip(FRAMES, blended, network, strict=True):
        plain = resize(frame, 2 * H, 2 * W, "lanczos3").clip(0, 1)
        np.testing.assert_allclose(result, plain + strength * (picture - plain), atol=1e-6)


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 6, 7])
def test_restored_and_forked_streams_go_on_bit_for_bit(stop: int) -> None:
    options = {"strength": 0.5, "keep_color": True}
    expected = run(open_stream(LateStream(), **options), FRAMES)
    stream = open_stream(LateStream(), **options)
    before = [result for frame in FRAMES[:stop] if (result := stream.push(frame)) is not None]
    twin, restored = stream.fork(), open_stream(LateStream(), **options)
    restored.restore(stream.state())
    for going_on in (stream, twin, restored):
        np.testing.assert_array_equal([*before, *run(going_on, FRAMES[stop:])], expected)
    with pytest.raises(EngineError, match="sources"):
        open_stream(LateStream()).restore({"late": np.zeros((0, H, W, 3), "f4")})


def test_results_are_not_changed_in_place() -> None:
    class Repeating(LateStream):
        result = np.full((2 * H, 2 * W, 3), 0.25, np.float32)

        def push(self, frame: np.ndarray) -> np.ndarray:
            return self.result

    stream = open_stream(Repeating(), strength=0.5, keep_color=True)
    first = stream.push(FRAMES[0])
    np.testing.assert_array_equal(stream.push(FRAMES[0]), first)
    assert np.all(Repeating.result == np.float32(0.25))


@pytest.mark.parametrize("shift", [(0.04, -0.03, 0.02), (-0.05, -0.05, -0.05)])
def test_shifted_colours_come_back(shift: tuple[float, float, float]) -> None:
    for frame, result in zip(
        FRAMES, run(open_stream(LateStream(shift), keep_color=True), FRAMES), strict=True
    ):
        assert np.abs(result.mean((0, 1)) - frame.mean((0, 1))).max() < CODE
        plain = resize(frame, 2 * H, 2 * W, "bicubic").clip(0, 1)
        assert np.abs(result - plain).max() < 1.5 * CODE  # up to the edges of the frame


def test_a_faithful_picture_hardly_changes() -> None:
    for frame, result in zip(FRAMES, run(open_stream(LateStream(), keep_color=True), FRAMES), strict=True):
        assert np.abs(result - resize(frame, 2 * H, 2 * W, "bicubic").clip(0, 1)).max() < 0.5 * CODE


def test_a_sharp_edge_gets_no_halo() -> None:
    source = np.full((40, 60, 3), 0.2, np.float32)
    source[:, 30:] = 0.8
    sharp = source.repeat(4, 0).repeat(4, 1)
    np.testing.assert_allclose(transfer_color(sharp, source), sharp, atol=1e-6)
    softened = resize(source, 160, 240, "linear")
    assert np.abs(transfer_color(softened, source) - softened).max() < CODE


def test_colours_of_a_crop_and_of_tiny_frames() -> None:
    source = np.zeros((48, 64, 3), np.float32)
    source[6:-6] = 0.5
    shown = np.full((144, 256, 3), 0.45, np.float32)  # without the bars
    np.testing.assert_allclose(transfer_color(shown, source, (1.0, 0.75)), 0.5, atol=1e-6)
    for side in (1, 2, 9):
        tiny = np.full((side, side, 3), 0.5, np.float32)
        np.testing.assert_allclose(transfer_color(tiny.repeat(2, 0) + 0.1, tiny), 0.5, atol=1e-6)
