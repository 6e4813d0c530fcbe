"""DUF-S: cost, receptive field, and sequences that equal their windows."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from vsrcli.models import duf_s
from vsrcli.models.costs import duf_macs, duf_s_macs, streaming_radius

TINY: dict[str, Any] = {"width": 8, "blocks": 1, "head": 8}


def randomized_model(scale: int = 4) -> duf_s.DufS:
    """A random network in which every layer has an effect (untrained ones start as interpolators)."""
    model = duf_s.build(scale, **TINY)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:
            variable.assign(rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
    return model


def test_costs_at_most_a_quarter_of_duf_16l():
    assert duf_s_macs(4) * 4 <= duf_macs(4, depth=16)
    assert duf_s_macs(4) < 400_000


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shapes(scale):
    model = duf_s.build(scale, **TINY)
    assert model(np.zeros((2, 7, 5, 6, 3), np.float32)).shape == (2, 1, 5 * scale, 6 * scale, 3)
    assert model(np.zeros((1, 9, 5, 6, 3), np.float32)).shape == (1, 3, 5 * scale, 6 * scale, 3)


def test_a_sequence_is_its_windows():
    model = randomized_model()
    frames = np.random.default_rng(2).random((1, 10, 9, 11, 3)).astype(np.float32)
    sequence = ops.convert_to_numpy(model(frames))
    for i in range(4):
        window = ops.convert_to_numpy(model(frames[:, i : i + 7]))
        np.testing.assert_allclose(sequence[:, i], window[:, 0], atol=1e-5)


def test_receptive_field_is_the_radius():
    model = randomized_model()
    radius = streaming_radius(blocks=TINY["blocks"])
    size = 2 * radius + 9
    frames = np.random.default_rng(3).random((1, 7, size, size, 3)).astype(np.float32)
    reference = ops.convert_to_numpy(model(frames))[0, 0]
    changed = frames.copy()
    changed[:, :, 0, :] += 0.5  # the top row
    difference = (
        np.abs(ops.convert_to_numpy(model(changed))[0, 0] - reference)
        .max(axis=(1, 2))
        .reshape(size, 4)
        .max(axis=1)
    )
    assert difference[radius + 1 :].max() < 1e-5
    assert difference[: radius - 1].min() > 1e-6
