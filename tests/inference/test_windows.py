"""Sliding windows: order, edges, and shots shorter than a window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_networks import run_stream

from vsrcli.inference.functions import NetworkShapes, plan_bands
from vsrcli.inference.streams import CompiledNetwork, WindowStream

Window = tuple[int, ...]


def open_stream(radius: int) -> WindowStream:
    """Return a stream whose results are its windows."""
    shapes = NetworkShapes("window", levels=radius)
    backend: Any = SimpleNamespace(shapes=shapes, read_result=lambda windows: windows)
    functions = {"upscale": lambda windows: windows}
    return WindowStream(CompiledNetwork(backend, 1, 1, plan_bands(1, 1), functions))


def frame(value: int) -> np.ndarray:
    return np.full((1, 1, 3), value, np.float32)


def as_window(result: np.ndarray) -> Window:
    return tuple(int(value) for value in result[:, 0, 0, 0])


def all_windows(radius: int, count: int) -> list[Window]:
    return [as_window(result) for result in run_stream(open_stream(radius), map(frame, range(count)))]


def test_seven_frames_around_each_of_ten() -> None:
    windows = all_windows(3, 10)
    assert windows[0] == (0, 0, 0, 0, 1, 2, 3)
    assert windows[5] == (2, 3, 4, 5, 6, 7, 8)
    assert windows[9] == (6, 7, 8, 9, 9, 9, 9)


def test_shots_of_one_and_two_frames() -> None:
    assert all_windows(3, 1) == [(0,) * 7]
    assert all_windows(3, 2) == [(0, 0, 0, 0, 1, 1, 1), (0, 0, 0, 1, 1, 1, 1)]
    assert all_windows(3, 0) == []


@given(radius=st.integers(0, 5), count=st.integers(0, 25))
def test_every_window_is_its_centre_with_clamped_neighbours(radius: int, count: int) -> None:
    expected = [
        tuple(min(max(i + d, 0), count - 1) for d in range(-radius, radius + 1)) for i in range(count)
    ]
    assert all_windows(radius, count) == expected


@given(radius=st.integers(0, 5), count=st.integers(1, 25))
def test_windows_are_exactly_radius_frames_late(radius: int, count: int) -> None:
    stream = open_stream(radius)
    results = [stream.push(frame(i)) for i in range(count)]
    assert [a is None for a in results] == [i < radius for i in range(count)]
    assert len(stream.flush()) == min(radius, count)
