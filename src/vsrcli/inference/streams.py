"""Streams of networks: full windows of frames, or each frame encoded once, with or without a recurrent state.

Time is padded by repeating the first and the last frame of a shot. (The authors of DUF pad with black, which
costs their first and last frames 1 to 6 dB.)

:class:`WindowStream` computes every window anew, as the paper's DUF does. DUF-S, DUF-R and the paper's DUF
frame by frame merge time by valid temporal convolutions, which give the same result wherever the window
stands: a :class:`CachedStream` evaluates each layer once per frame and holds two features of every level. A
:class:`RecurrentStream` also carries a hidden state and the previous output from frame to frame; a
:class:`StatefulStream` has a state alone, and no window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, Self

import numpy as np

from vsrcli.frames.flow import align_window
from vsrcli.frames.state import ArraySpec, State, cast_floats, stack_frames, validate_state
from vsrcli.inference.functions import FLOAT32, Backend, RowBands, numpy_dtype, pad_border, plan_bands
from vsrcli.inference.types import Stream


@dataclass(frozen=True)
class CompiledNetwork:
    """A network compiled for frames of one size; its streams share it.

    Attributes:
        backend: that the network runs on.
        height, width: of the frames.
        bands: of the output stage.
        functions: by name, see :func:`~vsrcli.inference.functions.functions`.
    """

    backend: Backend
    height: int
    width: int
    bands: RowBands
    functions: Mapping[str, Callable[..., Any]]

    @property
    def padding(self) -> tuple[int, int]:
        """Rows below and columns beside a frame that a network of kind ``window`` needs."""
        multiple = self.backend.shapes.multiple
        return -self.height % multiple, -self.width % multiple

    @cached_property
    def initial_queues(self) -> tuple[tuple[Any, ...], ...]:
        """The feature queues before the first frame, the oldest entry of each first."""
        queues, zeros = self.backend.shapes.queues, self._zero_features
        return tuple((zeros(channels),) * length for length, channels in queues)

    @cached_property
    def initial_state(self) -> tuple[Any, Any]:
        """The recurrent state before the first frame: hidden state, and feedback or None."""
        shapes = self.backend.shapes
        feedback = (1, self.height, self.width, 3 * shapes.scale**2)
        zeros = self.backend.zeros(feedback, FLOAT32) if shapes.feedback else None
        return self._zero_features(shapes.width), zeros

    def reconstruct(self, x: Any, centre: np.ndarray) -> tuple[np.ndarray, Any]:
        """Run the output stage on features and the frame (H, W, 3) in the middle of the window.

        Returns:
            See :meth:`~vsrcli.inference.functions.Backend.reconstruct`.
        """
        return self.backend.reconstruct(self.functions["reconstruct"], self.bands, x, pad_border(centre))

    def _zero_features(self, channels: int) -> Any:
        shape = self.backend.shapes.features(self.height, self.width, channels)
        return self.backend.zeros(shape, self.backend.dtype)


def compile_network(backend: Backend, height: int, width: int) -> CompiledNetwork:
    """Compile a network for frames of one size.

    Raises:
        OutOfMemoryError: the device has not enough memory for this size.
    """
    bands = plan_bands(height, width, backend.band_pixels)
    below, beside = (-side % backend.shapes.multiple for side in (height, width))
    compiled = backend.compile(height + below, width + beside, bands)
    return CompiledNetwork(backend, height, width, bands, compiled)


def compile_stream(backend: Backend, height: int, width: int) -> Callable[[], Stream]:
    """Compile a network for frames of one size; return a factory of streams that share it.

    Raises:
        OutOfMemoryError: the device has not enough memory for this size.
    """
    kinds = {"window": WindowStream, "recurrent": RecurrentStream, "stateful": StatefulStream}
    stream = kinds.get(backend.shapes.kind, CachedStream)
    return partial(stream, compile_network(backend, height, width))


class NetworkStream(Stream, ABC):
    """A stream over a window of frames, see :class:`~vsrcli.inference.types.Stream`.

    Results of a window that is not full yet are dropped.

    State: ``frames`` (up to ``2*radius``, H, W, 3), float32: the last frames pushed, 72 bytes per
    low-resolution pixel for a radius of three. What was computed from them is computed again, which takes
    less space than saving features.

    Args:
        network: compiled.
    """

    def __init__(self, network: CompiledNetwork) -> None:
        self._network = network
        self._radius = network.backend.shapes.levels
        self._centres: deque[np.ndarray] = deque()  # frames whose results are due
        self._recent: deque[np.ndarray] = deque(maxlen=2 * self._radius)
        self._advanced_count = 0

    @abstractmethod
    def _advance(self, frame: np.ndarray) -> Any:
        """Move the window on by a frame; return it, or features of it."""

    @abstractmethod
    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Return the result for a centre frame (H, W, 3), from what ``_advance`` returned for its window."""

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        return self._result(self._append(frame))

    def flush(self) -> list[np.ndarray]:
        if not self._recent:
            return []
        last = self._recent[-1]
        results = [self._result(self._advance_counted(last)) for _ in range(self._radius)]
        return [result for result in results if result is not None]

    def fork(self) -> Self:
        twin = copy(self)
        twin._centres, twin._recent = self._centres.copy(), self._recent.copy()
        return twin

    def state(self) -> State:
        return {"frames": stack_frames(self._recent, self._network.height, self._network.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        validate_state(state, self._state_specs())
        for frame in np.array(state["frames"]):
            self._append(frame)
        while len(self._centres) > self._radius:  # their results were returned already
            self._centres.popleft()

    def _state_specs(self) -> dict[str, ArraySpec]:
        size = self._network.height, self._network.width
        return {"frames": ArraySpec((range(2 * self._radius + 1), *size, 3))}

    def _append(self, frame: np.ndarray) -> Any:
        """Advance by the next frame, and by its repetitions before the first."""
        if not self._recent:
            for _ in range(self._radius):
                self._advance_counted(frame)
        self._recent.append(frame)
        self._centres.append(frame)
        return self._advance_counted(frame)

    def _advance_counted(self, frame: np.ndarray) -> Any:
        self._advanced_count += 1
        return self._advance(frame)

    def _result(self, features: Any) -> np.ndarray | None:
        is_full = self._advanced_count > 2 * self._radius
        return self._upscale(features, self._centres.popleft()) if is_full else None


class WindowStream(NetworkStream):
    """A :class:`NetworkStream` that computes every window anew.

    Frames are padded below and beside to the multiple that the network takes, and results are cropped; where
    it wants that, the window's frames are first aligned by optical flow.
    """

    def __init__(self, network: CompiledNetwork) -> None:
        super().__init__(network)
        self._window: tuple[np.ndarray, ...] = ()

    def _advance(self, frame: np.ndarray) -> tuple[np.ndarray, ...]:
        self._window = (*self._window, frame)[-(2 * self._radius + 1) :]
        return self._window

    def _upscale(self, features: tuple[np.ndarray, ...], centre: np.ndarray) -> np.ndarray:
        network, shapes = self._network, self._network.backend.shapes
        window = np.stack(features)
        if shapes.aligned:
            window = align_window(window)
        below, beside = network.padding
        if below or beside:
            window = np.pad(window, ((0, 0), (0, below), (0, beside), (0, 0)), mode="edge")
        result = network.backend.read_result(network.functions["upscale"](window[None]))[0]
        factor = len(result) // window.shape[1]
        cropped = result[: factor * network.height, : factor * network.width]
        return np.ascontiguousarray(cropped) if below or beside else result


class CachedStream(NetworkStream):
    """A :class:`NetworkStream` that evaluates each layer once per frame."""

    def __init__(self, network: CompiledNetwork) -> None:
        super().__init__(network)
        self._queues = network.initial_queues

    def _advance(self, frame: np.ndarray) -> Any:
        features, *newest = self._network.functions["advance"](frame[None], *chain(*self._queues))
        pairs = zip(self._queues, newest, strict=True)
        self._queues = tuple((*queue[1:], entry) for queue, entry in pairs)
        return features

    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        return self._network.reconstruct(self._network.functions["trunk"](features), centre)[0]


class RecurrentStream(CachedStream):
    """A :class:`CachedStream` with a recurrent state.

    State: that of the window, and

    - ``hidden`` (1, H, W, width): float16 at that precision, else float32; either can be restored.
    - ``feedback`` (1, H, W, 3*scale**2), float32, of networks that have it: the last result before clipping,
      minus its input frame, in the arrangement that the network reads.

    In float32 these are ``72 + 4*width`` bytes per low-resolution pixel, 200 for 32 channels, and 192 more at
    x4 with feedback.
    """

    def __init__(self, network: CompiledNetwork) -> None:
        super().__init__(network)
        self._recurrent_state = network.initial_state

    def state(self) -> State:
        (hidden, feedback), backend = self._recurrent_state, self._network.backend
        found = {
            **super().state(),
            "hidden": backend.shapes.to_nhwc(backend.to_numpy(hidden), self._network.height),
        }
        return found if feedback is None else {**found, "feedback": backend.to_numpy(feedback)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        state = cast_floats(state, self._state_specs())
        super().restore(state)
        backend = self._network.backend
        hidden = backend.to_device(backend.shapes.from_nhwc(state["hidden"]), backend.dtype)
        has_feedback = backend.shapes.feedback
        feedback = backend.to_device(state["feedback"], FLOAT32) if has_feedback else None
        self._recurrent_state = hidden, feedback

    def _state_specs(self) -> dict[str, ArraySpec]:
        network, shapes = self._network, self._network.backend.shapes
        size = 1, network.height, network.width
        specs = {
            **super()._state_specs(),
            "hidden": ArraySpec((*size, shapes.width), numpy_dtype(network.backend.dtype)),
        }
        feedback = {"feedback": ArraySpec((*size, 3 * shapes.scale**2))}
        return {**specs, **feedback} if shapes.feedback else specs

    def _upscale(self, features: Any, centre: np.ndarray) -> np.ndarray:
        state = (each for each in self._recurrent_state if each is not None)
        hidden, x = self._network.functions["step"](features, *state)
        result, feedback = self._network.reconstruct(x, centre)
        self._recurrent_state = hidden, feedback
        return result


class StatefulStream(NetworkStream):
    """A :class:`NetworkStream` of single frames and a recurrent state.

    State: ``hidden`` (1, H, W, width), float32, and no frames: 512 bytes per low-resolution pixel for the 128
    channels of ``convlstm``.
    """

    def __init__(self, network: CompiledNetwork) -> None:
        super().__init__(network)
        self._hidden = network.initial_state[0]

    def state(self) -> State:
        return {**super().state(), "hidden": self._network.backend.to_numpy(self._hidden)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self._hidden = self._network.backend.to_device(state["hidden"], FLOAT32)

    def _state_specs(self) -> dict[str, ArraySpec]:
        network = self._network
        size = 1, network.height, network.width
        return {**super()._state_specs(), "hidden": ArraySpec((*size, network.backend.shapes.width))}

    def _advance(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def _upscale(self, features: np.ndarray, centre: np.ndarray) -> np.ndarray:
        result, self._hidden = self._network.functions["step"](features[None], self._hidden)
        return self._network.backend.read_result(result)[0]
