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
from itertools import chain
from typing import Any, Self

import numpy as np

from vsrcli.frames.state import ArraySpec, State, stack_frames, validate_state
from vsrcli.inference.backend import Backend


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
