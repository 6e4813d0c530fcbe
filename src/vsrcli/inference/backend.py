"""A network on some backend, as the streams see it: compiled functions, and arrays that they hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from vsrcli.errors import NonFiniteError
from vsrcli.inference.functions import NetworkShapes, RowBands


class Backend(Protocol):
    """Weights on a backend, for frames of any size.

    What its functions take and give are the backend's own arrays; NumPy's are taken, too. All of them can be
    cut with ``array[:, rows]`` and know their ``shape``. Those given are never written to again.

    Attributes:
        sizes: of the network.
        dtype: Keras' name of the features' number type.
        band_pixels: about how many low-resolution pixels are best painted at a time.
    """

    sizes: NetworkShapes
    dtype: str
    band_pixels: int

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        """The functions of :mod:`vsrcli.inference.functions` for frames of one size, by name.

        Raises:
            OutOfMemoryError: the device has not enough memory for this size.
        """
        ...

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of zeros."""
        ...

    def to_device(self, array: np.ndarray, dtype: str) -> Any:
        """NumPy's array as the backend's own."""
        ...

    def to_numpy(self, array: Any) -> np.ndarray:
        """A copy in NumPy's type :func:`saved_type`."""
        ...

    def read_result(self, picture: Any) -> np.ndarray:
        """A finished picture as NumPy's array.

        Raises:
            NonFiniteError: it holds NaN or infinity.
        """
        ...

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, around: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """A frame's picture, band by band.

        Args:
            function: ``paint``, compiled.
            bands: that it was compiled for.
            x: features, (1, H, W, C).
            around: the frame with its border, from :func:`~vsrcli.inference.functions.pad_border`.

        Returns:
            The picture, float32 (scale*H, scale*W, 3); and, of a network with a state, what the next step is
            given of it, (1, H, W, 3*scale**2), else None.

        Raises:
            NonFiniteError: the picture holds NaN or infinity.
        """
        ...


def numpy_dtype(dtype: str) -> str:
    """NumPy has no bfloat16; float32 holds its numbers exactly."""
    return "float32" if dtype == "bfloat16" else dtype


def require_finite(array: np.ndarray) -> np.ndarray:
    """The array itself.

    Raises:
        NonFiniteError: it holds NaN or infinity, which would become black pixels.
    """
    if not np.isfinite(array.sum(dtype=np.float32)):  # infinities of both signs give NaN
        raise NonFiniteError(
            "the network gave NaN or infinity: use --precision fp32, or other weights if that was on"
        )
    return array
