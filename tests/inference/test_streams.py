"""Engines follow the stream contract: one result per frame, in order, equal to those of full windows."""

from typing import Any

import numpy as np
import pytest
from keras import ops
from random_networks import noise_frames, run_stream, tiny_cached

from vsrcli.errors import EngineError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.functions import plan_bands
from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CachedStream, WindowStream, compile_network
from vsrcli.inference.tiled import TiledStream
from vsrcli.models import duf
from vsrcli.models.costs import streaming_radius

RADIUS = streaming_radius(blocks=1)


@pytest.fixture(scope="module")
def network():
    return tiny_cached()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10])
def test_cached_features_equal_full_windows(network, count):
    frames = noise_frames(count)
    actual = run_stream(CachedStream(compile_network(KerasBackend(network), 10, 12)), frames)
    assert len(actual) == count
    padded = np.concatenate([frames[:1]] * 3 + [frames] + [frames[-1:]] * 3)
    expected = np.clip(ops.convert_to_numpy(network(padded[None]))[0], 0, 1)
    np.testing.assert_allclose(np.stack(actual), expected, atol=1e-5)


def test_bands_of_the_output_stage_give_the_same_frame(network):
    frames = noise_frames(4)
    reference = run_stream(CachedStream(compile_network(KerasBackend(network), 10, 12)), frames)
    for band_pixels in (36, 60, 1):  # 4 bands of 3 rows, the last overlapping; 2 of 5; single rows
        backend = KerasBackend(network, band_pixels)
        banded = run_stream(CachedStream(compile_network(backend, 10, 12)), frames)
        np.testing.assert_allclose(np.stack(banded), np.stack(reference), atol=1e-6)


@pytest.mark.parametrize("size", [(10, 12), (1, 1), (7, 1000), (1000, 7), (135, 240)])
@pytest.mark.parametrize("band_pixels", [1, 36, 8192])
def test_bands_cover_every_row_once_but_for_the_last_ones(size, band_pixels):
    height, width = size
    bands = plan_bands(height, width, band_pixels)
    assert bands.height == height
    assert bands.rows * width <= max(band_pixels, width) + width
    covered = np.zeros(height, int)
    for rows in bands:
        covered[rows] += 1
    assert covered.min() == 1
    assert len(bands) == len(list(bands))
    last_top = height - bands.rows  # where the last band begins
    np.testing.assert_array_equal(np.flatnonzero(covered == 2), last_top + np.arange(bands.overlap_rows))


def test_results_are_three_frames_late(network):
    stream = CachedStream(compile_network(KerasBackend(network), 10, 12))
    is_none = [stream.push(frame) is None for frame in noise_frames(5)]
    assert is_none == [True, True, True, False, False]
    assert len(stream.flush()) == 3
    assert CachedStream(compile_network(KerasBackend(network), 10, 12)).flush() == []


def test_paper_windows_repeat_the_edges():
    model = duf.build(2, depth=16)
    frames = noise_frames(2, 6, 5)
    actual = run_stream(WindowStream(compile_network(KerasBackend(model), 6, 5)), frames)
    assert [result.shape for result in actual] == [(12, 10, 3)] * 2
    window = np.stack([frames[0]] * 4 + [frames[1]] * 3)[None]
    np.testing.assert_allclose(actual[0], np.clip(ops.convert_to_numpy(model(window))[0], 0, 1), atol=1e-5)


@pytest.mark.parametrize("size", [(40, 50), (33, 17), (8, 8), (16, 300)])
def test_tiles_with_the_receptive_field_as_overlap_do_not_show(network, size):
    """Tiled equals untiled within 1e-4, seams and borders included."""
    frames = noise_frames(3, *size)
    compiled: dict[tuple[int, int], Any] = {}

    def open_stream(height: int, width: int) -> CachedStream:
        if (height, width) not in compiled:
            compiled[height, width] = compile_network(KerasBackend(network), height, width)
        return CachedStream(compiled[height, width])

    reference = run_stream(open_stream(*size), frames)
    plan = plan_tiles(size[0], size[1], 32, RADIUS)
    tiled = run_stream(TiledStream(open_stream, plan, 4), frames)
    assert len(compiled) <= 2  # the frame and one tile shape
    np.testing.assert_allclose(np.stack(tiled), np.stack(reference), atol=1e-4)


def test_nan_is_an_error_and_not_a_black_frame(network):
    frame = np.full((10, 12, 3), np.nan, np.float32)
    with pytest.raises(EngineError, match="--precision fp32"):
        run_stream(CachedStream(compile_network(KerasBackend(network), 10, 12)), [frame])


@pytest.mark.parametrize("name", ["bicubic", "lanczos"])
def test_interpolation_has_no_lookahead(name):
    engine = ResampleEngine(name, 3)
    stream = engine.open(4, 5)
    flat = stream.push(np.full((4, 5, 3), 0.25, np.float32))
    assert flat.shape == (12, 15, 3)
    np.testing.assert_allclose(flat, 0.25, atol=1e-6)
    assert stream.flush() == []
