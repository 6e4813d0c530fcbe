"""From a network to its streams: each kind of network has one, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vsrcli.inference.backend import Backend
from vsrcli.inference.cached import CachedStream, compile_cached
from vsrcli.inference.recurrent import RecurrentStream, compile_recurrent
from vsrcli.inference.types import Stream
from vsrcli.inference.windowed import WindowStream, compile_window
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
