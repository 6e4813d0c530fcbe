"""Mixed precision: features in 16 bits, weights, sums and pictures in 32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras

from vsrcli.train.device_data import device_memory

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
