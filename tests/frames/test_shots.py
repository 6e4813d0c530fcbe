"""Shot changes in generated videos. Figures on real footage: benchmarks/shots.py."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from vsrcli.errors import EngineError
from vsrcli.frames.resample import resize
from vsrcli.frames.shots import ShotDetector, thumbnail

HEIGHT, WIDTH = 90, 160


def scene(seed: int, height: int = 240, width: int = 420) -> np.ndarray:
    """A still image with detail at all sizes, uint8, larger than the frame so that the camera can move."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 90), (7, 60), (20, 35), (60, 15)):
        image += weight * (resize(rng.random((cells, 2 * cells, 3)), height, width) - 0.5)
    return np.clip(image + rng.uniform(70, 170, 3), 0, 255).astype(np.uint8)


def shot(
    seed: int, count: int, path: Callable[[int], tuple[float, float]] = lambda i: (0, 0)
) -> list[np.ndarray]:
    """``count`` frames of a camera over a scene; ``path`` gives its offset (y, x) from the middle."""
    image = scene(seed)
    frames = []
    for i in range(count):
        dy, dx = path(i)
        y, x = int(75 + dy), int(130 + dx)
        frames.append(image[y : y + HEIGHT, x : x + WIDTH])
    return frames


def cuts(frames: Iterable[np.ndarray], detector: ShotDetector | None = None) -> list[int]:
    detector = detector or ShotDetector()
    return [i for i, frame in enumerate(frames) if detector.is_cut(frame)]


def grey(value: int, count: int) -> list[np.ndarray]:
    return [np.full((HEIGHT, WIDTH, 3), value, np.uint8)] * count


def test_cuts_between_stills_and_moving_shots() -> None:
    video = shot(1, 8) + shot(2, 9, lambda i: (i, 4 * i)) + shot(3, 7, lambda i: (-2 * i, 0)) + shot(4, 5)
    assert cuts(video) == [8, 17, 24]


def test_shots_of_one_frame() -> None:
    video = shot(1, 4) + shot(2, 1) + shot(3, 1) + shot(1, 4)
    assert cuts(video) == [4, 5, 6]


def test_cutting_back_and_forth() -> None:
    a, b = shot(1, 4), shot(2, 4)
    assert cuts(a + b + a + b) == [4, 8, 12]


def test_a_still_with_noise_is_one_shot() -> None:
    rng = np.random.default_rng(0)
    still = shot(5, 1)[0].astype(np.float64)
    assert (
        cuts(np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8) for _ in range(20))
        == []
    )


def test_pans_and_shake_are_not_cuts() -> None:
    rng = np.random.default_rng(1)
    shaken = shot(6, 25, lambda i: tuple(rng.integers(-5, 6, 2)))
    panned = shot(7, 25, lambda i: (0, -120 + 10 * i))  # 6 % of the width a frame
    assert cuts(shaken) == []
    assert cuts(panned) == []


@pytest.mark.parametrize("gain", [0.6, 1.4, 2.0])
def test_a_flash_of_one_frame_is_not_a_cut(gain: float) -> None:
    video = shot(8, 20, lambda i: (0, i))
    video[9] = np.clip(video[9] * gain, 0, 255).astype(np.uint8)
    assert cuts(video) == []


def test_a_white_frame_and_a_decaying_flash_are_not_cuts() -> None:
    video = shot(9, 20, lambda i: (0, i))
    for i, white in ((8, 1.0), (9, 0.8), (10, 0.5), (11, 0.2)):
        video[i] = (white * 255 + (1 - white) * video[i]).astype(np.uint8)
    assert cuts(video) == []


def test_another_shot_after_a_flash_is_a_cut() -> None:
    assert cuts(shot(1, 6) + grey(255, 1) + shot(2, 6)) == [7]


@pytest.mark.parametrize("steps", [8, 12, 25])
def test_fades_are_not_cuts_but_the_first_frame_after_black_is(steps: int) -> None:
    video = shot(10, steps, lambda i: (0, i))
    levels = np.linspace(1, 0, steps)
    dimmed = [(frame * level).astype(np.uint8) for frame, level in zip(video, levels, strict=True)]
    assert cuts(dimmed) == []
    assert cuts(dimmed[::-1]) in ([], [1])
    assert cuts(grey(int(230 * level), 1)[0] for level in levels) == []


