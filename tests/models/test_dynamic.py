"""Dynamic upsampling filters against a loop that says what they are."""

import numpy as np
import pytest
from keras import ops

from vsrcli.models import dynamic


def naive(image: np.ndarray, logits: np.ndarray, residual: np.ndarray, scale: int) -> np.ndarray:
    """Section 3.1 of the paper, pixel by pixel, in float64; the border repeats."""
    height, width, _ = image.shape
    output = np.zeros((scale * height, scale * width, 3))
    for y in range(height):
        for x in range(width):
            for sub in range(scale * scale):
                raw = logits[y, x, 25 * sub : 25 * sub + 25]
                taps = np.exp(raw - raw.max())
                taps /= taps.sum()
                for channel in range(3):
                    value = residual[y, x, 3 * sub + channel]
                    for i in range(5):
                        for j in range(5):
                            row = min(max(y + i - 2, 0), height - 1)
                            column = min(max(x + j - 2, 0), width - 1)
                            value += taps[5 * i + j] * image[row, column, channel]
                    output[scale * y + sub // scale, scale * x + sub % scale, channel] = value
    return output


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (7, 9)])
def test_filtering_equals_the_naive_loop(scale, size):
    rng = np.random.default_rng(scale)
    image = rng.random((*size, 3))
    logits = rng.normal(size=(*size, 25 * scale**2)) * 3
    residual = rng.normal(size=(*size, 3 * scale**2)) * 0.1
    expected = naive(image, logits, residual, scale)
    surroundings = dynamic.neighbourhoods(image[None].astype("float32"))
    got = dynamic.filter_and_shuffle(
        surroundings, logits[None].astype("float32"), residual[None].astype("float32"), scale
    )
    np.testing.assert_allclose(ops.convert_to_numpy(got)[0], expected, atol=2e-6)


@pytest.mark.parametrize("phase", ["centre", "zero"])
def test_the_untrained_filters_interpolate_at_the_right_phase(phase):
    """A horizontal ramp comes out as the ramp at the finer grid's own positions: no shift."""
    scale, width = 4, 12
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32)[None, :, None] / width, (6, width, 3))
    bias = np.broadcast_to(dynamic.interpolating_bias(scale, phase), (1, 6, width, 25 * scale**2))
    residual = np.zeros((1, 6, width, 3 * scale**2), np.float32)
    got = ops.convert_to_numpy(
        dynamic.filter_and_shuffle(dynamic.neighbourhoods(ramp[None]), bias, residual, scale)
    )[0]
    shift = (scale - 1) / 2 if phase == "centre" else 0
    expected = (np.arange(scale * width) - shift) / scale / width
    inner = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(got[12, inner, 0], expected[inner], atol=0.012)
    assert abs(float(np.mean(got[12, inner, 0] - expected[inner]))) < 1e-3


def test_depth_to_space_puts_rows_before_columns():
    sub_pixels = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4, 1)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(dynamic.depth_to_space(sub_pixels, 2))[0, ..., 0], [[0, 1], [2, 3]]
    )
