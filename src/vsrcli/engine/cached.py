"""Features computed once a frame and kept for the windows that follow: how DUF-S runs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.engine.backend import compile_function, fetch

RADIUS = 3  # frames before and after
BAND_PIXELS = 8192  # low-resolution pixels that the output stage takes at a time, on a CPU: fits its cache


@dataclass(frozen=True)
class CachedNetwork:
    """A network compiled for one frame size, in three parts.

    Attributes:
        advance: a frame and the state -> merged features and the new state.
        refine: merged features and the centre frame -> features and surroundings for ``paint``.
        paint: rows of these -> rows of the picture. Its filters are 25 * scale**2 floats a pixel, most of the
            memory; every pixel's are its own, so bands of rows give the same picture in less of it.
        bands: first row of every band.
        rows: in a band.
        scale: upsampling factor.
        empty: the state before the first frame.
    """

    advance: Callable[..., Any]
    refine: Callable[..., Any]
    paint: Callable[..., Any]
    bands: tuple[int, ...]
    rows: int
    scale: int
    empty: tuple[Any, ...]

    def reconstruct(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Merged features and a frame (H, W, 3) -> its picture, float32 (scale*H, scale*W, 3) in [0, 1]."""
        x, surroundings = self.refine(features, centre[None])
        if len(self.bands) == 1:
            return fetch(self.paint(x, surroundings))[0]
        height, width = centre.shape[:2]
        picture = np.empty((height * self.scale, width * self.scale, 3), np.float32)
        for top in self.bands:
            bottom = top + self.rows
            painted = self.paint(x[:, top:bottom], surroundings[:, top:bottom])
            picture[top * self.scale : bottom * self.scale] = fetch(painted)[0]
        return picture


def compile_cached(model: Any, height: int, width: int, *, band_pixels: int = BAND_PIXELS) -> CachedNetwork:
    """Compile a :class:`~vsrcli.models.duf_s.DufS` for frames of one size.

    Args:
        model: the network.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time.
    """
    from keras import ops

    def advance(frame, *state):
        """``(1, H, W, 3)`` and the last two features of each level -> merged features and the new state."""
        features, kept = model.encode(frame), []
        for level in range(RADIUS):
            before, here = state[2 * level : 2 * level + 2]
            kept += [here, features]
            features = model.fuse(level, before, here, features)
        return (features, *kept)

    def refine(features, centre):
        return model.refine(features), neighbourhoods(centre)

    def paint(x, surroundings):
        return ops.clip(model.paint(x, surroundings), 0.0, 1.0)

    from vsrcli.models.dynamic import TAPS, neighbourhoods

    count = math.ceil(height * width / band_pixels)
    rows = math.ceil(height / count)
    # bands of one height compile once: the last one begins early and paints some rows again
    bands = tuple(min(top, height - rows) for top in range(0, height, rows))
    frame = np.zeros((1, height, width, 3), np.float32)
    features = ops.zeros((1, height, width, model.width), model.encoder.compute_dtype)
    band = ops.zeros((1, rows, width, model.head_width), model.head.compute_dtype)
    empty = (features,) * (2 * RADIUS)
    return CachedNetwork(
        compile_function(advance, frame, *empty),
        compile_function(refine, features, frame),
        compile_function(paint, band, np.zeros((1, rows, width, TAPS * TAPS, 3), np.float32)),
        bands,
        rows,
        model.scale,
        empty,
    )


class CachedStream:
    """Each frame's features computed once, see :class:`~vsrcli.engine.types.Stream`.

    Time is padded by repeating the first and the last frame. Valid temporal convolutions answer for the frame
    three back, once seven frames have gone in; what they say before is made of the empty start and dropped.

    Args:
        network: from :func:`compile_cached`.
    """

    def __init__(self, network: CachedNetwork) -> None:
        self._network = network
        self._state: tuple[Any, ...] = network.empty
        self._centres: deque[np.ndarray] = deque()  # frames that still wait for their picture
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
        features, *state = self._network.advance(frame[None], *self._state)
        self._state = tuple(state)
        self._filled += 1
        if self._filled < 2 * RADIUS + 1:
            return None
        return self._network.reconstruct(features, self._centres.popleft())
