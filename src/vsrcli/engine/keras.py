"""A network on Keras: TensorFlow, JAX or PyTorch, see :mod:`vsrcli.engine.types` for the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vsrcli.engine.backend import quiet_import, start
from vsrcli.engine.bands import BAND_PIXELS
from vsrcli.engine.cached import CachedStream, compile_cached
from vsrcli.engine.recurrent import RecurrentStream, compile_recurrent
from vsrcli.engine.types import Stream
from vsrcli.engine.windowed import WindowStream, compile_window
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
        self.radius = weights.architecture.radius()
        self.precision, self.on_gpu = precision, place.startswith("GPU")
        self.description = f"{weights.name} on {place}, {precision}"
        self._kind = weights.architecture.kind
        self.lookahead = getattr(self.model, "levels", weights.architecture.frames // 2)
        self._band_pixels = GPU_BAND_PIXELS if place.startswith("GPU") else BAND_PIXELS
        self._openers: dict[tuple[int, int], Callable[[], Stream]] = {}

    def open(self, height: int, width: int) -> Stream:
        """A fresh stream for frames of this size; the network is compiled at the first of each size."""
        size = height, width
        if size not in self._openers:
            self._openers[size] = self._compile(height, width)
        return self._openers[size]()

    def _compile(self, height: int, width: int) -> Callable[[], Stream]:
        bands = {"band_pixels": self._band_pixels}
        if self._kind == "recurrent":
            return partial(RecurrentStream, compile_recurrent(self.model, height, width, **bands))
        if self._kind == "cached":
            return partial(CachedStream, compile_cached(self.model, height, width, **bands))
        return partial(WindowStream, compile_window(self.model, height, width))
