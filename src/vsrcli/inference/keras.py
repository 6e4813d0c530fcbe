"""A network on Keras: TensorFlow, JAX or PyTorch, see :mod:`vsrcli.inference.types` for the contract.

Keras' backends behind two words: start one on a device, compile a function.

TensorFlow is the default; ``KERAS_BACKEND=jax`` or ``torch`` chooses another before the first import.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vsrcli.errors import EngineError, OutOfMemoryError, SignalInterruptError
from vsrcli.inference.backend import numpy_dtype, require_finite
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import (
    BAND_PIXELS,
    RowBands,
    TensorSpec,
    functions,
    shapes_of_model,
    signatures,
)
from vsrcli.models.weights import Weights, load_model
from vsrcli.system.resources import configure_malloc

_OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Keep native libraries' start-up chatter off stderr; shown after all if the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        stderr = sys.__stderr__.fileno() if sys.__stderr__ else 2
        saved = os.dup(stderr)
    except (OSError, ValueError):  # no stderr at all: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), stderr)
        try:
            yield
        except SignalInterruptError:  # by the user: no failure that the chatter could explain
            raise
        except BaseException:
            chatter.seek(0)
            os.write(saved, chatter.read())
            raise
        finally:
            os.dup2(saved, stderr)
            os.close(saved)


def select_device(device: str) -> str:
    """Import the backend and bind this process to a device.

    Args:
        device: ``auto`` (first GPU if there is one), ``cpu``, or GPU numbers such as ``0`` or ``0,1`` (the
            first one computes; several need work cut in segments).

    Returns:
        What it runs on, for people: ``CPU (no GPU found)``, ``GPU 0: NAME``.

    Raises:
        EngineError: the backend is not installed, or a GPU was asked for by number that is not there.
    """
    configure_malloc()
    backend, there = _started()
    if device == "cpu" or (device == "auto" and not there):
        _choose(backend, None)
        return f"CPU, {backend}" + ("" if device == "cpu" else " (no GPU found)")
    number = 0 if device == "auto" else int(device.split(",")[0])
    if number >= len(there):
        names = ", ".join(f"{i}: {name}" for i, name in enumerate(there)) or "none"
        raise EngineError(
            f"no GPU {number} that {backend} can see (there: {names}); use --gpu cpu or leave it out"
        )
    _choose(backend, number)
    return f"GPU {number}: {there[number]}, {backend}"


def list_gpus() -> list[str]:
    """Names of the GPUs that the backend can compute on. Imports it.

    Raises:
        EngineError: it is not installed.
    """
    return _started()[1]


def _started() -> tuple[str, list[str]]:
    """The backend's name, and its GPUs."""
    with silence_native_stderr():
        try:
            import keras

            backend = keras.backend.backend()
            there = {"tensorflow": _tensorflow_gpus, "jax": _jax_gpus, "torch": _torch_gpus}[backend]()
        except (ImportError, KeyError, ValueError) as error:  # the last one: a name that Keras does not know
            wanted = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise EngineError(
                f"Keras cannot start on {wanted} ({error}): install it, or set KERAS_BACKEND to another of "
                "tensorflow, jax and torch"
            ) from error
    return backend, there


def compile_function(function: Callable[..., Any], *taken: TensorSpec) -> Callable[..., Any]:
    """A compiled version of ``function`` for arguments of these shapes, made once."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in taken]
        # no AutoGraph: there is no Python control flow on tensors to rewrite
        traced = tf.function(function, input_signature=signature, autograph=False)
        return _named_failures(traced.get_concrete_function())
    if backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        return _named_failures(jax.jit(function))

    def without_gradients(*arguments: Any) -> Any:
        import torch  # pyright: ignore[reportMissingImports]

        with torch.inference_mode():
            return function(*arguments)

    return _named_failures(without_gradients)


def _named_failures(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the backends' own out-of-memory exceptions into one that says what to do."""

    @functools.wraps(function, updated=())
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            if type(error).__name__ in _OUT_OF_MEMORY or "RESOURCE_EXHAUSTED" in str(error):
                raise OutOfMemoryError(
                    "not enough memory for a tile of this size: give a smaller --tile"
                ) from error
            raise

    return call


def _tensorflow_gpus() -> list[str]:
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]


def _jax_gpus() -> list[str]:
    import jax  # pyright: ignore[reportMissingImports]

    return [d.device_kind for d in jax.devices() if d.platform == "gpu"]


def _torch_gpus() -> list[str]:
    import torch  # pyright: ignore[reportMissingImports]

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _choose(backend: str, number: int | None) -> None:
    """Bind to GPU ``number`` or, with None, to the CPU."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # already running: the first choice of the process stands
            tf.config.set_visible_devices([] if number is None else [gpus[number]], "GPU")
            if number is not None:
                tf.config.experimental.set_memory_growth(gpus[number], True)
    elif backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        jax.config.update("jax_default_device", jax.devices("cpu" if number is None else "gpu")[number or 0])
    else:
        import keras

        keras.src.backend.common.global_state.set_global_attribute(  # what keras.device() sets
            "torch_device", "cpu" if number is None else f"cuda:{number}"
        )


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
