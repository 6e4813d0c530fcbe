"""Small random networks, noise, and a way to run a stream, for tests of inference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vsrcli.inference.types import Stream
from vsrcli.models import duf_r, duf_s


def randomize(model: Any, gain: float = 1.0, seed: int = 1) -> Any:
    """Set random kernels in every layer: untrained networks start as interpolators that hardly use features.

    Args:
        model: any network.
        gain: of every convolution. At 1 a recurrent network may swing between the limits of its state, where
            a trained one settles.
        seed: of the kernels.
    """
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(gain * rng.normal(size=variable.shape) / np.sqrt(fan_in))
    return model


def tiny_cached(scale: int = 4) -> duf_s.DufS:
    return randomize(duf_s.build(scale, width=8, blocks=1, head=8))


def tiny_recurrent(scale: int = 4, gain: float = 0.8, seed: int = 1, **options: Any) -> duf_r.DufR:
    return randomize(duf_r.build(scale, width=8, levels=2, blocks=1, head=8, **options), gain, seed)


def noise_frames(count: int, height: int = 10, width: int = 12) -> np.ndarray:
    """Return noise: (count, height, width, 3) float32."""
    return np.random.default_rng(count).random((count, height, width, 3)).astype(np.float32)


def run_stream(stream: Stream, frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return all results of a stream, flushed."""
    results = [stream.push(frame) for frame in frames]
    return [result for result in results if result is not None] + stream.flush()
