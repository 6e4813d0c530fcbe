"""A network on Keras: TensorFlow, JAX or PyTorch, see :mod:`vsrcli.inference.types` for the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vsrcli.inference.backend import numpy_dtype, require_finite
from vsrcli.inference.bands import BAND_PIXELS, RowBands
from vsrcli.inference.keras_device import compile_function, select_device, silence_native_stderr
from vsrcli.inference.parts import functions, shapes_of_model, signatures
from vsrcli.inference.streams import StreamingEngine
from vsrcli.models.weights import Weights, load_model

GPU_BAND_PIXELS = 2**18  # fewer, larger launches; 1.6 kB each


class KerasBackend:
    """A network on Keras' backend, see :class:`~vsrcli.inference.backend.Backend`.

    Args:
        model: from a ``build`` of :mod:`vsrcli.models`, or anything that takes whole windows.
        band_pixels: about how many low-resolution pixels are painted at a time.
    """

    def __init__(self, model: Any, band_pixels: int = BAND_PIXELS) -> None:
        self.model, self.band_pixels = model, band_pixels
        self.sizes = shapes_of_model(model)
        self.dtype = model.encoder.compute_dtype if hasattr(model, "encoder") else "float32"

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        made, wanted = (
            functions(self.model, self.sizes, height, width),
            signatures(self.sizes, height, width, bands, self.dtype),
        )
        return {name: compile_function(made[name], *taken) for name, taken in wanted.items()}

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        from keras import ops

        return ops.zeros(shape, dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> Any:
        from keras import ops

        return ops.convert_to_tensor(array, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        from keras import backend, ops

        kind = numpy_dtype(backend.standardize_dtype(array.dtype))
        return np.array(ops.convert_to_numpy(ops.cast(array, kind)))

    def read_result(self, picture: Any) -> np.ndarray:
        from keras import ops

        return require_finite(ops.convert_to_numpy(picture))

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, around: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        from keras import ops

        kept: list[Any] = []

        def pictures() -> Iterator[np.ndarray]:
            for rows in bands:
                given = function(*bands.slice(x, around, rows))
                picture, *remembered = given if isinstance(given, tuple | list) else (given,)
                kept.extend(remembered)
                yield self.read_result(picture)[0]

        picture = bands.assemble(pictures())
        if len(kept) <= 1:
            return picture, kept[0] if kept else None
        return picture, ops.concatenate([*kept[:-1], kept[-1][:, bands.overlap_rows :]], axis=1)


class KerasEngine(StreamingEngine):
    """A trained network, see :class:`~vsrcli.inference.types.Engine`.

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
        place = select_device(device)
        on_gpu = place.startswith("GPU")
        with silence_native_stderr():
            import keras

            if precision == "auto":
                precision = "fp16" if on_gpu else "fp32"
            policy = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}[precision]
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy(policy)
            try:
                self.model = load_model(weights)
            finally:
                keras.config.set_dtype_policy(before)
        super().__init__(KerasBackend(self.model, GPU_BAND_PIXELS if on_gpu else BAND_PIXELS), weights)
        self.precision, self.on_gpu = precision, on_gpu
        self.description = f"{weights.name} on {place}, {precision}"
