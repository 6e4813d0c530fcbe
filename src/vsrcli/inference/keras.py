"""Networks on Keras: on TensorFlow, JAX or PyTorch.

The contract is in :mod:`vsrcli.inference.functions`. TensorFlow is the default; ``KERAS_BACKEND=jax`` or
``torch`` selects another before the first import.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vsrcli.errors import EngineError, SignalInterruptError
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import (
    BAND_PIXELS,
    RowBands,
    TensorSpec,
    functions,
    memory_errors,
    numpy_dtype,
    plan_bands,
    require_finite,
    shapes_of_model,
    signatures,
)
from vsrcli.inference.types import Compiler, RawNetwork
from vsrcli.models.imported import ImportedModel
from vsrcli.models.network_files import build_network
from vsrcli.models.weights import Weights, load_model
from vsrcli.system.native_stderr import captured_stderr, visible_stderr
from vsrcli.system.resources import configure_malloc

GPU_BAND_PIXELS = 2**18  # fewer, larger launches; 1.6 kB each


class KerasEngine(StreamingEngine):
    """A trained network, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        weights: of the network.
        device: ``auto``, ``cpu`` or GPU numbers.
        precision: ``auto`` (fp16 on a GPU, fp32 on a CPU), ``fp32``, ``fp16`` or ``bf16``: of the features;
            filters, softmax and the sum of frames are always float32.

    Raises:
        EngineError: the device does not exist.
        ModelError: the weight file is damaged.
    """

    def __init__(self, weights: Weights, *, device: str = "auto", precision: str = "auto") -> None:
        device_description = select_device(device)
        on_gpu, precision = _choose_precision(device_description, precision)
        with silence_native_stderr(), computing_in(precision):
            self.model = load_model(weights)
        bands, aligned = GPU_BAND_PIXELS if on_gpu else BAND_PIXELS, weights.architecture.aligned
        super().__init__(KerasBackend(self.model, bands, aligned), weights)
        self.precision, self.on_gpu = precision, on_gpu
        self.description = f"{weights.name} on {device_description}, {precision}"


class KerasBackend:
    """A network on Keras' backend, see :class:`~vsrcli.inference.functions.Backend`.

    Args:
        model: from a ``build`` of :mod:`vsrcli.models`, or any callable on full windows.
        band_pixels: low-resolution pixels per band of the output stage, about.
        aligned: frames of a window are aligned first.
        clips: see :func:`~vsrcli.inference.functions.functions`.
    """

    def __init__(
        self, model: Any, band_pixels: int = BAND_PIXELS, aligned: bool = False, *, clips: bool = True
    ) -> None:
        from keras import ops

        self.model, self.band_pixels, self._ops, self._clips = model, band_pixels, ops, clips
        self.shapes = replace(shapes_of_model(model), aligned=aligned)
        self.dtype = model.encoder.compute_dtype if hasattr(model, "encoder") else "float32"

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        by_name = functions(self.model, self.shapes, clips=self._clips)
        arguments = signatures(self.shapes, height, width, bands, self.dtype)
        return {name: compile_function(by_name[name], *specs) for name, specs in arguments.items()}

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        return self._ops.zeros(shape, dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> Any:
        return self._ops.convert_to_tensor(array, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        from keras import backend

        dtype = numpy_dtype(backend.standardize_dtype(array.dtype))
        return np.array(self._ops.convert_to_numpy(self._ops.cast(array, dtype)))

    def read_result(self, result: Any) -> np.ndarray:
        return require_finite(self._ops.convert_to_numpy(result))

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        feedback: list[Any] = []  # of each band; none without a recurrent state

        def results() -> Iterator[np.ndarray]:
            for rows in bands:
                outputs = function(*bands.slice(x, padded, rows))
                result, *others = outputs if isinstance(outputs, tuple | list) else (outputs,)
                feedback.extend(others)
                yield self.read_result(result)[0]

        frame = bands.assemble(results())
        if len(feedback) <= 1:
            return frame, feedback[0] if feedback else None
        return frame, self._ops.concatenate([*feedback[:-1], feedback[-1][:, bands.overlap_rows :]], axis=1)


def load_imported(model: ImportedModel, device: str, precision: str) -> Compiler:
    """Load a network that others have trained, see :mod:`vsrcli.inference.imported`.

    Raises:
        EngineError: the device does not exist.
        ModelError: the file is damaged, or is ONNX.
    """
    if model.description.format == "onnx":
        build_network(model.path)  # says so
    place = select_device(device)
    on_gpu, precision = _choose_precision(place, precision)
    with silence_native_stderr(), computing_in(precision):
        backend = KerasBackend(build_network(model.path), clips=False)

    def compile_raw(height: int, width: int) -> RawNetwork:
        upscale = backend.compile(height, width, plan_bands(height, width))["upscale"]
        return lambda array: backend.read_result(upscale(array[:, None]))

    return Compiler(compile_raw, place, precision, on_gpu)


def _choose_precision(place: str, precision: str) -> tuple[bool, str]:
    """Return whether a GPU computes, and the precision."""
    on_gpu = place.startswith("GPU")
    return on_gpu, ("fp16" if on_gpu else "fp32") if precision == "auto" else precision


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let networks that are built in the block compute in ``fp32``, ``fp16`` or ``bf16``."""
    import keras

    policy = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}[precision]
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous_policy)


