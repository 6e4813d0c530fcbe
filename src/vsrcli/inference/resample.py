"""``bicubic`` and ``lanczos``: interpolation behind the engine's contract, the baselines to compare with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vsrcli.frames.resample import interpolate
from vsrcli.frames.state import State, validate_state

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
