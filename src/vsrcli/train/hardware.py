"""Hardware of a training run: data parallelism over several GPUs, and mixed precision.

A batch is split among GPUs through Keras' distribution API; every GPU has all weights. In mixed precision,
features have 16 bits, weights, sums and frames 32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import keras

from vsrcli.errors import EngineError, UsageError
from vsrcli.train.device_data import device_memory_bytes

DTYPE_POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "avx_ne_convert")


def data_parallel(gpu_count: int, batch_size: int) -> Callable[[], AbstractContextManager]:
    """Choose the devices that share each batch.

    Args:
        gpu_count: number of GPUs; 0: all that the backend can distribute to.
        batch_size: sequences per batch, a multiple of the number of devices.

    Returns:
        A context manager factory: networks built and batches trained inside are distributed.

    Raises:
        UsageError: the backend cannot distribute, or the batch cannot be split evenly.
        EngineError: fewer devices than requested.
    """
    backend = keras.backend.backend()
    if backend != "jax":  # Keras 3.15 distributes batches on JAX only
        if gpu_count > 1:
            raise UsageError(
                f"--gpus {gpu_count} needs KERAS_BACKEND=jax: on {backend}, Keras trains on one GPU"
            )
        return contextlib.nullcontext
    devices = keras.distribution.list_devices()
    if gpu_count > len(devices):
        raise EngineError(
            f"--gpus {gpu_count}: {backend} sees {len(devices)} ({', '.join(devices)}); use that many, or 0"
        )
    if not gpu_count and not devices[0].startswith("gpu"):
        return contextlib.nullcontext
    devices = devices[: gpu_count or len(devices)]
    if len(devices) == 1:
        return contextlib.nullcontext
    if batch_size % len(devices):
        raise UsageError(
            f"--batch {batch_size} cannot be split among {len(devices)} GPUs: use a multiple of their number"
        )
    return keras.distribution.DataParallel(devices=devices).scope


@contextlib.contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Set Keras' dtype policy for networks that are built inside the context."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(DTYPE_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def precision_warning(precision: str) -> str:
    """Return a warning if this machine emulates the precision slowly, else an empty string."""
    if precision == "fp32" or device_memory_bytes():
        return ""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    if precision == "bf16" and (not flags or any(flag in flags for flag in _BF16_FLAGS)):
        return ""
    return (
        f"this CPU has no {precision} arithmetic: --precision {precision} will be many times slower than fp32"
    )
