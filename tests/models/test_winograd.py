"""Fewer multiplications, the same convolution."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from vsrcli.models.minimal_filtering import winograd_matrices
from vsrcli.models.winograd import WinogradLayout


@pytest.mark.parametrize("outputs", range(1, 7))
def test_minimal_filtering_is_a_correlation(outputs: int) -> None:
    before, weights, after = winograd_matrices(outputs)
    rng = np.random.default_rng(outputs)
    inputs, taps = rng.normal(size=outputs + 2), rng.normal(size=3)
    assert before.shape == (outputs + 2, outputs + 2)  # products: two more than outputs
    actual = after @ ((weights @ taps) * (before @ inputs))
    np.testing.assert_allclose(actual, np.correlate(inputs, taps, "valid"), atol=1e-9)


@pytest.mark.parametrize("height", [1, 5, 6, 7, 12, 17])
def test_a_convolution_by_rows_is_a_convolution(height: int) -> None:
    """Whatever the padding rows below contain."""
    rng = np.random.default_rng(height)
    rows = WinogradLayout(height, 4)
    x = rng.normal(size=(1, 6 * rows.row_groups, 4, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    expected = ops.conv(x[:, :height], kernel, padding="same", data_format="channels_last")
    interleaved = rows.zero_padding_rows(rows.to_layout(x))
    for parts in ([interleaved], [interleaved[:, :2], interleaved[:, 2:]]):
        actual = rows.to_frame(rows.conv(kernel, *parts))
        assert actual.shape == (1, 6 * rows.row_groups, 4, 5)
        np.testing.assert_allclose(np.asarray(actual)[:, :height], np.asarray(expected), atol=1e-4)


def test_pixels_and_the_order_of_rows() -> None:
    """A 1x1 convolution does not depend on the order of rows."""
    rng = np.random.default_rng(1)
    rows = WinogradLayout(9, 4)
    x = rng.normal(size=(1, 12, 4, 3)).astype(np.float32)
    kernel, bias = rng.normal(size=(1, 1, 3, 5)), rng.normal(size=5)
    actual = rows.to_frame(rows.pointwise(rows.to_layout(x), kernel.astype(np.float32), bias))
    np.testing.assert_allclose(np.asarray(actual), np.maximum(x @ kernel[0, 0] + bias, 0), atol=1e-5)
