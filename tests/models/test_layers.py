"""Dynamic upsampling filters against a plain loop."""

import numpy as np
import pytest
from keras import ops

from vsrcli.models import layers


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


def upscaled(image: np.ndarray, logits: np.ndarray, residual: np.ndarray, scale: int) -> np.ndarray:
    """The output stage of a network whose heads give these; ``(H, W, C)`` all, sub-pixel major."""
    padded = layers.pad_border(ops.convert_to_tensor(image[None].astype("float32")))
    outputs = []
    for values in (
        logits,
        residual,
    ):  # through the layer itself: its order of channels is that of weight files
        channels = values.shape[-1]
        layer = layers.SubpixelConv(channels // scale**2, scale)
        layer.build((None, None, None, channels))
        layer.set_weights([np.eye(channels)[None, None], np.zeros(channels)])
        outputs.append(layer(values[None].astype("float32")))
    return ops.convert_to_numpy(layers.depth_to_space(layers.apply_dynamic_filters(padded, *outputs), scale))[
        0
    ]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (7, 9)])
def test_filtering_equals_the_naive_loop(scale, size):
    rng = np.random.default_rng(scale)
    image = rng.random((*size, 3))
    logits = rng.normal(size=(*size, 25 * scale**2)) * 3
    residual = rng.normal(size=(*size, 3 * scale**2)) * 0.1
    expected = naive(image, logits, residual, scale)
    actual = upscaled(image, logits, residual, scale)
    np.testing.assert_allclose(actual, expected, atol=2e-6)


@pytest.mark.parametrize("phase", ["centre", "zero"])
def test_the_untrained_filters_interpolate_at_the_right_phase(phase):
    """A horizontal ramp comes out as the ramp at the finer grid's own positions: no shift."""
    scale, width = 4, 12
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32)[None, :, None] / width, (6, width, 3))
    bias = np.broadcast_to(layers.interpolating_bias(scale, phase), (6, width, 25 * scale**2))
    actual = upscaled(ramp, bias, np.zeros((6, width, 3 * scale**2)), scale)
    shift = (scale - 1) / 2 if phase == "centre" else 0
    expected = (np.arange(scale * width) - shift) / scale / width
    inner = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(actual[12, inner, 0], expected[inner], atol=0.012)
    assert abs(float(np.mean(actual[12, inner, 0] - expected[inner]))) < 1e-3


def test_depth_to_space_puts_rows_before_columns():
    sub_pixels = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 1, 4)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layers.depth_to_space(sub_pixels, 2))[0, ..., 0], [[0, 1], [2, 3]]
    )


def test_interleaving_is_depth_to_space_in_another_order():
    values = np.random.default_rng(0).random((2, 3, 4, 9, 5), np.float32)  # B, H, W, s*s, C
    expected = layers.depth_to_space(values.swapaxes(3, 4), 3)
    actual = layers.interleave(values, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(actual), ops.convert_to_numpy(expected))


@pytest.mark.parametrize("level", [-1000.0, -60.0, 60.0, 1000.0])
def test_extreme_logits_give_finite_results(level):
    """No overflow, no division by zero, same brightness."""
    logits = np.full((4, 5, 25 * 4), level)
    logits[..., ::25] = -level
    actual = upscaled(np.full((4, 5, 3), 0.5), logits, np.zeros((4, 5, 12)), 2)
    np.testing.assert_allclose(actual, 0.5, atol=1e-6)
