"""One batch on several GPUs, through Keras' distribution API (data parallel: every GPU has all weights)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import keras

from vsrcli.errors import EngineError, UsageError


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
