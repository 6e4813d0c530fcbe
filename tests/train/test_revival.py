"""Channels that are always zero: found, and revived without changing what the network does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from vsrcli.models.architectures import architecture
from vsrcli.train.revival import dead_channels, revive

SEQUENCE = np.random.default_rng(5).random((2, 9, 12, 12, 3)).astype(np.float32)
DEAD = {"encode": [1, 4], "fuse0": [1, 2], "fuse2": [0, 4], "block0_a": [3], "head": [2]}


def network(name: str) -> Any:
    """Return a network with random weights, some of whose channels are always zero."""
    keras.utils.set_random_seed(3)
    sizes = {"width": 6, "blocks": 2, "head": 6}
    model = architecture(name).with_sizes(sizes).build(2, phase="centre")
    rng = np.random.default_rng(4)
    for layer in model.layers:
        kernel, bias = layer.get_weights()
        bias = np.full_like(bias, 0.1)
        if layer.name in ("residual", "filters"):
            kernel = kernel + 0.05 * rng.standard_normal(kernel.shape).astype(np.float32)
        for channel in DEAD.get(layer.name, []):
            kernel[..., channel] = -np.abs(kernel[..., channel])
            bias[channel] = -5.0
        layer.set_weights([kernel, bias])
    return model


@pytest.mark.parametrize("name", ["duf-s", "duf-r-s", "duf-r"])
def test_revived_channels_fire_and_results_stay(name: str) -> None:
    model = network(name)
    dead = dead_channels(model, [SEQUENCE])
    assert {layer: list(np.flatnonzero(channels)) for layer, channels in dead.items()} == DEAD
    before = keras.ops.convert_to_numpy(model(SEQUENCE))
    revive(model, dead, seed=1)
    after = keras.ops.convert_to_numpy(model(SEQUENCE))
    assert np.abs(after - before).max() < 0.1 * np.abs(before - before.mean()).max()
    assert dead_channels(model, [SEQUENCE]) == {}


def test_all_but_the_last_level_is_exact() -> None:
    model = network("duf-s")
    dead = dead_channels(model, [SEQUENCE])
    del dead["fuse2"]
    before = keras.ops.convert_to_numpy(model(SEQUENCE))
    revive(model, dead, seed=1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(SEQUENCE)), before, atol=1e-5)
    assert "encode" not in dead_channels(model, [SEQUENCE])


def test_nothing_is_known_of_other_networks() -> None:
    assert dead_channels(architecture("fsrcnn").build(2, phase="centre"), [SEQUENCE]) == {}