def test_black_frames_between_shots() -> None:
    assert cuts(shot(1, 5) + grey(0, 3) + shot(2, 5)) == [5, 8]
    assert cuts(grey(0, 10)) == []


def test_night_scenes_are_cut_too() -> None:
    video = [(frame * 0.2).astype(np.uint8) for frame in shot(1, 5) + shot(2, 5)]
    assert cuts(video) == [5]


def test_the_number_type_does_not_matter() -> None:
    video = shot(1, 5) + shot(2, 5, lambda i: (0, 3 * i))
    ten_bit = [frame.astype(np.uint16) * 257 for frame in video]
    floats = [frame.astype(np.float32) / 255 for frame in video]
    assert cuts(video) == cuts(ten_bit) == cuts(floats) == [5]
    np.testing.assert_allclose(thumbnail(video[0]), thumbnail(ten_bit[0]), atol=1e-6)
    np.testing.assert_allclose(thumbnail(video[0]), thumbnail(floats[0]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (16, 300), (300, 16), (540, 960)])
def test_any_frame_size(height: int, width: int) -> None:
    frames = [np.full((height, width, 3), value, np.uint8) for value in (40, 40, 41, 0)]
    assert thumbnail(frames[0]).shape == (18, 32)
    assert cuts(frames) == [3]


def test_a_higher_threshold_detects_fewer_cuts() -> None:
    assert cuts(shot(1, 5) + shot(2, 5), ShotDetector(threshold=0.9)) == []


def test_frames_are_neither_held_nor_changed() -> None:
    frames = [frame.copy() for frame in shot(1, 3) + shot(2, 3)]
    reused = np.empty_like(frames[0])
    detector, positions = ShotDetector(), []
    for i, frame in enumerate(frames):
        reused[:] = frame  # a decoder may reuse its buffer
        if detector.is_cut(reused):
            positions.append(i)
        np.testing.assert_array_equal(reused, frame)
    assert positions == [3]


def test_a_state_can_be_restored_at_any_position() -> None:
    """Cuts and flashes are detected alike wherever a detector was replaced."""
    video = (
        shot(1, 5) + shot(2, 8, lambda i: (i, 4 * i)) + grey(255, 1) + shot(3, 6) + grey(0, 2) + shot(4, 4)
    )
    video[9] = np.clip(video[9] * 1.6, 0, 255).astype(np.uint8)
    expected, flash_count = cuts(video), 0
    assert len(expected) >= 3
    for position in range(len(video) + 1):
        detector, other = ShotDetector(), ShotDetector()
        before = cuts(video[:position], detector)
        file = io.BytesIO()
        np.savez(file, **detector.state())  # type: ignore[arg-type]
        file.seek(0)
        other.restore(np.load(file, allow_pickle=False))
        assert before + [position + i for i in cuts(video[position:], other)] == expected
        flash_count += len(detector.state()["before_flash"])
        assert sum(array.nbytes for array in detector.state().values()) <= 5_000
    assert flash_count > 0


def test_a_restored_detector_is_equal_bit_for_bit() -> None:
    video = shot(2, 12, lambda i: (i, 4 * i))
    one, other = ShotDetector(), ShotDetector()
    cuts(video[:6], one)
    other.restore(one.state())
    cuts(video[6:], one)
    cuts(video[6:], other)
    for name, array in one.state().items():
        np.testing.assert_array_equal(other.state()[name], array)


def test_foreign_states_are_refused() -> None:
    state = ShotDetector().state()
    for invalid in ({}, {**state, "last": np.zeros((1, 9, 9), np.float32)}, {**state, "frames": np.zeros(1)}):
        with pytest.raises(EngineError, match="this saved state is another stream's"):
            ShotDetector().restore(invalid)


def test_invalid_frames() -> None:
    with pytest.raises(ValueError, match=r"not \(4, 4\)"):
        ShotDetector().is_cut(np.zeros((4, 4), np.uint8))
    with pytest.raises(TypeError, match="int64"):
        ShotDetector().is_cut(np.zeros((4, 4, 3), np.int64))
