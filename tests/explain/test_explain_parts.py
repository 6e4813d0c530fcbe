"""The parts of ``vsr explain``: filters, pixels, moments, sequences."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_samples as media
from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop
from vsrcli.explain import figures
from vsrcli.explain.attribution import Influence
from vsrcli.explain.filters import apply_filters, shapes_of_filters, softmax, to_picture
from vsrcli.explain.moment import read_moment
from vsrcli.explain.networks import middle_of, pad_time
from vsrcli.explain.page import memory_curve
from vsrcli.explain.pixels import interesting_pixels, named_pixels
from vsrcli.models.layers import interpolating_bias


def filters_of(weights: dict[tuple[int, int], float], scale: int = 2) -> np.ndarray:
    """Return the same filter, by (row, column) from the middle, for every pixel of a 2x3 frame."""
    one = np.zeros((5, 5), np.float32)
    for (row, column), weight in weights.items():
        one[row + 2, column + 2] = weight
    return np.broadcast_to(one.reshape(1, 1, 25, 1), (2, 3, 25, scale**2)).copy()


def test_a_filter_that_copies_has_no_spread() -> None:
    shapes = shapes_of_filters(filters_of({(0, 0): 1.0}))
    assert shapes.spread.shape == (4, 6)
    np.testing.assert_allclose(shapes.spread, 0, atol=1e-5)
    np.testing.assert_allclose(shapes.shift_x[0, :2], (0.25, -0.25), atol=1e-6)  # towards the source pixel


@pytest.mark.parametrize(
    ("ends", "angle"), [(((0, -1), (0, 1)), 0), (((-1, 0), (1, 0)), 90), (((-1, -1), (1, 1)), 45)]
)
def test_the_axis_of_a_line(ends: Any, angle: float) -> None:
    """Degrees from the right, downwards."""
    shapes = shapes_of_filters(filters_of(dict.fromkeys(ends, 0.5)))
    np.testing.assert_allclose(np.degrees(shapes.angle) % 180, angle, atol=1e-3)
    np.testing.assert_allclose(shapes.elongation, 1, atol=1e-5)
    assert shapes.spread.min() >= 1 - 1e-5


def test_filters_of_an_untrained_network_do_not_reach_beyond_their_place() -> None:
    logits = interpolating_bias(4).reshape(1, 1, 16, 25).transpose(0, 1, 3, 2)
    shapes = shapes_of_filters(softmax(logits))
    assert np.abs(shapes.shift_x).max() < 0.05
    assert np.abs(shapes.shift_y).max() < 0.05


def test_filtering_is_that_of_the_networks() -> None:
    from vsrcli.models.layers import apply_dynamic_filters, depth_to_space, pad_border

    rng = np.random.default_rng(0)
    logits, frame = rng.normal(size=(6, 7, 25, 9)).astype("f4"), rng.random((6, 7, 3), np.float32)
    residual = rng.normal(size=(6, 7, 3, 9)).astype("f4")
    expected: Any = apply_dynamic_filters(pad_border(frame[None]), logits[None], residual[None])
    found = apply_filters(softmax(logits), frame) + to_picture(residual)
    np.testing.assert_allclose(found, np.asarray(depth_to_space(expected, 3))[0], atol=1e-5)


def test_pixels_are_where_they_should_be() -> None:
    frame = np.full((80, 120, 3), 0.5, np.float32)
    frame[:, 30:] = 0.8  # an edge from top to bottom
    board = np.indices((20, 20)).sum(axis=0) // 2 % 2
    frame[50:70, 80:100] = board[..., None]
    previous = frame.copy()
    previous[10:20, 90:100] = 0
    found = {pixel.kind: pixel for pixel in interesting_pixels(frame, previous)}
    assert list(found) == ["edge", "texture", "flat", "motion"]
    assert 50 <= found["texture"].y < 70
    assert 80 <= found["texture"].x < 100
    assert 10 <= found["motion"].y < 20
    assert 90 <= found["motion"].x < 100
    assert len({(each.x, each.y) for each in found.values()}) == 4
    assert "motion" not in {each.kind for each in interesting_pixels(frame, frame)}


def test_tiny_frames_have_pixels_too() -> None:
    assert interesting_pixels(np.zeros((1, 1, 3), np.float32))
    assert len(interesting_pixels(np.zeros((16, 16, 3), np.float32))) >= 1


def test_a_pixel_outside_is_named() -> None:
    assert [(each.x, each.y) for each in named_pixels([(3, 4), (3, 4)], 8, 8)] == [(3, 4)]
    with pytest.raises(UsageError, match="columns 0 to 7 and rows 0 to 5"):
        named_pixels([(8, 2)], 8, 6)


def test_time_is_padded_as_streams_pad_it() -> None:
    sequence = np.arange(5)[None]
    assert pad_time(sequence, 2, 1).tolist() == [[0, 0, 0, 1, 2, 3, 4, 4]]
    assert pad_time(sequence, 1, 3).tolist() == [[0, 0, 1, 2]]
    assert pad_time(sequence, 0, 0).tolist() == [[0, 1, 2, 3, 4]]


def test_the_picture_of_a_layer_is_that_of_the_frame() -> None:
    frames = np.arange(7)[:, None, None, None]
    assert middle_of(frames, 7, 3).item() == 3
    assert middle_of(frames[1:-1], 7, 3).item() == 3  # after a valid convolution
    assert middle_of(frames[None], 7, 3).item() == 3
    assert middle_of(frames[:1], 7, 3).item() == 0
    long = np.arange(12)[:, None, None, None]  # a recurrent network's: the newest window counts
    assert middle_of(long[3:-3], 12, 3).item() == 8


def test_a_moment_stays_inside_its_shot(tmp_path: Path, ffmpeg: Any) -> None:
    path = tmp_path / "two.mkv"
    halves = [media.moving_pattern(rate="24", source=name) for name in ("testsrc2", "mandelbrot")]
    media.run_ffmpeg(*halves[0], *halves[1], "-filter_complex", "[0][1]concat=n=2:v=1", "-c:v", "ffv1", path)
    moment = read_moment(path, Fraction(11, 24), before=4, after=3, ffmpeg=ffmpeg)
    assert (moment.offsets(), moment.ends_shot, moment.begins_shot) == ([-4, -3, -2, -1, 0], True, False)
    moment = read_moment(path, Fraction(13, 24), before=4, after=3, ffmpeg=ffmpeg)
    assert (moment.offsets(), moment.begins_shot) == ([-1, 0, 1, 2, 3], True)
    assert moment.time == Fraction(542, 1000)  # Matroska rounds


@pytest.mark.parametrize("function", [media.cfr, media.vfr, media.video_starts_late])
def test_the_frame_is_the_one_that_is_shown(function: Any, sample: Any, ffmpeg: Any) -> None:
    from vsrcli.media.decoder import Decoder
    from vsrcli.media.probe import probe

    path = sample(function)
    source = probe(path)
    with Decoder(source, ffmpeg=ffmpeg) as decoder:
        frames = [(frame.time - source.start, frame.pixels) for frame in decoder]
    for number in (0, 5, len(frames) - 1):
        time, pixels = frames[number]
        moment = read_moment(path, time, before=3, after=3, ffmpeg=ffmpeg)
        assert moment.time == time
        np.testing.assert_allclose(moment.frames[moment.centre], pixels / 255, atol=1e-6)
        assert moment.following == min(3, len(frames) - 1 - number)


@pytest.mark.parametrize(("count", "labels"), [(1, [1]), (12, [*range(1, 13)]), (40, [*range(1, 41, 4)])])
def test_labels_of_long_memories_do_not_overlap(count: int, labels: list[int]) -> None:
    memory = tuple(1 / number for number in range(1, count + 1))
    nothing = np.zeros((3, 3))
    influence = Influence((0,), (0.0,), (0.0,), None, nothing, DetailCrop(0, 0, 3, 3), False, memory)
    svg = memory_curve(influence, 0, "memory")
    assert [*map(int, re.findall(r'class="label"[^>]*>-(\d+)<', svg))] == labels


@pytest.mark.parametrize("at", [33, 38])
def test_a_frame_that_stays_for_seconds_is_the_one_that_is_shown(
    at: int, tmp_path: Path, ffmpeg: Any
) -> None:
    """A recording of a screen: 25 frames a second, but none from 30 s to 35 s, and the last one stays."""
    path = tmp_path / "screen.mp4"
    times = "setpts=if(gt(N\\,25)\\,35+(N-26)/25\\,29+N/25)/TB"
    stays = "setts=duration=if(eq(N\\,35)\\,5/TB\\,DURATION)"
    media.run_ffmpeg(
        *media.moving_pattern(36, rate="25"), *media.sine_tone(40),
        "-vf", times, "-fps_mode", "vfr", "-bf", "0", "-bsf:v", stays, path,
    )  # fmt: skip
    moment = read_moment(path, Fraction(at), before=2, after=2, ffmpeg=ffmpeg)
    assert float(moment.time) == pytest.approx(30 if at == 33 else 35.36, abs=0.01)
    assert (moment.centre, moment.following) == (2, 2 if at == 33 else 0)


def test_heights_and_numbers_of_charts() -> None:
    assert figures.log_height(255.0) == 1
    assert figures.log_height(float("nan")) == 0
    assert figures.log_height(1e-6) == 0
    assert [figures.format_change(v) for v in (float("nan"), 0.0, 1e-5, 0.25, 3.21, 97.0)] == [
        "–",
        "0",
        "<0.001",
        "0.2",
        "3.2",
        "97",
    ]


@pytest.mark.parametrize("position", [0, 1, 7, 11])
def test_cells_cover_a_side_and_one_has_the_pixel_in_its_middle(position: int) -> None:
    from vsrcli.explain.attribution import _cells

    cells = _cells(position, 12, 3)
    assert [number for cell in cells for number in range(cell.start, cell.stop)] == list(range(12))
    mine = next(cell for cell in cells if cell.start <= position < cell.stop)
    assert mine.start in (position - 1, 0)
    assert mine.stop in (position + 2, 12)
