"""Integer pictures to the network's numbers and back."""

from __future__ import annotations

import numpy as np


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 codes of any shape -> float32 in [0, 1]."""
    return np.multiply(pixels, 1 / np.iinfo(pixels.dtype).max, dtype=np.float32)


def to_integer(picture: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """float32 in [0, 1] -> the nearest code of an unsigned integer type."""
    scaled = picture * np.float32(np.iinfo(dtype).max)
    return np.rint(scaled, out=scaled).astype(dtype)
