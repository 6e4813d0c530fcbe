"""Saved states: named arrays with which another process continues where a stream or detector stopped.

The arrays have NumPy's own types only, so ``numpy.savez(file, **state)`` saves them and
``restore(numpy.load(file))`` restores them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vsrcli.errors import EngineError

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class ArraySpec:
    """Expected shape and number type of one array of a state.

    Attributes:
        shape: along each axis a size, or a range of sizes.
        dtype: NumPy's name of the number type.
    """

    shape: tuple[int | range, ...]
    dtype: str = "float32"

    def fits(self, array: np.ndarray) -> bool:
        """Return whether an array has this type and shape."""
        if array.dtype != self.dtype or array.ndim != len(self.shape):
            return False
        sizes = zip(array.shape, self.shape, strict=True)
        return all(
            size in allowed if isinstance(allowed, range) else size == allowed for size, allowed in sizes
        )

    def __str__(self) -> str:
        sizes = (f"{s.start}..{s.stop - 1}" if isinstance(s, range) else str(s) for s in self.shape)
        return f"{self.dtype} ({', '.join(sizes)})"


def validate_state(state: Mapping[str, np.ndarray], expected: Mapping[str, ArraySpec]) -> None:
    """Require that a state has the expected arrays.

    Raises:
        EngineError: an array is missing, unknown, or of another shape or type.
    """
    for name in state:
        if name not in expected:
            raise foreign_state_error(f"it has {name!r}, which is unknown here")
    for name, spec in expected.items():
        if name not in state:
            raise foreign_state_error(f"it has no {name!r}")
        array = state[name]
        if not spec.fits(array):
            raise foreign_state_error(f"its {name!r} is {array.dtype} {array.shape}, not {spec}")


def cast_floats(state: Mapping[str, np.ndarray], expected: Mapping[str, ArraySpec]) -> State:
    """Return a state whose floating-point arrays have the expected types; what is too large becomes their
    largest number. Arrays of other types are returned as they are."""
    return {
        name: _cast_float(array, expected[name].dtype) if name in expected else array
        for name, array in state.items()
    }


def _cast_float(array: np.ndarray, dtype: str) -> np.ndarray:
    if array.dtype == dtype or array.dtype.kind != "f" or np.dtype(dtype).kind != "f":
        return array
    largest = np.finfo(dtype).max
    is_narrower = largest < np.finfo(array.dtype).max
    return (array.clip(-largest, largest) if is_narrower else array).astype(dtype)


def join_states(prefix: str, states: Iterable[State]) -> State:
    """Join the states of numbered parts to one: ``PREFIX3.NAME`` is ``NAME`` of the fourth."""
    parts = enumerate(states)
    return {f"{prefix}{number}.{name}": array for number, part in parts for name, array in part.items()}


def split_state(state: Mapping[str, np.ndarray], prefix: str, count: int) -> tuple[State, list[State]]:
    """Invert :func:`join_states`: return arrays of no part, and the states of ``count`` parts."""
    parts: dict[str, State] = {f"{prefix}{number}": {} for number in range(count)}
    others: State = {}
    for name, array in state.items():
        part, _, name_in_part = name.partition(".")
        parts.get(part, others)[name_in_part if part in parts else name] = array
    return others, list(parts.values())


def foreign_state_error(reason: str) -> EngineError:
    """Return the error for a state of another stream."""
    return EngineError(
        f"this saved state is another stream's: {reason}; restore it with the network, precision, frame size "
        "and tiles that it was saved with, or start the shot anew"
    )


def stack_frames(frames: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Copy any number of frames (H, W, 3) to one float32 array (N, H, W, 3)."""
    frames = list(frames)
    if not frames:
        return np.empty((0, height, width, 3), np.float32)
    return np.stack(frames).astype(np.float32, copy=False)
