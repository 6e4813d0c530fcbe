"""bfloat16 in NumPy arrays, which have no such type: as its bits in uint16, the upper half of a float32's."""

from __future__ import annotations

import numpy as np

from vsrcli.inference.functions import non_finite_error

_POSITIVE, _NEGATIVE = 0x7F80, 0xFF80  # bits of both infinities; those of NaN lie above them


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Return the bits of a float32 array, rounded to the nearest, ties to even; NaN may become infinity."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + rounding) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return the float32 array of these bits; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def require_finite_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return the bits themselves.

    Raises:
        NonFiniteError: they hold NaN or infinity.
    """
    # Unsigned, negative numbers are the largest; signed, the smallest. Both maxima take one pass each.
    if bits.size and (bits.max() >= _NEGATIVE or bits.view(np.int16).max() >= _POSITIVE):
        raise non_finite_error()
    return bits
