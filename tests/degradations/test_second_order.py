"""The preset 'footage': nothing shifts or darkens the picture, and everything is repeatable."""

from dataclasses import replace

import numpy as np
import pytest

from vsrcli.degradations import PRESETS, SecondOrder, degrade, filters, recompress
from vsrcli.degradations.second_order import degrade_twice

PRESET = PRESETS["footage"]
QUIET = SecondOrder(  # nothing happens but resizing
    lens_shares=(("none", 1.0),),
    noisy_share=0,
    recorded_share=0,
    blurred_share=0,
    chain_share=0,
    grainy_share=0,
    halo_share=0,
    ringing_share=0,
    interlaced_share=0,
    compressed_share=0,
)


def moving_dot(frames: int = 6, side: int = 48) -> np.ndarray:
    """Return a clip whose soft, bright spot stays in the middle of a grey, symmetric picture."""
    axis = np.arange(side) - (side - 1) / 2
    spot = 90 * np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 40)
    clip = 100 + np.repeat(spot[None, ..., None], 3, axis=3)
    return np.repeat(np.rint(clip), frames, axis=0).astype(np.uint8)


def centre_of(frame: np.ndarray) -> np.ndarray:
    """Return the centre of what is brighter than the background, in pixels from the middle."""
    light = np.clip(frame.astype(float).mean(axis=-1) - 110, 0, None)
    axes = (np.arange(side) - (side - 1) / 2 for side in light.shape)
    return np.array([(light.sum(axis=1 - i) * axis).sum() for i, axis in enumerate(axes)]) / light.sum()


def test_variants_are_repeatable_and_differ():
    clip = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        runs.append([degrade(clip, 2, PRESET, variant, rng) for variant in range(PRESET.variant_count)])
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({variant.tobytes() for variant in runs[0]}) == PRESET.variant_count
    np.testing.assert_array_equal(runs[0][0], degrade(clip, 2, PRESETS["bi"], 0, np.random.default_rng(1)))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"lens_shares": (("anisotropic", 0.5), ("defocus", 0.5)), "lens_radius": (0.8, 0.9)},
        {"lens_shares": (("box", 0.5), ("motion", 0.5)), "lens_radius": (0.8, 0.9)},
        {"chain_share": 1, "blurred_share": 1},
        {"halo_share": 1, "ringing_share": 1},
        {"recorded_share": 1, "crf_range": (10, 12), "quantizer_range": (2, 3)},
    ],
    ids=["resizing", "lens", "box and motion", "chain", "sharpening", "two encoders"],
)
def test_the_picture_is_neither_shifted_nor_darkened(change):
    clip, history = moving_dot(), replace(QUIET, **change)
    for seed in range(4):
        low = degrade_twice(clip, 2, history, np.random.default_rng(seed))
        assert low.shape == (6, 24, 24, 3)
        assert np.abs(centre_of(low[3])).max() < 0.1
        assert abs(low.mean() - clip.mean()) < 0.6


def test_noise_and_grain_differ_from_frame_to_frame_and_add_up_to_nothing():
    clip = np.full((6, 64, 64, 3), 128, np.uint8)
    for change in ({"noisy_share": 1, "shot_noise": (5, 9)}, {"grainy_share": 1, "grain": (4, 6)}):
        low = degrade_twice(clip, 2, replace(QUIET, **change), np.random.default_rng(2)).astype(float)
        assert low.std() > 1
        assert np.abs(low[1] - low[0]).mean() > 0.5
        assert abs(low.mean() - 128) < 0.5


def test_sensor_noise_grows_with_the_signal():
    rng = np.random.default_rng(3)
    dark, bright = (
        filters.sensor_noise(np.full((64, 64, 3), level, np.float32), 8, 1, True, rng).std()
        for level in (10, 240)
    )
    assert bright == pytest.approx(np.sqrt(64 * 240 / 255 + 1), rel=0.05)
    assert dark == pytest.approx(np.sqrt(64 * 10 / 255 + 1), rel=0.05)


def test_a_sharp_cutoff_rings_beside_an_edge():
    frame = np.full((32, 64, 3), 50, np.float32)
    frame[:, 32:] = 200
    result = filters.convolve(frame, filters.ringing_kernel(0.25))
    assert result.max() > 205
    assert result.min() < 45
    assert result.mean() == pytest.approx(frame.mean(), abs=0.5)


@pytest.mark.parametrize("kind", ["comb", "blend", "bob"])
@pytest.mark.parametrize("height", [8, 9])
def test_interlacing_mixes_two_fields(kind, height):
    first, second = np.full((height, 4, 3), 10, np.float32), np.full((height, 4, 3), 30, np.float32)
    mixed, last = filters.interlacing_remains([first, second], kind, 1.0)
    np.testing.assert_array_equal(last, second)
    even, odd = {"comb": (10, 30), "blend": (20, 20), "bob": (10, 10)}[kind]
    np.testing.assert_array_equal(mixed[0::2], even)
    np.testing.assert_array_equal(mixed[1::2], odd)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2"])
def test_compression_keeps_brightness(codec):
    clip = np.repeat(moving_dot(4), 2, axis=2)
    fine, coarse = (recompress(clip, codec=codec, crf=crf).astype(int) for crf in (4, 31))
    assert abs(fine.mean() - clip.mean()) < 0.3
    assert np.abs(fine - clip).mean() < np.abs(coarse - clip).mean()
