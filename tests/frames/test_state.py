"""Saved states: which are refused, with which message."""

from __future__ import annotations

import numpy as np
import pytest

from vsrcli.errors import EngineError
from vsrcli.frames.state import ArraySpec, cast_floats, stack_frames, validate_state


def test_shapes_and_types() -> None:
    spec = ArraySpec((range(3), 4), "int64")
    assert str(spec) == "int64 (0..2, 4)"
    for valid in (np.zeros((2, 4), np.int64), np.zeros((0, 4), np.int64)):
        assert spec.fits(valid)
        validate_state({"a": valid}, {"a": spec})
    for shape, dtype in (
        ((3, 4), "int64"),
        ((2, 5), "int64"),
        ((2, 4), "float32"),
        ((4,), "int64"),
        ((), "int64"),
    ):
        invalid = np.zeros(shape, dtype)
        assert not spec.fits(invalid)
        with pytest.raises(
            EngineError, match=rf"its 'a' is {dtype} \(.*, not int64 \(0\.\.2, 4\); restore it with"
        ):
            validate_state({"a": invalid}, {"a": spec})


def test_missing_and_unknown_arrays() -> None:
    validate_state({}, {})
    with pytest.raises(EngineError, match="it has no 'a'"):
        validate_state({}, {"a": ArraySpec(())})
    with pytest.raises(EngineError, match="it has 'b', which is unknown here"):
        validate_state({"a": np.float32(0), "b": np.float32(0)}, {"a": ArraySpec(())})  # type: ignore[dict-item]


def test_floats_of_another_width_are_cast() -> None:
    state = {"a": np.array([0.1, 1e9, -1e9], np.float32), "b": np.array([3], np.int64)}
    cast = cast_floats(state, {"a": ArraySpec((3,), "float16"), "b": ArraySpec((1,))})
    assert cast["a"].dtype == np.float16
    assert cast["a"].tolist() == [np.float16(0.1), 65504, -65504]
    assert cast["b"] is state["b"]
    wide = cast_floats({"a": cast["a"]}, {"a": ArraySpec((3,))})["a"]
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, cast["a"])


def test_no_frames_have_a_size() -> None:
    assert stack_frames([], 4, 5).shape == (0, 4, 5, 3)
    frame = np.ones((4, 5, 3), np.float32)
    stacked = stack_frames([frame, frame], 4, 5)
    frame[:] = 0
    assert (stacked == 1).all()
    assert stacked.dtype == stack_frames([], 4, 5).dtype == np.float32
