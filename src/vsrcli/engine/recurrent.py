"""A window of features, and a memory handed from frame to frame: how DUF-R runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.engine.backend import compile_function, fetch
from vsrcli.engine.bands import BAND_PIXELS, Bands, plan_bands
from vsrcli.engine.features import FeatureStream, FeatureWindow, compile_features
from vsrcli.frames.state import Entry, State


@dataclass(frozen=True)
class RecurrentNetwork:
    """A network compiled for one frame size, in three parts.

    Attributes:
        window: frames to merged features.
        step: the centre frame, merged features and the memory -> the new hidden state, and features and
            surroundings for ``paint``.
        paint: a band of these and of the centre frame -> a band of the picture, clipped, and what the next
            step is given of it.
        bands: what is painted at a time.
        empty: the memory before the first frame: the hidden state, then what was painted, band by band.
    """

    window: FeatureWindow
    step: Callable[..., Any]
    paint: Callable[..., Any]
    bands: Bands
    empty: tuple[Any, ...]

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
        here, cut = centre[None], self.bands.cut
        hidden, x, surroundings = self.step(here, features, *memory)
        kept = [hidden]

        def painted() -> Iterator[np.ndarray]:
            for rows in self.bands:
                band, remembered = self.paint(cut(x, rows), cut(surroundings, rows), cut(here, rows))
                kept.append(remembered)
                yield fetch(band)[0]

        return self.bands.join(painted()), tuple(kept)

    def layout(self) -> dict[str, Entry]:
        """What a saved memory looks like."""
        hidden, painted = self.empty[:2]
        size = self.window.height, self.window.width
        return {
            "hidden": Entry((1, *size, hidden.shape[-1]), _saved_type(hidden)),
            "painted": Entry((1, *size, painted.shape[-1])),
        }

    def save(self, memory: tuple[Any, ...]) -> State:
        """A memory as arrays ``hidden`` (1, H, W, width) and ``painted`` (1, H, W, 3*scale**2)."""
        hidden, *bands = (_as_numpy(part) for part in memory)
        bands[-1] = bands[-1][:, self.bands.repeated :]
        return {"hidden": hidden, "painted": np.concatenate(bands, axis=1)}

    def load(self, state: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
        """The memory that :meth:`save` was given, on the device again."""
        from keras import ops

        painted = state["painted"]
        hidden = ops.convert_to_tensor(state["hidden"], dtype=_type_of(self.empty[0]))
        return hidden, *(ops.convert_to_tensor(painted[:, rows], dtype="float32") for rows in self.bands)


def compile_recurrent(
    model: Any, height: int, width: int, *, band_pixels: int = BAND_PIXELS
) -> RecurrentNetwork:
    """Compile a :class:`~vsrcli.models.duf_r.DufR` for frames of one size.

    Args:
        model: the network.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time.
    """
    from keras import ops

    from vsrcli.models.dynamic import TAPS, depth_to_space, neighbourhoods

    bands, window = plan_bands(height, width, band_pixels), compile_features(model, height, width)

    def step(here, features, hidden, *painted):
        parts = (*painted[:-1], painted[-1][:, bands.repeated :])
        hidden, x = model.step(features, hidden, ops.concatenate(parts, axis=1))
        return hidden, x, neighbourhoods(here)

    def paint(x, surroundings, here):
        depth = model.paint(x, surroundings)
        return ops.clip(depth_to_space(depth, model.scale), 0.0, 1.0), model.remember(depth, here)

    frame = np.zeros((1, height, width, 3), np.float32)
    hidden, painted = model.empty_state(1, height, width)
    memory = (hidden, *(painted[:, rows] for rows in bands))
    band = np.zeros((1, bands.rows, width, TAPS * TAPS, 3), np.float32)
    x = ops.zeros((1, bands.rows, width, model.head_width), model.head.compute_dtype)
    return RecurrentNetwork(
        window,
        compile_function(step, frame, window.empty[0], *memory),
        compile_function(paint, x, band, frame[:, : bands.rows]),
        bands,
        memory,
    )


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

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__(network.window)
        self._network = network
        self._memory = network.empty

    def state(self) -> State:
        return {**super().state(), **self._network.save(self._memory)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self._memory = self._network.load(state)

    def _layout(self) -> dict[str, Entry]:
        return {**super()._layout(), **self._network.layout()}

    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        picture, self._memory = self._network.reconstruct(features, centre, self._memory)
        return picture


def _type_of(tensor: Any) -> str:
    from keras import backend

    return backend.standardize_dtype(tensor.dtype)


def _saved_type(tensor: Any) -> str:
    """NumPy has no bfloat16; float32 holds its numbers exactly."""
    kind = _type_of(tensor)
    return "float32" if kind == "bfloat16" else kind


def _as_numpy(tensor: Any) -> np.ndarray:
    """A copy of a backend's array, in the type that it is saved in."""
    from keras import ops

    return np.array(ops.convert_to_numpy(ops.cast(tensor, _saved_type(tensor))))
