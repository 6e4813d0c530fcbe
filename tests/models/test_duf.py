"""The paper's networks against the paper's definition."""

import numpy as np
import pytest
from keras import ops

from vsrcli.models import duf
from vsrcli.models.costs import duf_macs, duf_radius


def parameters(depth: int, scale: int) -> int:
    """Counted from the definition: kernels and biases of every convolution, four numbers a channel of every
    BN."""
    full_window_blocks, growth = {16: (3, 32), 28: (9, 16), 52: (21, 16)}[depth]
    total, channels = 9 * 3 * 64 + 64, 64
    for _ in range(full_window_blocks + 3):
        total += 4 * channels + channels * channels + channels  # BN, 1x1x1
        total += 4 * channels + 27 * channels * growth + growth  # BN, 3x3x3
        channels += growth
    total += 4 * channels + 9 * channels * 256 + 256
    total += 256 * 256 + 256 + 256 * 3 * scale**2 + 3 * scale**2
    return total + 256 * 512 + 512 + 512 * 25 * scale**2 + 25 * scale**2


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("depth", [16, 28, 52])
def test_parameters_and_output_shape(depth, scale):
    model = duf.build(scale, depth=depth)
    assert model.count_params() == parameters(depth, scale)
    assert model.output_shape == (None, None, None, 3)
    if depth == 16:
        assert model(np.zeros((2, 7, 5, 6, 3), np.float32)).shape == (2, 5 * scale, 6 * scale, 3)


def test_sizes_are_the_published_ones():
    """1.90 M / 5.8 M parameters and 4.9 M / 28.6 M multiply-adds a pixel, as measured from the authors'
    weights."""
    assert round(duf.build(4, depth=16).count_params() / 1e6, 2) == 1.90
    assert round(duf_macs(4, depth=16) / 1e6, 1) == 4.9
    assert round(duf_macs(4, depth=52) / 1e6, 1) == 28.6


def test_the_first_and_last_frame_of_the_window_matter():
    rng = np.random.default_rng(0)
    model = duf.build(2, depth=16)
    for variable in model.trainable_variables:  # the fresh network ignores its features: make it use them
        if "residual2/kernel" in variable.path:
            variable.assign(rng.normal(size=variable.shape) * 0.05)
    window = rng.random((1, 7, 8, 8, 3)).astype(np.float32)
    reference = ops.convert_to_numpy(model(window))
    for index in (0, 6):
        changed = window.copy()
        changed[0, index] = 0
        assert np.abs(ops.convert_to_numpy(model(changed)) - reference).max() > 1e-5


@pytest.mark.parametrize("depth", [16, 28, 52])
def test_receptive_field(depth):
    """A change further away than the radius changes nothing; the radius counts every 3x3 on the longest
    path."""
    assert duf_radius(depth) == {16: 8, 28: 14, 52: 26}[depth]
