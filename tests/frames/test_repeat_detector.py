"""Frames that show what the frame before them shows, encoded or not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import media_samples as media
from vsrcli.errors import EngineError
from vsrcli.frames.repeats import MAX_REPEATS, RepeatDetector, shows_same
from vsrcli.frames.resample import resize
from vsrcli.frames.shots import ShotDetector

HEIGHT, WIDTH = 51, 70  # no multiples of a block


def texture(seed: int = 1) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 220, (18, 24, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(3, 0).repeat(3, 1)[:HEIGHT, :WIDTH])


def patterns(frames: list[np.ndarray]) -> str:
    """Return a letter for each frame: R for those that repeat."""
    detector = RepeatDetector()
    return "".join("R" if detector.is_repeat(frame) else "-" for frame in frames)


def test_drawings_on_twos_and_threes_and_scenes_that_stand_still() -> None:
    a, b, c, d = (texture(seed) for seed in range(4))
    assert patterns([a, b, c, d]) == "----"
    assert patterns([a, a, b, b, c, c.copy(), d]) == "-R-R-R-"
    assert patterns([a, a, a, b, b, c, c, c]) == "-RR-R-RR"
    assert patterns([*8 * [a], b, b, *5 * [c]]) == "-RR------R-RR--"
    assert MAX_REPEATS == 2


def test_what_an_encoder_leaves_is_no_difference() -> None:
    rng, frames = np.random.default_rng(2), []
    for seed in range(6):
        drawing = texture(seed)
        frames += [drawing, np.where(rng.random(drawing.shape) < 0.1, drawing + 2, drawing)]
    # How much moves is known from the second drawing on.
    assert patterns(frames) == "--" + 5 * "-R"


@pytest.mark.parametrize("codec", ["-c:v libx264 -crf 23", "-c:v mpeg4 -q:v 4", "-c:v libx265 -crf 24"])
def test_encoded_drawings_on_twos(codec: str, tmp_path: Path) -> None:
    still = resize(np.random.default_rng(3).random((30, 40, 3), np.float32), 120, 160).clip(0, 1)
    drawings = [np.roll(np.round(255 * still).astype(np.uint8), 3 * number, 1) for number in range(12)]
    raw, path, size = tmp_path / "raw", tmp_path / "twos.mkv", ("-s", "160x120", "-pix_fmt", "rgb24")
    np.repeat(drawings, 2, 0).tofile(raw)
    yuv = ("-pix_fmt", "yuv420p", *(("-x265-params", "log-level=error") if "265" in codec else ()))
    media.run_ffmpeg("-f", "rawvideo", *size, "-i", raw, *codec.split(), *yuv, path)
    media.run_ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", raw)
    frames = list(np.fromfile(raw, np.uint8).reshape(-1, 120, 160, 3))
    found = patterns(frames)
    assert found[::2] == 12 * "-"
    assert found[1::2].count("R") >= 6, found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_things_that_move_are_seen(dtype: type) -> None:
    still = texture().astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    code = int(still.max()) // int(texture().max())

    def changed(rows: slice, columns: slice, by: int) -> np.ndarray:
        frame = still.astype(np.int64)
        frame[rows, columns] += np.where(frame[rows, columns] < 128 * code, by, -by) * code
        return frame.astype(dtype)

    noise = changed(slice(None, None, 4), slice(None, None, 4), 3)
    assert shows_same(still, still.copy(), 0)
    assert shows_same(still, noise)
    mean = 3 * noise[::4, ::4].size / noise.size
    assert shows_same(still, noise, 1.01 * mean)
    assert not shows_same(still, noise, 0.99 * mean)
    spark = changed(slice(20, 21), slice(30, 31), 60)
    cursor = changed(slice(10, 22), slice(33, 34), 60)
    corner = changed(slice(HEIGHT - 2, HEIGHT), slice(WIDTH - 2, WIDTH), 90)
    haze = changed(slice(16, 24), slice(16, 24), 10)  # a block, by no more than 10 codes
    for other in (spark, cursor, corner, haze, np.roll(still, 1, 0), np.roll(still, 1, 1)):
        assert not shows_same(still, other)
        assert not shows_same(other, still)


def test_slow_movement_is_seen() -> None:
    """It changes frames no more than an encoder does, but steadily."""
    fade = [np.round(texture() * (1 - 0.0005 * number)).astype(np.uint8) for number in range(8, 38)]
    assert all(shows_same(*pair) for pair in pairwise(fade))
    assert patterns(fade) == 30 * "-"

    ramp = np.linspace(40, 200, WIDTH)[None, :, None] * np.ones((HEIGHT, 1, 3))
    pan = [np.round(ramp + 0.23 * number).astype(np.uint8) for number in range(30)]
    assert all(shows_same(*pair) for pair in pairwise(pan))
    assert patterns(pan[:1] + pan) == "-R" + 29 * "-"


def test_a_scene_that_comes_to_rest_is_computed() -> None:
    """What is left then, an encoder's or faint movement, is not held back."""
    rng, still = np.random.default_rng(5), texture()
    rest = [np.where(rng.random(still.shape) < 0.1, still + 1, still) for _ in range(9)]
    assert patterns([texture(2), still, *rest]) == "--RR" + 7 * "-"


def test_the_next_shot_begins_anew_and_a_state_goes_on() -> None:
    a, b = texture(), texture(2)
    detector = RepeatDetector()
    assert [detector.is_repeat(frame) for frame in (a, a)] == [False, True]
    twin = RepeatDetector()
    twin.restore(detector.state())
    frames = (a, a, b, b)
    assert [twin.is_repeat(each) for each in frames] == [detector.is_repeat(each) for each in frames]
    detector.reset()
    assert not detector.is_repeat(b)
    fresh = RepeatDetector()
    fresh.restore(RepeatDetector().state())
    assert not fresh.is_repeat(a)
    with pytest.raises(EngineError, match="another stream"):
        fresh.restore(ShotDetector().state())
