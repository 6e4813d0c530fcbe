"""What the processor can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from vsrcli.system import processor
from vsrcli.system.processor import has_matrix_unit, multiplies_bytes_fast, processor_flags


@pytest.mark.parametrize(
    ("line", "fast", "matrices"),
    [
        ("flags\t\t: fpu sse2 avx avx2 fma", False, False),
        ("flags\t\t: fpu avx2 avx_vnni", True, False),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16", True, False),
        ("flags\t\t: avx512_vnni amx_bf16 amx_tile amx_int8", True, True),
        ("Features\t: fp asimd asimddp", True, False),
        ("Features\t: fp asimd", False, False),
    ],
)
def test_flags_of_linux(
    line: str, fast: bool, matrices: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\n", encoding="utf-8")
    found = processor_flags(path)
    monkeypatch.setattr(processor, "processor_flags", lambda: found)
    assert multiplies_bytes_fast() is fast
    assert has_matrix_unit() is matrices


def test_elsewhere_numpy_is_asked(tmp_path: Path) -> None:
    assert processor_flags(tmp_path / "none") <= {"avx512_vnni", "asimddp"}
