"""Streams of networks that encode each frame once: DUF-S, DUF-R, and the paper's DUF frame by frame.

Time is merged by valid temporal convolutions, which give the same result wherever the window stands. So a
stream evaluates each layer once per frame and holds two features of every level (:class:`FeatureStream`).
:class:`CachedStream` adds the output stage; :class:`RecurrentStream` also carries a hidden state and the
previous output from frame to frame.
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
        advance: a frame (1, H, W, 3) and all queue entries -> merged features, and an entry for each queue.
        initial_queues: the queues before the first frame, the oldest entry first.
        radius: frames before, and after, the centre frame.
        height, width: of the frames.
    """

    advance: Callable[..., Any]
    initial_queues: tuple[tuple[Any, ...], ...]
    radius: int
    height: int
    width: int


def build_feature_window(
    backend: Backend, advance: Callable[..., Any], height: int, width: int
) -> FeatureWindow:
    """Return a network's window for frames of one size, made of its compiled ``advance``."""
    shapes = backend.shapes
    initial_queues = tuple(
        (backend.zeros(shapes.features(height, width, channels), backend.dtype),) * length
        for length, channels in shapes.queues
    )
    return FeatureWindow(advance, initial_queues, shapes.levels, height, width)


class FeatureStream(ABC):
    """A stream over a window of features, see :class:`~vsrcli.inference.types.Stream`.

    Time is padded by repeating the first and the last frame. Results of a window that is not full yet depend
    on the initial queues and are dropped.

    State: ``frames`` (up to ``2*radius``, H, W, 3), float32: the last frames pushed, 72 bytes per
    low-resolution pixel for a radius of three. The features are computed again from them, which takes less
    space than saving features.

    Args:
        window: from :func:`build_feature_window`.
    """

    def __init__(self, window: FeatureWindow) -> None:
        self._window = window
        self._queues = window.initial_queues
        self._centres: deque[np.ndarray] = deque()  # frames whose results are due
        self._recent: deque[np.ndarray] = deque(maxlen=2 * window.radius)
        self._advanced_count = 0

    @abstractmethod
    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Return the result for a centre frame (H, W, 3), from the merged features of its window."""

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._result(self._append(frame))

    def flush(self) -> list[np.ndarray]:
        if not self._recent:
            return []
        results = [self._result(self._advance(self._recent[-1])) for _ in range(self._window.radius)]
        return [result for result in results if result is not None]

    def fork(self) -> Self:
        twin = copy(self)
        twin._centres, twin._recent = self._centres.copy(), self._recent.copy()
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, self._window.height, self._window.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        validate_state(state, self._state_specs())
        for frame in np.array(state["frames"]):
            self._append(frame)
        while len(self._centres) > self._window.radius:  # their results were returned already
            self._centres.popleft()

    def _state_specs(self) -> dict[str, ArraySpec]:
        window = self._window
        return {"frames": ArraySpec((range(2 * window.radius + 1), window.height, window.width, 3))}

    def _append(self, frame: np.ndarray) -> Any:
        """Advance by the next frame, and by its repetitions before the first; return merged features."""
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
        self._advanced_count += 1
        return features

    def _result(self, features: Any) -> np.ndarray | None:
        if self._advanced_count < 2 * self._window.radius + 1:
            return None
        return self._upscale(features, self._centres.popleft())


@dataclass(frozen=True)
class CompiledFeatureModel:
    """A network without a recurrent state, compiled for one frame size.

    Attributes:
        window: frames -> merged features.
        trunk: merged features -> features for ``reconstruct``.
        reconstruct: a band of these and of the padded centre frame -> a band of the upscaled frame.
        bands: of ``reconstruct``.
        backend: that the network runs on.
    """

    window: FeatureWindow
    trunk: Callable[..., Any]
    reconstruct: Callable[..., Any]
    bands: RowBands
    backend: Backend

    def upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Return a frame (H, W, 3) upscaled: float32 (scale*H, scale*W, 3) in [0, 1].

        Args:
            features: merged, from ``window``.
            centre: the frame in the middle of the window.
        """
        x = self.trunk(features)
        return self.backend.reconstruct(self.reconstruct, self.bands, x, pad_border(centre))[0]


def compile_cached(
    backend: Backend, height: int, width: int, *, band_pixels: int | None = None
) -> CompiledFeatureModel:
    """Compile a :class:`~vsrcli.models.duf_s.DufS`, or a DUF frame by frame, for frames of one size.

    Args:
        backend: with the network.
        height, width: of the frames.
        band_pixels: low-resolution pixels per band, about; None: the backend's choice.

    Raises:
        OutOfMemoryError: the device has not enough memory for this size.
    """
    bands = plan_bands(height, width, band_pixels or backend.band_pixels)
    compiled = backend.compile(height, width, bands)
    window = build_feature_window(backend, compiled["advance"], height, width)
    return CompiledFeatureModel(window, compiled["trunk"], compiled["reconstruct"], bands, backend)


