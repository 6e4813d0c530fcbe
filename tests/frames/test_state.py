"""Saved states: what is refused, and by which words."""

from __future__ import annotations

import numpy as np
import pytest

from vsrcli.errors import EngineError
from vsrcli.frames.state import ArraySpec, stack_frames, validate_state


def test_what_fits_and_what_does_not() -> None:
    entry = ArraySpec((range(3), 4), "int64")
    assert str(entry) == "int64 (0..2, 4)"
    for right in (np.zeros((2, 4), np.int64), np.zeros((0, 4), np.int64)):
        assert entry.fits(right)
        validate_state({"a": right}, {"a": entry})
    for shape, kind in (
        ((3, 4), "int64"),
        ((2, 5), "int64"),
        ((2, 4), "float32"),
        ((4,), "int64"),
        ((), "int64"),
    ):
        wrong = np.zeros(shape, kind)
        assert not entry.fits(wrong)
        with pytest.raises(
            EngineError, match=rf"its 'a' is {kind} \(.*, not int64 \(0\.\.2, 4\); restore it with"
        ):
            validate_state({"a": wrong}, {"a": entry})


def test_missing_and_unknown_arrays() -> None:
    validate_state({}, {})
    with pytest.raises(EngineError, match="it has no 'a'"):
        validate_state({}, {"a": ArraySpec(())})
    with pytest.raises(EngineError, match="it has 'b', which is unknown here"):
        validate_state({"a": np.float32(0), "b": np.float32(0)}, {"a": ArraySpec(())})  # type: ignore[dict-item]


def test_no_frames_have_a_size() -> None:
    assert stack_frames([], 4, 5).shape == (0, 4, 5, 3)
    frame = np.ones((4, 5, 3), np.float32)
    packed = stack_frames([frame, frame], 4, 5)
    frame[:] = 0
    assert (packed == 1).all()
    assert packed.dtype == stack_frames([], 4, 5).dtype == np.float32
