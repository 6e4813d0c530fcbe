"""The contract of backends: a network's compiled functions, and the arrays passed between them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from vsrcli.errors import NonFiniteError, OutOfMemoryError
from vsrcli.inference.functions import NetworkShapes, RowBands

_OUT_OF_MEMORY_ERRORS = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")  # names of classes
_OUT_OF_MEMORY_MESSAGES = (
    "resource_exhausted",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "cannot allocate",
    "could not allocate",
)


class Backend(Protocol):
    """A network with its weights on a backend, for frames of any size.

    Functions take and return arrays of the backend's own type, and also take NumPy's. All of them support
    ``array[:, rows]`` and ``shape``. Arguments are never modified.

    Attributes:
        shapes: of the network.
        dtype: Keras' name of the features' number type.
        band_pixels: best number of low-resolution pixels per band of the output stage, about.
    """

    shapes: NetworkShapes
    dtype: str
    band_pixels: int

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        """Return the functions of :mod:`vsrcli.inference.functions` for frames of one size, by name.

        Raises:
            OutOfMemoryError: the device has not enough memory for this size.
        """
        ...

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return an array of zeros."""
        ...

    def to_device(self, array: np.ndarray, dtype: str) -> Any:
        """Copy a NumPy array to the backend's own type."""
        ...

    def to_numpy(self, array: Any) -> np.ndarray:
        """Copy an array to NumPy, in the type of :func:`numpy_dtype`."""
        ...

    def read_result(self, result: Any) -> np.ndarray:
        """Return an upscaled frame as a NumPy array.

        Raises:
            NonFiniteError: it holds NaN or infinity.
        """
        ...

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Run the output stage, band by band.

        Args:
            function: ``reconstruct``, compiled for ``bands``.
            bands: of the frame.
            x: features, (1, H, W, C).
            padded: the centre frame, from :func:`~vsrcli.inference.functions.pad_border`.

        Returns:
            The upscaled frame, float32 (scale*H, scale*W, 3); and the feedback for a recurrent network's next
            step, (1, H, W, 3*scale**2), or None.

        Raises:
            NonFiniteError: the frame holds NaN or infinity.
        """
        ...


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the libraries' out-of-memory errors into an :class:`OutOfMemoryError` that names the remedy."""
    try:
        yield
    except Exception as error:
        text = str(error).lower()
        is_short = type(error).__name__ in _OUT_OF_MEMORY_ERRORS
        if is_short or any(message in text for message in _OUT_OF_MEMORY_MESSAGES):
            raise OutOfMemoryError(
                "not enough memory for a tile of this size: give a smaller --tile"
            ) from error
        raise


def numpy_dtype(dtype: str) -> str:
    """Return the NumPy type for a Keras type: float32 for bfloat16, which NumPy lacks; exact."""
    return "float32" if dtype == "bfloat16" else dtype


def require_finite(array: np.ndarray) -> np.ndarray:
    """Return the array itself.

    Raises:
        NonFiniteError: it holds NaN or infinity, which would become black pixels.
    """
    if not np.isfinite(array.sum(dtype=np.float32)):  # infinities of both signs give NaN
        raise NonFiniteError(
            "the network gave NaN or infinity: use --precision fp32, or other weights if that was on"
        )
    return array
