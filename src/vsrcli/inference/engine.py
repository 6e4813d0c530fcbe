"""From a network to its streams: each kind of network has one, whatever the backend.

``bicubic`` and ``lanczos``: interpolation behind the engine's contract, the baselines to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from vsrcli.frames.resample import interpolate
from vsrcli.frames.state import State, validate_state
from vsrcli.inference.backend import Backend
from vsrcli.inference.streams import CachedStream, RecurrentStream, compile_cached, compile_recurrent
from vsrcli.inference.types import Stream
from vsrcli.inference.windows import WindowStream, compile_window
from vsrcli.models.weights import Weights


def compile_stream(network: Backend, height: int, width: int) -> Callable[[], Stream]:
    """Compile a network for frames of one size; the result opens streams that share it.

    Raises:
        OutOfMemoryError: the device has not enough memory for this size.
    """
    if network.sizes.kind == "recurrent":
        return partial(RecurrentStream, compile_recurrent(network, height, width))
    if network.sizes.kind in ("cached", "shared"):
        return partial(CachedStream, compile_cached(network, height, width))
    return partial(WindowStream, compile_window(network, height, width))


class StreamingEngine:
    """What engines have in common: one network, compiled at the first stream of each size.

    Args:
        network: on the engine's backend.
        weights: that it was made of.
    """

    def __init__(self, network: Backend, weights: Weights) -> None:
        self.scale = weights.scale
        self.radius = weights.architecture.radius()
        self.lookahead = network.sizes.levels
        self._network = network
        self._openers: dict[tuple[int, int], Callable[[], Stream]] = {}

    def open(self, height: int, width: int) -> Stream:
        """A fresh stream for frames of this size; the network is compiled at the first of each size."""
        size = height, width
        if size not in self._openers:
            self._openers[size] = compile_stream(self._network, height, width)
        return self._openers[size]()

    def clear_compiled(self) -> None:
        """Let go of what was compiled; streams that are open keep theirs. For a film of another size."""
        self._openers.clear()


KERNELS = {"bicubic": ("bicubic", 2), "lanczos": ("lanczos3", 3)}


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


class ResampleStream:
    """Answers at once and remembers nothing: its state is empty."""

    def __init__(self, engine: ResampleEngine) -> None:
        self._engine = engine

    def push(self, frame: np.ndarray) -> np.ndarray:
        engine = self._engine
        return interpolate(frame, engine.scale, engine.kernel, engine.phase).clip(0.0, 1.0)  # type: ignore[arg-type]

    def flush(self) -> list[np.ndarray]:
        return []

    def fork(self) -> ResampleStream:
        return self

    def state(self) -> State:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        validate_state(state, {})