@contextlib.contextmanager
def silence_native_stderr() -> Iterator[None]:
    """Hide what native libraries write to stderr at start-up; print it if the block raises."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with captured_stderr() as read_captured:
        try:
            yield
        except SignalInterruptError:  # by the user: no failure that the output could explain
            raise
        except BaseException:
            with contextlib.suppress(OSError, AttributeError, ValueError), visible_stderr() as stderr:
                os.write(stderr, read_captured())
            raise


def select_device(device: str) -> str:
    """Import the backend and bind this process to a device.

    Args:
        device: ``auto`` (first GPU if there is one), ``cpu``, or GPU numbers such as ``0`` or ``0,1`` (the
            first one computes; more of them need work in segments).

    Returns:
        The device, for people: ``CPU (no GPU found)``, ``GPU 0: NAME``.

    Raises:
        EngineError: the backend is not installed, or the GPU of this number does not exist.
    """
    configure_malloc()
    backend, gpus = _start_backend()
    if device == "cpu" or (device == "auto" and not gpus):
        _bind_device(backend, None)
        return f"CPU, {backend}" + ("" if device == "cpu" else " (no GPU found)")
    number = 0 if device == "auto" else int(device.split(",")[0])
    if number >= len(gpus):
        names = ", ".join(f"{i}: {name}" for i, name in enumerate(gpus)) or "none"
        raise EngineError(
            f"no GPU {number} that {backend} can see (available: {names}); use --gpu cpu or leave it out"
        )
    _bind_device(backend, number)
    return f"GPU {number}: {gpus[number]}, {backend}"


def list_gpus() -> list[str]:
    """Return the names of the GPUs that the backend can compute on. Imports the backend.

    Raises:
        EngineError: the backend is not installed.
    """
    return _start_backend()[1]


def compile_function(function: Callable[..., Any], *arguments: TensorSpec) -> Callable[..., Any]:
    """Return a compiled version of ``function`` for arguments of these shapes.

    It raises :class:`OutOfMemoryError` where the backend is out of memory.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in arguments]
        # no AutoGraph: there is no Python control flow on tensors to rewrite
        traced = tf.function(function, input_signature=signature, autograph=False)
        compiled: Any = traced.get_concrete_function()
    elif backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        compiled = jax.jit(function)
    else:
        import torch  # pyright: ignore[reportMissingImports]

        compiled = torch.inference_mode()(function)

    def call(*arguments: Any) -> Any:
        with memory_errors():
            return compiled(*arguments)

    return call


def _start_backend() -> tuple[str, list[str]]:
    """Import Keras; return the backend's name, and the names of its GPUs."""
    with silence_native_stderr():
        try:
            import keras

            backend = keras.backend.backend()
            gpus = {"tensorflow": _tensorflow_gpus, "jax": _jax_gpus, "torch": _torch_gpus}[backend]()
        except (ImportError, KeyError, ValueError) as error:  # ValueError: a name that Keras does not know
            requested = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise EngineError(
                f"Keras cannot start on {requested} ({error}): install it, or set KERAS_BACKEND to another "
                "of tensorflow, jax and torch"
            ) from error
    return backend, gpus


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


def _bind_device(backend: str, number: int | None) -> None:
    """Bind this process to GPU ``number`` or, with None, to the CPU."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already: the process's first choice stands
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
