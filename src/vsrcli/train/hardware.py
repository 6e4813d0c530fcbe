"""One batch on several GPUs, through Keras' distribution API (data parallel: every GPU has all weights).

Mixed precision: features in 16 bits, weights, sums and pictures in 32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import keras

from vsrcli.errors import EngineError, UsageError
from vsrcli.train.device_data import device_memory


def data_parallel(gpus: int, batch: int) -> Callable[[], AbstractContextManager]:
    """How the sequences of a batch are shared out.

    Args:
        gpus: 0 for all that the backend sees and can share among; a number to insist on it.
        batch: sequences, a multiple of the number of devices.

    Returns:
        A function whose context makes networks live, and batches be shared, on these devices.

    Raises:
        UsageError: the backend cannot share, or the batch cannot be shared out evenly.
        EngineError: fewer devices than asked for.
    """
    backend = keras.backend.backend()
    if backend != "jax":  # Keras 3.15 shares batches out on JAX alone
        if gpus > 1:
            raise UsageError(f"--gpus {gpus} needs KERAS_BACKEND=jax: on {backend}, Keras trains on one GPU")
        return contextlib.nullcontext
    devices = keras.distribution.list_devices()
    if gpus > len(devices):
        raise EngineError(
            f"--gpus {gpus}: {backend} sees {len(devices)} ({', '.join(devices)}); take that many, or 0"
        )
    if not gpus and not devices[0].startswith("gpu"):
        return contextlib.nullcontext
    devices = devices[: gpus or len(devices)]
    if len(devices) == 1:
        return contextlib.nullcontext
    if batch % len(devices):
        raise UsageError(
            f"--batch {batch} cannot be shared out to {len(devices)} GPUs: take a multiple of it"
        )
    return keras.distribution.DataParallel(devices=devices).scope


POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "avx_ne_convert")


@contextlib.contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Networks built inside compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def precision_warning(precision: str) -> str:
    """What to tell someone who asks for a precision that this machine computes slowly; usually nothing."""
    if precision == "fp32" or device_memory():
        return ""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    if precision == "bf16" and (not flags or any(flag in flags for flag in _BF16_FLAGS)):
        return ""
    return (
        f"this CPU has no {precision} arithmetic: --precision {precision} will be many times slower than fp32"
    )
