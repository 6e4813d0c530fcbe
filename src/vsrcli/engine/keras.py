"""A network on Keras: TensorFlow, JAX or PyTorch, see :mod:`vsrcli.engine.types` for the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vsrcli.engine.backend import quiet_import, start
from vsrcli.engine.cached import BAND_PIXELS, CachedNetwork, CachedStream, compile_cached
from vsrcli.engine.windowed import RADIUS, WindowStream, compile_window
from vsrcli.models.registry import Weights, load

GPU_BAND_PIXELS = 2**18  # fewer, larger launches; 1.6 kB each


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
        self._cached = weights.architecture.kind == "cached"
        self._band_pixels = GPU_BAND_PIXELS if place.startswith("GPU") else BAND_PIXELS
        self._networks: dict[tuple[int, int], CachedNetwork] = {}
        self._functions: dict[tuple[int, int], Callable[..., Any]] = {}

    def open(self, height: int, width: int) -> CachedStream | WindowStream:
        """A fresh stream for frames of this size; the network is compiled at the first of each size."""
        size = height, width
        if self._cached:
            if size not in self._networks:
                self._networks[size] = compile_cached(self.model, *size, band_pixels=self._band_pixels)
            return CachedStream(self._networks[size])
        if size not in self._functions:
            self._functions[size] = compile_window(self.model, *size)
        return WindowStream(self._functions[size])