class CachedStream(FeatureStream):
    """A :class:`FeatureStream` without a recurrent state.

    Args:
        model: from :func:`compile_cached`.
    """

    def __init__(self, model: CompiledFeatureModel) -> None:
        super().__init__(model.window)
        self._model = model

    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        return self._model.upscale(features, centre)


@dataclass(frozen=True)
class CompiledRecurrentModel:
    """A network with a recurrent state, compiled for one frame size.

    Attributes:
        window: frames -> merged features.
        step: merged features and the recurrent state -> the new hidden state, and features for
            ``reconstruct``.
        reconstruct: a band of these and of the padded centre frame -> a band of the upscaled frame, clipped,
            and of the feedback for the next step.
        bands: of ``reconstruct``.
        initial_state: the recurrent state before the first frame: hidden state and feedback.
        backend: that the network runs on.
    """

    window: FeatureWindow
    step: Callable[..., Any]
    reconstruct: Callable[..., Any]
    bands: RowBands
    initial_state: tuple[Any, ...]
    backend: Backend

    def upscale(
        self, features: Any, centre: np.ndarray, recurrent_state: tuple[Any, ...]
    ) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Run one step of the recurrence.

        Args:
            features: merged, from ``window``.
            centre: the frame in the middle of the window, (H, W, 3).
            recurrent_state: after the previous frame; ``initial_state`` for the first.

        Returns:
            The upscaled frame, float32 (scale*H, scale*W, 3) in [0, 1], and the new recurrent state.

        Raises:
            EngineError: NaN or infinity in the result, or not enough memory.
        """
        hidden, x = self.step(features, *recurrent_state)
        result, feedback = self.backend.reconstruct(self.reconstruct, self.bands, x, pad_border(centre))
        return result, (hidden, feedback)

    def state_specs(self) -> dict[str, ArraySpec]:
        """Return the specs of the arrays of :meth:`to_arrays`."""
        hidden, feedback = self.initial_state
        size = self.window.height, self.window.width
        return {
            "hidden": ArraySpec((1, *size, hidden.shape[-1]), numpy_dtype(self.backend.dtype)),
            "feedback": ArraySpec((1, *size, feedback.shape[-1])),
        }

    def to_arrays(self, recurrent_state: tuple[Any, ...]) -> State:
        """Return ``hidden`` (1, H, W, width) and ``feedback`` (1, H, W, 3*scale**2) as NumPy arrays."""
        hidden, feedback = recurrent_state
        features = self.backend.to_numpy(hidden)
        return {
            "hidden": self.backend.shapes.to_nhwc(features, self.window.height),
            "feedback": self.backend.to_numpy(feedback),
        }

    def from_arrays(self, state: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
        """Invert :meth:`to_arrays`: return the recurrent state, on the device."""
        to_device, hidden = self.backend.to_device, self.backend.shapes.from_nhwc(state["hidden"])
        return to_device(hidden, self.backend.dtype), to_device(state["feedback"], FLOAT32)


def compile_recurrent(
    backend: Backend, height: int, width: int, *, band_pixels: int | None = None
) -> CompiledRecurrentModel:
    """Compile a :class:`~vsrcli.models.duf_r.DufR` for frames of one size.

    Args:
        backend: with the network.
        height, width: of the frames.
        band_pixels: low-resolution pixels per band, about; None: the backend's choice.

    Raises:
        OutOfMemoryError: the device has not enough memory for this size.
    """
    bands, shapes = plan_bands(height, width, band_pixels or backend.band_pixels), backend.shapes
    compiled = backend.compile(height, width, bands)
    window = build_feature_window(backend, compiled["advance"], height, width)
    hidden = backend.zeros(shapes.features(height, width, shapes.width), backend.dtype)
    feedback = backend.zeros((1, height, width, 3 * shapes.scale**2), FLOAT32)
    return CompiledRecurrentModel(
        window, compiled["step"], compiled["reconstruct"], bands, (hidden, feedback), backend
    )


class RecurrentStream(FeatureStream):
    """A :class:`FeatureStream` with a recurrent state.

    State: that of the window, and

    - ``hidden`` (1, H, W, width): float16 at that precision, else float32.
    - ``feedback`` (1, H, W, 3*scale**2), float32: the last result before clipping, minus its input frame, in
      the arrangement that the network reads.

    At x4 in float32 these are ``72 + 4*width + 192`` bytes per low-resolution pixel: 440 for 44 channels, 664
    for 100.

    Args:
        model: from :func:`compile_recurrent`.
    """

    def __init__(self, model: CompiledRecurrentModel) -> None:
        super().__init__(model.window)
        self._model = model
        self._recurrent_state = model.initial_state

    def state(self) -> State:
        return {**super().state(), **self._model.to_arrays(self._recurrent_state)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self._recurrent_state = self._model.from_arrays(state)

    def _state_specs(self) -> dict[str, ArraySpec]:
        return {**super()._state_specs(), **self._model.state_specs()}

    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        result, self._recurrent_state = self._model.upscale(features, centre, self._recurrent_state)
        return result
