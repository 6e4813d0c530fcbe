"""Engines: streams of a network on any backend, and plain interpolation as the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vsrcli.frames.flow import require_flow
from vsrcli.frames.resample import interpolate
from vsrcli.frames.state import State, validate_state
from vsrcli.inference.functions import Backend
from vsrcli.inference.streams import compile_stream
from vsrcli.inference.types import Stream
from vsrcli.models.imported import ImportedModel
from vsrcli.models.weights import Weights

KERNELS = {"bicubic": ("bicubic", 2), "lanczos": ("lanczos3", 3)}  # engine name -> kernel, its support


class StreamingEngine:
    """Base of the engines: one network, compiled for each frame size when its first stream is opened.

    Args:
        backend: with the network.
        weights: of the network.
    """

    def __init__(self, backend: Backend, weights: Weights | ImportedModel) -> None:
        self.scale = weights.scale
        self.radius = weights.architecture.radius()
        self.lookahead = backend.shapes.levels
        if backend.shapes.aligned:
            require_flow(weights.architecture.name)
        self._backend = backend
        self._stream_factories: dict[tuple[int, int], Callable[[], Stream]] = {}

    def open(self, height: int, width: int) -> Stream:
        """Return a fresh stream for frames of this size; compile the network if it is a new size."""
        size = height, width
        if size not in self._stream_factories:
            self._stream_factories[size] = compile_stream(self._backend, height, width)
        return self._stream_factories[size]()

    def clear_compiled(self) -> None:
        """Free the compiled networks, before a video of another size. Open streams stay usable."""
        self._stream_factories.clear()


class ResampleEngine:
    """Interpolation on the CPU, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        name: ``bicubic`` or ``lanczos``.
        scale: integer factor.
        phase: ``centre``, or ``zero`` to compare on the grid of the "BD" protocol.
    """

    def __init__(self, name: str, scale: int, phase: str = "centre") -> None:
        self.kernel, support = KERNELS[name]
        self.scale, self.phase = scale, phase
        self.radius = support + 1
        self.lookahead = 0
        self.precision, self.on_gpu = "fp32", False
        self.description = f"{name} interpolation on CPU, fp32"

    def open(self, height: int, width: int) -> ResampleStream:
        return ResampleStream(self)


class ResampleStream(Stream):
    """A stream without lookahead and with an empty state."""

    def __init__(self, engine: ResampleEngine) -> None:
        self._engine = engine

    def push(self, frame: np.ndarray) -> np.ndarray:
        engine = self._engine
        if engine.scale == 1:
            return frame
        return interpolate(frame, engine.scale, engine.kernel, engine.phase).clip(0.0, 1.0)  # type: ignore[arg-type]

    def flush(self) -> list[np.ndarray]:
        return []

    def fork(self) -> ResampleStream:
        return self

    def state(self) -> State:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        validate_state(state, {})
