"""A network on Keras: TensorFlow, JAX or PyTorch, see :mod:`vsrcli.engine.types` for the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vsrcli.engine.backend import compile_function, quiet_import, start
from vsrcli.engine.bands import BAND_PIXELS, Bands
from vsrcli.engine.network import finite, saved_type
from vsrcli.engine.parts import functions, signatures, sizes_of_model
from vsrcli.engine.streams import Opener
from vsrcli.models.registry import Weights, load

GPU_BAND_PIXELS = 2**18  # fewer, larger launches; 1.6 kB each


class KerasNetwork:
    """A network on Keras' backend, see :class:`~vsrcli.engine.network.Network`.

    Args:
        model: from a ``build`` of :mod:`vsrcli.models`, or anything that takes whole windows.
        band_pixels: about how many low-resolution pixels are painted at a time.
    """

    def __init__(self, model: Any, band_pixels: int = BAND_PIXELS) -> None:
        self.model, self.band_pixels = model, band_pixels
        self.sizes = sizes_of_model(model)
        self.dtype = model.encoder.compute_dtype if hasattr(model, "encoder") else "float32"

    def compile(self, height: int, width: int, bands: Bands) -> Mapping[str, Callable[..., Any]]:
        made, wanted = (
            functions(self.model, self.sizes, height, width),
            signatures(self.sizes, height, width, bands, self.dtype),
        )
        return {name: compile_function(made[name], *taken) for name, taken in wanted.items()}

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        from keras import ops

        return ops.zeros(shape, dtype)

    def load(self, array: np.ndarray, dtype: str) -> Any:
        from keras import ops

        return ops.convert_to_tensor(array, dtype=dtype)

    def save(self, array: Any) -> np.ndarray:
        from keras import backend, ops

        kind = saved_type(backend.standardize_dtype(array.dtype))
        return np.array(ops.convert_to_numpy(ops.cast(array, kind)))

    def fetch(self, picture: Any) -> np.ndarray:
        from keras import ops

        return finite(ops.convert_to_numpy(picture))

    def paint(
        self, function: Callable[..., Any], bands: Bands, x: Any, around: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        from keras import ops

        kept: list[Any] = []

        def pictures() -> Iterator[np.ndarray]:
            for rows in bands:
                given = function(*bands.cut(x, around, rows))
                picture, *remembered = given if isinstance(given, tuple | list) else (given,)
                kept.extend(remembered)
                yield self.fetch(picture)[0]

        picture = bands.join(pictures())
        if len(kept) <= 1:
            return picture, kept[0] if kept else None
        return picture, ops.concatenate([*kept[:-1], kept[-1][:, bands.repeated :]], axis=1)


class KerasEngine(Opener):
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
        on_gpu = place.startswith("GPU")
        with quiet_import():
            import keras

            if precision == "auto":
                precision = "fp16" if on_gpu else "fp32"
            policy = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}[precision]
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy(policy)
            try:
                self.model = load(weights)
            finally:
                keras.config.set_dtype_policy(before)
        super().__init__(KerasNetwork(self.model, GPU_BAND_PIXELS if on_gpu else BAND_PIXELS), weights)
        self.precision, self.on_gpu = precision, on_gpu
        self.description = f"{weights.name} on {place}, {precision}"
