"""A run that was interrupted on one device goes on on another, which computes in another precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from vsrcli.inference.functions import FLOAT32, NetworkShapes, RowBands, numpy_dtype
from vsrcli.inference.streams import RecurrentStream, compile_network

HEIGHT, WIDTH, COUNT = 6, 8, 9


class NumpyBackend:
    """A recurrent network in NumPy: half of the state stays from frame to frame, half is a mean of three.

    Args:
        dtype: of features and state.
    """

    band_pixels = HEIGHT * WIDTH
    shapes = NetworkShapes("recurrent", 2, levels=1, width=3, head=3, queues=((2, 3),))

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        def advance(frame: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
            newest = frame.astype(self.dtype)
            return (first + second + newest) / 3, newest

        def step(features: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert features.dtype == hidden.dtype == self.dtype
            hidden = (features + hidden) / 2
            return hidden, hidden

        return {
            "advance": advance,
            "step": step,
            "reconstruct": lambda x, padded: x.repeat(2, 1).repeat(2, 2),
        }

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> np.ndarray:
        assert array.dtype == numpy_dtype(dtype)
        return array.copy()

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def read_result(self, result: np.ndarray) -> np.ndarray:
        return result.astype(FLOAT32)

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        return self.read_result(function(x, padded))[0], None


def open_stream(dtype: str) -> RecurrentStream:
    return RecurrentStream(compile_network(NumpyBackend(dtype), HEIGHT, WIDTH))


@pytest.mark.parametrize(("before", "after"), [("float16", "float32"), ("float32", "float16")])
def test_a_state_is_restored_in_another_precision(before: str, after: str) -> None:
    frames = np.random.default_rng(1).random((COUNT, HEIGHT, WIDTH, 3)).astype(np.float32)
    first, second = open_stream(before), open_stream(after)
    for frame in frames[:5]:
        first.push(frame)
    second.restore(first.state())
    assert second.state()["hidden"].dtype == after
    for frame in frames[5:]:
        expected, result = first.push(frame), second.push(frame)
        assert expected is not None
        assert result is not None
        np.testing.assert_allclose(result, expected, atol=2e-3)
