"""Sliding windows: order, edges, and shots shorter than a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsrcli.inference.windows import SlidingWindow


def all_windows(windows: SlidingWindow[int], count: int) -> list[tuple[int, ...]]:
    pushed = [windows.push(i) for i in range(count)]
    return [w for w in pushed if w is not None] + windows.flush()


def test_seven_frames_around_each_of_ten() -> None:
    windows = all_windows(SlidingWindow(3), 10)
    assert windows[0] == (0, 0, 0, 0, 1, 2, 3)
    assert windows[5] == (2, 3, 4, 5, 6, 7, 8)
    assert windows[9] == (6, 7, 8, 9, 9, 9, 9)


def test_shots_of_one_and_two_frames() -> None:
    assert all_windows(SlidingWindow(3), 1) == [(0,) * 7]
    assert all_windows(SlidingWindow(3), 2) == [(0, 0, 0, 0, 1, 1, 1), (0, 0, 0, 1, 1, 1, 1)]
    assert all_windows(SlidingWindow(3), 0) == []


@given(radius=st.integers(0, 5), count=st.integers(0, 25))
def test_every_window_is_its_centre_with_clamped_neighbours(radius: int, count: int) -> None:
    windows = SlidingWindow[int](radius)
    expected = [
        tuple(min(max(i + d, 0), count - 1) for d in range(-radius, radius + 1)) for i in range(count)
    ]
    assert all_windows(windows, count) == expected
    assert all_windows(windows, count) == expected  # the next shot starts anew


@given(radius=st.integers(0, 5), count=st.integers(1, 25))
def test_windows_are_exactly_radius_frames_late(radius: int, count: int) -> None:
    windows = SlidingWindow[int](radius)
    results = [windows.push(i) for i in range(count)]
    assert [a is None for a in results] == [i < radius for i in range(count)]
    assert len(windows.flush()) == min(radius, count)


def test_frames_are_not_copied() -> None:
    frames = [np.full((2, 2), i) for i in range(5)]
    windows = SlidingWindow[np.ndarray](1)
    windows_seen = [w for f in frames if (w := windows.push(f)) is not None] + windows.flush()
    assert all(window[1] is frame for window, frame in zip(windows_seen, frames, strict=True))


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 frames"):
        SlidingWindow(-1)
