"""A window of features, and a memory handed from frame to frame: how DUF-R runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.frames.state import ArraySpec, State
from vsrcli.inference.backend import Backend, numpy_dtype
from vsrcli.inference.bands import RowBands, pad_border, plan_bands
from vsrcli.inference.features import FeatureStream, FeatureWindow, feature_window
from vsrcli.inference.parts import FLOAT32


@dataclass(frozen=True)
class CompiledRecurrentModel:
    """A network compiled for one frame size, in three parts.

    Attributes:
        window: frames to merged features.
        step: merged features and the memory -> the new hidden state, and features for ``paint``.
        paint: a band of these and of the centre frame -> a band of the picture, clipped, and what the next
            step is given of it.
        bands: what is painted at a time.
        empty: the memory before the first frame: the hidden state, and what was painted.
        network: whose arrays these are.
    """

    window: FeatureWindow
    step: Callable[..., Any]
    paint: Callable[..., Any]
    bands: RowBands
    empty: tuple[Any, ...]
    network: Backend

    def reconstruct(
        self, features: Any, centre: np.ndarray, memory: tuple[Any, ...]
    ) -> tuple[np.ndarray, tuple[Any, ...]]:
        """One step of the recurrence.

        Args:
            features: merged, from ``window``.
            centre: the frame in their middle, (H, W, 3).
            memory: after the frame before; ``empty`` for the first.

        Returns:
            The picture, float32 (scale*H, scale*W, 3) in [0, 1], and the new memory.

        Raises:
            EngineError: NaN or infinity in the picture, or not enough memory.
        """
        hidden, x = self.step(features, *memory)
        picture, painted = self.network.reconstruct(self.paint, self.bands, x, pad_border(centre))
        return picture, (hidden, painted)

    def layout(self) -> dict[str, ArraySpec]:
        """What a saved memory looks like."""
        hidden, painted = self.empty
        size = self.window.height, self.window.width
        return {
            "hidden": ArraySpec((1, *size, hidden.shape[-1]), numpy_dtype(self.network.dtype)),
            "painted": ArraySpec((1, *size, painted.shape[-1])),
        }

    def save(self, memory: tuple[Any, ...]) -> State:
        """A memory as arrays ``hidden`` (1, H, W, width) and ``painted`` (1, H, W, 3*scale**2)."""
        hidden, painted = memory
        lying = self.network.to_numpy(hidden)
        return {
            "hidden": self.network.sizes.to_nhwc(lying, self.window.height),
            "painted": self.network.to_numpy(painted),
        }

    def load(self, state: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
        """The memory that :meth:`save` was given, on the device again."""
        load, hidden = self.network.to_device, self.network.sizes.from_nhwc(state["hidden"])
        return load(hidden, self.network.dtype), load(state["painted"], FLOAT32)


def compile_recurrent(
    network: Backend, height: int, width: int, *, band_pixels: int | None = None
) -> CompiledRecurrentModel:
    """Compile a :class:`~vsrcli.models.duf_r.DufR` for frames of one size.

    Args:
        network: on its backend.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time; None: what suits the backend.
    """
    bands, sizes = plan_bands(height, width, band_pixels or network.band_pixels), network.sizes
    parts = network.compile(height, width, bands)
    window = feature_window(network, parts["advance"], height, width)
    hidden = network.zeros(sizes.shape(height, width, sizes.width), network.dtype)
    painted = network.zeros((1, height, width, 3 * sizes.scale**2), FLOAT32)
    return CompiledRecurrentModel(window, parts["step"], parts["paint"], bands, (hidden, painted), network)


class RecurrentStream(FeatureStream):
    """A window of features, and a memory carried on; see :class:`FeatureStream`.

    Its state is that of the window, and:

    - ``hidden`` (1, H, W, width): float16 at that precision, else float32.
    - ``painted`` (1, H, W, 3*scale**2), float32: the picture answered last as the network is given it, *not*
      clipped, minus its frame.

    At x4 in float32 these are ``72 + 4*width + 192`` bytes per low-resolution pixel: 440 for 44 channels, 664
    for 100.

    Args:
        network: from :func:`compile_recurrent`.
    """

    def __init__(self, network: CompiledRecurrentModel) -> None:
        super().__init__(network.window)
        self._network = network
        self._memory = network.empty

    def state(self) -> State:
        return {**super().state(), **self._network.save(self._memory)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self._memory = self._network.load(state)

    def _layout(self) -> dict[str, ArraySpec]:
        return {**super()._layout(), **self._network.layout()}

    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        picture, self._memory = self._network.reconstruct(features, centre, self._memory)
        return picture
