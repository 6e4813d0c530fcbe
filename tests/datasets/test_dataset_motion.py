"""The measure of motion: what moves, and what only looks as if it did."""

from __future__ import annotations

import numpy as np
import pytest
from miniatures import frames

from vsrcli.datasets.motion import MotionMeter

MOVES = 0.25  # pixels per frame, the default of the build
COUNT, HEIGHT, WIDTH = 16, 144, 192


def flow(clip: np.ndarray) -> np.ndarray:
    meter = MotionMeter(HEIGHT, WIDTH)
    for luma in clip:
        meter.add(np.clip(np.round(luma), 0, 255).astype(np.uint8))
    return meter.flow()


@pytest.fixture
def moving() -> np.ndarray:
    """Texture that moves by a pixel to the left and upwards in each frame."""
    return frames(1, COUNT, HEIGHT, WIDTH)[..., 1].astype(np.float64) * 0.7 + 30


def test_a_moving_texture_moves_everywhere(moving: np.ndarray) -> None:
    assert (flow(moving) >= MOVES).mean() > 0.95


def test_only_what_moves_counts(moving: np.ndarray) -> None:
    clip = np.repeat(moving[:1], COUNT, axis=0)
    clip[:, :, : WIDTH // 2] = moving[:, :, : WIDTH // 2]
    moves = flow(clip) >= MOVES
    assert moves[:, :5].all()
    assert not moves[:, 7:].any()


@pytest.mark.parametrize("contrast", [1, 0.3])
def test_noise_is_no_motion(moving: np.ndarray, contrast: float) -> None:
    noise = np.random.default_rng(2).normal(0, 10, moving.shape)
    assert (flow(128 + contrast * (moving[:1] - 128) + noise) >= MOVES).mean() <= 0.02


def test_flicker_is_no_motion(moving: np.ndarray) -> None:
    brightness = 1 + 0.2 * np.sin(np.arange(COUNT))[:, None, None]
    assert not (flow(moving[:1] * brightness) >= MOVES).any()
