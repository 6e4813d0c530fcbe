"""What the processor can do, as far as no library tells."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BYTE_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
_MATRIX_UNIT = "amx_bf16"
_NUMPY_NAMES = {"AVX512VNNI": "avx512_vnni", "AVX512_CLX": "avx512_vnni", "ASIMDDP": "asimddp"}


@cache
def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Return the processor's extensions by Linux' names; elsewhere those of them that NumPy looks for, which
    lack ``avx_vnni`` and AMX."""
    with suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:  # another version of NumPy: it is no part of its interface
        return frozenset()
    return frozenset(flag for name, flag in _NUMPY_NAMES.items() if features.get(name))


def multiplies_bytes_fast() -> bool:
    """Return whether sums of products of bytes take one instruction, so that eight bits pay.

    Without it, such sums also saturate at 16 bits: results may be wrong.
    """
    return not processor_flags().isdisjoint(_BYTE_PRODUCTS)


def has_matrix_unit() -> bool:
    """Return whether matrices in bfloat16 are multiplied by a unit of their own (AMX)."""
    return _MATRIX_UNIT in processor_flags()
