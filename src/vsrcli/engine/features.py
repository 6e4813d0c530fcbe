"""A window of features: each frame encoded once, time merged level by level, for the networks that do so.

Valid temporal convolutions give the same result wherever the window stands, so a stream needs one evaluation
of each layer per frame; two features of every level are all that it has to keep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from vsrcli.engine.backend import compile_function
from vsrcli.frames.state import Entry, State, check, pack


@dataclass(frozen=True)
class FeatureWindow:
    """The first part of a network, compiled for one frame size.

    Attributes:
        advance: a frame (1, H, W, 3) and the state -> merged features and the new state.
        empty: the state before the first frame: two features of each level.
        height, width: of the frames.
    """

    advance: Callable[..., Any]
    empty: tuple[Any, ...]
    height: int
    width: int

    @property
    def radius(self) -> int:
        """Frames before and after: one for each level."""
        return len(self.empty) // 2


def compile_features(model: Any, height: int, width: int) -> FeatureWindow:
    """Compile ``encode`` and every ``fuse`` of a :class:`~vsrcli.models.duf_s.DufS` or
    :class:`~vsrcli.models.duf_r.DufR` for frames of one size."""
    from keras import ops

    def advance(frame, *state):
        features, kept = model.encode(frame), []
        for level in range(len(state) // 2):
            before, here = state[2 * level : 2 * level + 2]
            kept += [here, features]
            features = model.fuse(level, before, here, features)
        return (features, *kept)

    features = ops.zeros((1, height, width, model.width), model.encoder.compute_dtype)
    empty = (features,) * (2 * len(model.fusions))
    frame = np.zeros((1, height, width, 3), np.float32)
    return FeatureWindow(compile_function(advance, frame, *empty), empty, height, width)


class FeatureStream(ABC):
    """A stream on top of a window of features, see :class:`~vsrcli.engine.types.Stream`.

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
        self._features: tuple[Any, ...] = window.empty
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
        return {"frames": pack(self._recent, self._window.height, self._window.width)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        check(state, self._layout())
        for frame in np.array(state["frames"]):
            self._take(frame)
        while len(self._centres) > self._window.radius:  # these have had their picture
            self._centres.popleft()

    def _layout(self) -> dict[str, Entry]:
        """What a state looks like."""
        window = self._window
        return {"frames": Entry((range(2 * window.radius + 1), window.height, window.width, 3))}

    def _take(self, frame: np.ndarray) -> Any:
        """The next frame, before the first one its repetitions -> merged features."""
        if not self._recent:
            for _ in range(self._window.radius):
                self._advance(frame)
        self._recent.append(frame)
        self._centres.append(frame)
        return self._advance(frame)

    def _advance(self, frame: np.ndarray) -> Any:
        features, *kept = self._window.advance(frame[None], *self._features)
        self._features = tuple(kept)
        self._filled += 1
        return features

    def _answer(self, features: Any) -> np.ndarray | None:
        if self._filled < 2 * self._window.radius + 1:
            return None
        return self._picture(features, self._centres.popleft())
