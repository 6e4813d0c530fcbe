"""Free memory of control groups and GPUs, and room for signals."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from vsrcli.system import resources
from vsrcli.system.resources import (
    SIGNAL_STACK_BYTES,
    _SignalStack,
    available_gpu_memory,
    available_host_memory,
    enlarge_signal_stack,
)


def write_cgroup(folder: Path, limit: str, usage: int, cache: int, names: tuple[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    key = "inactive_file" if names[0] == "memory.max" else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cache}\n")


V2_FILES, V1_FILES = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_cgroup_v2_limits(tmp_path: Path) -> None:
    """The tightest limit of the group and its parents counts; cached files count as free."""
    proc, mount = tmp_path / "cgroup", tmp_path / "mount"
    proc.write_text("0::/job/step\n")
    write_cgroup(mount / "job/step", "max", 9_000, 0, V2_FILES)
    write_cgroup(mount / "job", "50000", 30_000, 5_000, V2_FILES)
    write_cgroup(mount, "70000", 30_000, 0, V2_FILES)
    assert available_host_memory(proc, mount) == 25_000
    proc.write_text("0::/elsewhere/on/the/host\n")  # as some containers see it
    assert available_host_memory(proc, mount) == 40_000


def test_cgroup_v1_limits(tmp_path: Path) -> None:
    proc, mount = tmp_path / "cgroup", tmp_path / "mount"
    proc.write_text("5:cpu:/x\n4:memory:/docker/1\n0::/\n")
    write_cgroup(mount / "memory/docker/1", "40000", 10_000, 1_000, V1_FILES)
    write_cgroup(mount / "memory", str(2**63 - 4096), 10_000, 0, V1_FILES)
    assert available_host_memory(proc, mount) == 31_000
    assert available_host_memory(tmp_path / "none", mount) > 2**20  # without control groups: of the machine


@pytest.mark.parametrize(("given", "order"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_gpus_are_numbered_as_nvidia_smi_does(
    given: str | None, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if given:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", given)
    script = "import vsrcli.inference.engine_plan, os; print(os.environ['CUDA_DEVICE_ORDER'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == order


def test_available_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"0": "40000", "1": "30000", "GPU-b": "30000"}

    def query(line: list[str], **options: object) -> SimpleNamespace:
        gpus = line[line.index("-i") + 1].split(",")
        known = all(each in free for each in gpus)
        lines = [free[each] for each in gpus] if known else ["No devices were found"]
        return SimpleNamespace(stdout="\n".join(lines).encode())

    monkeypatch.setattr(resources.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(resources, "run_process", query)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert available_gpu_memory("auto") == 40_000 * 2**20
    assert available_gpu_memory("1") == available_gpu_memory("0,1") == 30_000 * 2**20
    assert available_gpu_memory("2") is None
    for visible, expected in (("1", 30_000), ("GPU-b, 0", 30_000), ("0,1", 40_000)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert available_gpu_memory("auto") == available_gpu_memory("0") == expected * 2**20
    for visible in ("", "-1", "0,-1,1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert available_gpu_memory("1") is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert available_gpu_memory("cpu") is None
    monkeypatch.setattr(resources.shutil, "which", lambda name: None)
    assert available_gpu_memory("auto") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the structure is Linux's")
def test_a_small_stack_for_signals_is_replaced() -> None:
    """In a thread of its own: the stack belongs to the thread."""
    sizes: list[int] = []
    sigaltstack = ctypes.CDLL(None).sigaltstack

    def install_and_enlarge() -> None:
        memory = ctypes.create_string_buffer(2**15)
        small = _SignalStack(ctypes.addressof(memory), 0, 2**15)
        present = _SignalStack()
        enlarge_signal_stack()
        sigaltstack(None, ctypes.byref(present))
        sizes.append(present.size)
        sigaltstack(ctypes.byref(small), None)
        for _ in range(2):
            enlarge_signal_stack()
            sigaltstack(None, ctypes.byref(present))
            sizes.append(present.size)

    thread = threading.Thread(target=install_and_enlarge)
    thread.start()
    thread.join()
    assert sizes == [0, SIGNAL_STACK_BYTES, SIGNAL_STACK_BYTES]
