"""The network on Keras: TensorFlow, JAX or PyTorch.

Two kinds of stream over one contract: :class:`WindowStream` hands whole windows to the paper's DUF;
:class:`CachedStream` computes every frame's features once and keeps what the next windows need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.engine.backend import compile_function, quiet_import, start
from vsrcli.errors import EngineError
from vsrcli.frames.windows import Windows
from vsrcli.models.registry import Weights, load

if TYPE_CHECKING:
    import keras

RADIUS = 3  # frames before and after
BAND = 32  # rows of the output stage at a time, see DufS.reconstruct

Compiled = tuple[Callable[..., Any], ...]


class KerasEngine:
    """A trained network, see :class:`~vsrcli.engine.types.Engine`.

    Args:
        weights: which network.
        device: ``auto``, ``cpu`` or GPU numbers.
        precision: ``auto`` (fp16 on a GPU, fp32 on a CPU), ``fp32``, ``fp16`` or ``bf16``: of the features;
            filters, softmax and the sum of pictures are always float32.

    Raises:
        EngineError: the device is not there.
        ModelError: the weight file is damaged.
    """

    def __init__(self, weights: Weights, *, device: str = "auto", precision: str = "auto") -> None:
        place = start(device)
        with quiet_import():
            import keras

            if precision == "auto":
                precision = "fp16" if place.startswith("GPU") else "fp32"
            policy = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}[precision]
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy(policy)
            try:
                self.model = load(weights)
            finally:
                keras.config.set_dtype_policy(before)
        self.scale = weights.scale
        self.lookahead = RADIUS
        self.radius = weights.architecture.radius()
        self.description = f"{weights.name} on {place}, {precision}"
        self._kind = weights.architecture.kind
        self._compiled: dict[tuple[int, int], Compiled] = {}

    def open(self, height: int, width: int) -> CachedStream | WindowStream:
        """A fresh stream for frames of this size; the network is compiled at the first of each size."""
        if (height, width) not in self._compiled:
            build = compile_cached if self._kind == "cached" else compile_window
            self._compiled[height, width] = build(self.model, height, width)
        stream = CachedStream if self._kind == "cached" else WindowStream
        return stream(*self._compiled[height, width])


def compile_window(model: keras.Model, height: int, width: int) -> Compiled:
    """One function from a window ``(1, 7, H, W, 3)`` to its centre frame, upscaled and clipped."""
    from keras import ops

    def upscale(window):
        return ops.clip(ops.cast(model(window, training=False), "float32"), 0.0, 1.0)

    return (compile_function(upscale, np.zeros((1, 2 * RADIUS + 1, height, width, 3), np.float32)),)


class WindowStream:
    """Whole windows, each computed anew."""

    def __init__(self, upscale: Callable[..., Any]) -> None:
        self._upscale = upscale
        self._windows: Windows[np.ndarray] = Windows(RADIUS)

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        window = self._windows.push(frame)
        return None if window is None else self._run(window)

    def flush(self) -> list[np.ndarray]:
        return [self._run(window) for window in self._windows.flush()]

    def _run(self, window: tuple[np.ndarray, ...]) -> np.ndarray:
        return _picture(partial(self._upscale, np.stack(window)[None]))


def compile_cached(model: Any, height: int, width: int) -> Compiled:
    """Two functions: one frame further in time, and a picture from merged features."""
    from keras import ops

    def advance(frame, *state):
        """``(1, H, W, 3)`` and the last two features of each level -> merged features and the new state."""
        features, kept = model.encode(frame), []
        for level in range(RADIUS):
            before, here = state[2 * level : 2 * level + 2]
            kept += [here, features]
            features = model.fuse(level, before, here, features)
        return (features, *kept)

    def reconstruct(features, centre):
        return ops.clip(model.reconstruct(features, centre, band=BAND), 0.0, 1.0)

    frame = np.zeros((1, height, width, 3), np.float32)
    features = np.zeros((1, height, width, model.width), np.float32)
    dtype = model.encoder.compute_dtype
    start_features = ops.cast(features, dtype)
    state = [start_features] * (2 * RADIUS)
    return (
        compile_function(advance, frame, *state),
        compile_function(reconstruct, start_features, frame),
        lambda: state,
    )


class CachedStream:
    """Each frame's features computed once; time is padded by repeating the first and the last frame.

    Valid temporal convolutions answer for the frame three back, once seven frames have gone in; before that
    their results are made of the empty start and are not looked at.
    """

    def __init__(
        self, advance: Callable[..., Any], reconstruct: Callable[..., Any], empty: Callable[[], Any]
    ) -> None:
        self._advance, self._reconstruct = advance, reconstruct
        self._state = empty()
        self._centres: list[np.ndarray] = []  # frames that still wait for their picture
        self._filled = 0
        self._last: np.ndarray | None = None

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        if self._last is None:
            for _ in range(RADIUS):
                self._step(frame)
        self._last = frame
        self._centres.append(frame)
        return self._step(frame)

    def flush(self) -> list[np.ndarray]:
        if self._last is None:
            return []
        results = [self._step(self._last) for _ in range(RADIUS)]
        return [result for result in results if result is not None]

    def _step(self, frame: np.ndarray) -> np.ndarray | None:
        features, *self._state = self._advance(frame[None], *self._state)
        self._filled += 1
        if self._filled < 2 * RADIUS + 1:
            return None
        centre = self._centres.pop(0)
        return _picture(partial(self._reconstruct, features, centre[None]))


def _picture(run: Callable[[], Any]) -> np.ndarray:
    from keras import ops

    picture = ops.convert_to_numpy(run())[0]
    if not np.isfinite(picture.sum(dtype=np.float64)):
        raise EngineError("the network gave NaN or infinity: run again with --precision fp32")
    return picture
