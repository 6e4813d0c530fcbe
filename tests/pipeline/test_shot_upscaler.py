"""A ShotUpscaler can be saved after any group of frames and resumed in another process."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from fake_engine import MixingStream

from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.tiled import BurstTiledStream
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import ChainedStream, ResizingStream
from vsrcli.media.types import Frame
from vsrcli.pipeline.shot_upscaler import ShotUpscaler

HEIGHT, WIDTH = 36, 64


def three_shots(*, high_bit_depth: bool = False, alpha: bool = False) -> list[Frame]:
    """Return three shots of drifting textures; the second is a single frame."""
    rng, frames = np.random.default_rng(3), []
    top = 65535 if high_bit_depth else 255
    for length in (6, 1, 5):
        texture = rng.random((HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
        for shift in range(length):
            pixels = (np.roll(texture, shift, 1) * top).astype(np.uint16 if high_bit_depth else np.uint8)
            alpha_plane = pixels[..., 0].copy() if alpha else None
            frames.append(Frame(pixels, 1001 * len(frames), Fraction(1, 24000), alpha_plane))
    return frames


def save_and_load(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    return dict(np.load(file, allow_pickle=False))


def assert_same(actual: list[Frame], expected: list[Frame]) -> None:
    assert [frame.time for frame in actual] == [frame.time for frame in expected]
    for one, other in zip(actual, expected, strict=True):
        assert one.pixels.dtype == other.pixels.dtype
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.alpha is None) == (other.alpha is None)
        if one.alpha is not None:
            np.testing.assert_array_equal(one.alpha, other.alpha)


@pytest.mark.parametrize("kind", [{}, {"high_bit_depth": True}, {"alpha": True}])
def test_resume_after_every_group(kind: dict[str, bool]) -> None:
    frames = three_shots(**kind)
    shots = ShotUpscaler(lambda: MixingStream(HEIGHT, WIDTH))
    expected = list(shots.upscale(frames))
    assert [frame.time for frame in expected] == [frame.time for frame in frames]
    assert shots.count == 3

    shots, actual, checkpoints = ShotUpscaler(lambda: MixingStream(HEIGHT, WIDTH)), [], []
    for group in shots.upscale_grouped(frames):
        actual += group
        checkpoints.append((save_and_load(shots.state()), list(actual), shots.at_shot_boundary))
    assert [at_boundary for *_, at_boundary in checkpoints].count(True) == 3

    for state, before, at_boundary in checkpoints:
        resumed = ShotUpscaler(lambda: MixingStream(HEIGHT, WIDTH), state)
        assert resumed.at_shot_boundary == at_boundary
        last_input = resumed.last_input
        assert last_input is not None
        assert last_input.pts == frames[last_input.frame_count - 1].pts
        remaining = [
            frame for group in resumed.upscale_grouped(frames[last_input.frame_count :]) for frame in group
        ]
        assert_same(before + remaining, expected)
        assert resumed.count == 3


@pytest.mark.parametrize("passes", [1, 2])
def test_results_that_longer_bursts_hold_come_before_the_next_frame(passes: int) -> None:
    """A run that goes on with less memory, in the middle of a shot; its state can be saved meanwhile."""

    def open_shot(burst: int) -> ChainedStream:
        streams: list[Stream] = []
        for number in range(passes):
            scale = 2**number
            plan = replace(plan_tiles(scale * HEIGHT, scale * WIDTH, None, 0), burst=burst)
            stream = BurstTiledStream(MixingStream, plan, 2, 1)
            streams.append(ResizingStream(stream, 2 * scale * HEIGHT, 2 * scale * WIDTH))
        return ChainedStream(streams)

    frames = three_shots()
    expected = list(ShotUpscaler(lambda: open_shot(1)).upscale(frames))
    first, actual = ShotUpscaler(lambda: open_shot(8)), []
    for number, group in zip(range(5), first.upscale_grouped(frames), strict=False):
        assert group == [], number
    resumed = ShotUpscaler(lambda: open_shot(2), save_and_load(first.state()))
    for group in resumed.upscale_grouped([]):
        actual += group
        if len(actual) == 1:
            break
    resumed = ShotUpscaler(lambda: open_shot(2), save_and_load(resumed.state()))
    groups = list(resumed.upscale_grouped(frames[5:]))
    assert len(groups[0]) == 1
    assert_same(actual + [frame for group in groups for frame in group], expected)


class SingleStream(MixingStream):
    """Remembers frames before, and looks at none after."""

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._result(frame, frame)

    def flush(self) -> list[np.ndarray]:
        return []


def on_twos_and_threes(*, high_bit_depth: bool, alpha: bool = False) -> tuple[list[Frame], list[int]]:
    """Return two shots whose drawings are shown one to five times, with alpha that moves all the time; and
    the numbers of those that a stream has to see."""
    drawings = three_shots(high_bit_depth=high_bit_depth, alpha=alpha)
    counts = (2, 3, 1, 5, 2, 3, 2, 1, 2, 4, 3, 3)
    frames: list[Frame] = []
    seen: list[int] = []
    for drawing, count in zip(drawings, counts, strict=True):
        seen += [len(frames), *range(len(frames) + 3, len(frames) + count)]
        for shift in range(count):
            # Opaque enough, so that colours are not taken from pixels around.
            plane = None if drawing.alpha is None else np.roll(drawing.alpha | 0x8000, shift, 0)
            pts = 1001 * len(frames)
            frames.append(replace(drawing, pixels=drawing.pixels.copy(), pts=pts, alpha=plane))
    return frames, seen


@pytest.mark.parametrize("stream", [MixingStream, SingleStream])
@pytest.mark.parametrize("kind", [{"high_bit_depth": False}, {"high_bit_depth": True, "alpha": True}])
def test_frames_that_are_repeated_are_computed_once(
    stream: type[MixingStream], kind: dict[str, bool]
) -> None:
    """Also by a run that is resumed after any frame, with times and alpha of their own."""
    frames, seen = on_twos_and_threes(**kind)
    drawings = [frames[number] for number in seen]
    computed = list(ShotUpscaler(lambda: stream(HEIGHT, WIDTH)).upscale(drawings))
    expected = [
        replace(computed[index], pts=frame.pts, alpha=every.alpha)
        for number, (frame, every) in enumerate(
            zip(frames, ShotUpscaler(lambda: stream(HEIGHT, WIDTH)).upscale(frames), strict=True)
        )
        for index in [int(np.searchsorted(seen, number, side="right")) - 1]
    ]
    repeats: list[int] = []
    shots = ShotUpscaler(lambda: stream(HEIGHT, WIDTH), on_repeat=lambda: repeats.append(1))
    actual, states = [], []
    for group in shots.upscale_grouped(frames):
        actual += group
        states.append((save_and_load(shots.state()), list(actual)))
    assert_same(actual, expected)
    assert len(repeats) == len(frames) - len(seen)
    assert shots.count == 3
    for state, before in states:
        resumed = ShotUpscaler(lambda: stream(HEIGHT, WIDTH), state, on_repeat=lambda: None)
        last = resumed.last_input
        assert last is not None
        assert_same(before + list(resumed.upscale(frames[last.frame_count :])), expected)


def test_no_frames() -> None:
    shots = ShotUpscaler(lambda: MixingStream(HEIGHT, WIDTH))
    assert list(shots.upscale_grouped([])) == []
    assert shots.last_input is None
    assert ShotUpscaler(lambda: MixingStream(HEIGHT, WIDTH), shots.state()).last_input is None
