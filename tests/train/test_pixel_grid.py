"""Flipped crops stay on their pixel grid; otherwise a network would learn the mean of two grids, a blur."""

import numpy as np
import pytest

from vsrcli.degradations import PRESETS
from vsrcli.frames.resample import interpolate
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.footage import find_footage
from vsrcli.train.pairs import prepare_pairs


@pytest.mark.parametrize("preset", ["bd", "bi"])
@pytest.mark.parametrize("scale", [2, 4])
def test_every_flipped_and_transposed_crop_lies_on_the_grid_of_its_preset(
    footage_folder, tmp_path, preset, scale
):
    phase = PRESETS[preset].phase
    pairs = prepare_pairs(find_footage(footage_folder), tmp_path, scale, PRESETS[preset])
    plan = BatchPlan(batch=24, frames=7, margin=3, crop=8, scale=scale, phase=phase)
    low, high = make_batch(pairs, plan, seed=3, step=0)
    other = "centre" if phase == "zero" else "zero"
    inner = slice(2 * scale, -2 * scale)

    def error(frame: np.ndarray, truth: np.ndarray, grid: str) -> float:
        return float(np.abs(interpolate(frame, scale, "bicubic", grid) - truth)[inner, inner].mean())  # type: ignore[arg-type]

    right = [error(frames[3], truth[0], phase) for frames, truth in zip(low, high, strict=True)]
    wrong = [error(frames[3], truth[0], other) for frames, truth in zip(low, high, strict=True)]
    textured = [r < w for r, w in zip(right, wrong, strict=True) if w > 0.004]
    assert len(textured) > 8
    assert all(textured)
