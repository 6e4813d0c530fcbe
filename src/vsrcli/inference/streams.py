"""A window of features: each frame encoded once, time merged level by level, for the networks that do so.

Valid temporal convolutions give the same result wherever the window stands, so a stream needs one evaluation
of each layer per frame; two features of every level are all that it has to keep.

Features computed once a frame and kept for the windows that follow: how DUF-S runs.

A window of features, and a memory handed from frame to frame: how DUF-R runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np

from vsrcli.frames.state import ArraySpec, State, stack_frames, validate_state
from vsrcli.inference.backend import Backend, numpy_dtype
from vsrcli.inference.functions import FLOAT32, RowBands, pad_border, plan_bands


@dataclass(frozen=True)
class FeatureWindow:
    """The first part of a network, compiled for one frame size.

    Attributes:
        advance: a frame (1, H, W, 3) and what the queues hold -> merged features, an entry for each queue.
        empty: the queues before the first frame, the oldest entry first.
        radius: frames before and after the one that is answered for.
        height, width: of the frames.
    """

    advance: Callable[..., Any]
    empty: tuple[tuple[Any, ...], ...]
    radius: int
    height: int
    width: int


def feature_window(network: Backend, advance: Callable[..., Any], height: int, width: int) -> FeatureWindow:
    """The window of a network for frames of one size, from its compiled ``advance``."""
    sizes = network.sizes
    empty = tuple(
        (network.zeros(sizes.shape(height, width, channels), network.dtype),) * length
        for length, channels in sizes.queues
    )
    return FeatureWindow(advance, empty, sizes.levels, height, width)


class FeatureStream(ABC):
    """A stream on top of a window of features, see :class:`~vsrcli.inference.types.Stream`.

    Time is padded by repeating the first and the last frame. The window answers for the frame ``radius``
    back, once it is full; what it says before is made of the empty start and dropped.

    Its state is ``frames`` (up to ``2*radius``, H, W, 3), float32: the last ones pushed, 72 bytes per
    low-resolution pixel for a radius of three. They are all that the features are made of, and cost less to
    keep.

    Args:
        window: from :func:`compile_features`.
    """

    def __init__(self, window: FeatureWindow) -> None:
        self._window = window
        self._queues = window.empty
        self._centres: deque[np.ndarray] = deque()  # frames that still wait for their picture
        self._recent: deque[np.ndarray] = deque(maxlen=2 * window.radius)
        self._filled = 0

    @abstractmethod
    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Merged features and the frame in their middle -> its picture."""

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._answer(self._take(frame))

    def flush(self) -> list[np.ndarray]:
        if not self._recent:
            return []
        results = [self._answer(self._advance(self._recent[-1])) for _ in range(self._window.radius)]
        return [result for result in results if result is not None]

    def fork(self) -> Self:
        twin = copy(self)
        twin._centres, twin._recent = self._centres.copy(), self._recent.copy()
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, self._window.height, self._window.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        validate_state(state, self._layout())
        for frame in np.array(state["frames"]):
            self._take(frame)
        while len(self._centres) > self._window.radius:  # these have had their picture
            self._centres.popleft()

    def _layout(self) -> dict[str, ArraySpec]:
        """What a state looks like."""
        window = self._window
        return {"frames": ArraySpec((range(2 * window.radius + 1), window.height, window.width, 3))}

    def _take(self, frame: np.ndarray) -> Any:
        """The next frame, before the first one its repetitions -> merged features."""
        if not self._recent:
            for _ in range(self._window.radius):
                self._advance(frame)
        self._recent.append(frame)
        self._centres.append(frame)
        return self._advance(frame)

    def _advance(self, frame: np.ndarray) -> Any:
        features, *newest = self._window.advance(frame[None], *chain(*self._queues))
        pairs = zip(self._queues, newest, strict=True)
        self._queues = tuple((*queue[1:], entry) for queue, entry in pairs)
        self._filled += 1
        return features

    def _answer(self, features: Any) -> np.ndarray | None:
        if self._filled < 2 * self._window.radius + 1:
            return None
        return self._picture(features, self._centres.popleft())


@dataclass(frozen=True)
class CompiledFeatureModel:
    """A network compiled for one frame size, in three parts.

    Attributes:
        window: frames to merged features.
        refine: merged features -> features for ``paint``.
        paint: a band of these and of the centre frame -> a band of the picture.
        bands: what is painted at a time.
        network: whose arrays these are.
    """

    window: FeatureWindow
    refine: Callable[..., Any]
    paint: Callable[..., Any]
    bands: RowBands
    network: Backend

    def reconstruct(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Merged features and a frame (H, W, 3) -> its picture, float32 (scale*H, scale*W, 3) in [0, 1]."""
        return self.network.reconstruct(self.paint, self.bands, self.refine(features), pad_border(centre))[0]


def compile_cached(
    network: Backend, height: int, width: int, *, band_pixels: int | None = None
) -> CompiledFeatureModel:
    """Compile a :class:`~vsrcli.models.duf_s.DufS` for frames of one size.

    Args:
        network: on its backend.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time; None: what suits the backend.
    """
    bands = plan_bands(height, width, band_pixels or network.band_pixels)
    parts = network.compile(height, width, bands)
    window = feature_window(network, parts["advance"], height, width)
    return CompiledFeatureModel(window, parts["refine"], parts["paint"], bands, network)


class CachedStream(FeatureStream):
    """A window of features, and nothing else; see :class:`FeatureStream`.

    Args:
        network: from :func:`compile_cached`.
    """

    def __init__(self, network: CompiledFeatureModel) -> None:
        super().__init__(network.window)
        self._network = network

    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        return self._network.reconstruct(features, centre)


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
