"""Free memory of the machine, of its control groups and of a GPU; and process settings for libraries.

Settings must be made before the library is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psutil

from vsrcli.system.processes import run_process

_PROC_CGROUP, _CGROUP_MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 represents "no limit" by a number above this


def available_host_memory(proc_cgroup: Path = _PROC_CGROUP, mount: Path = _CGROUP_MOUNT) -> int:
    """Return the bytes that this process and its children can still allocate.

    That is the memory available on the machine, or below the limits of its control groups (Docker, systemd,
    batch systems) if that is less. File pages that the kernel can drop count as free.

    Args:
        proc: file that names the control groups of this process.
        cgroups: where control groups are mounted.
    """
    return min([psutil.virtual_memory().available, *_cgroup_headrooms(proc_cgroup, mount)])


def available_gpu_memory(device: str) -> int | None:
    """Return the free bytes of a GPU from ``nvidia-smi``, of several those of the fullest; None without it,
    without GPUs, or for ``cpu``.

    Args:
        device: ``auto``, ``cpu`` or numbers, of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves.
    """
    program = None if device == "cpu" else shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        gpus = [_gpu_name(int(number)) for number in ("0" if device == "auto" else device).split(",")]
        query = [program, "-i", ",".join(gpus), "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
        completed = run_process(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10)
        return min(int(line) for line in completed.stdout.splitlines()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _gpu_name(number: int) -> str:
    """Return what ``nvidia-smi`` calls a GPU that CUDA numbers: an index or a UUID; raise IndexError if CUDA
    does not see it. Both number by PCI bus, see :mod:`vsrcli.inference`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(number)
    names = [each.strip() for each in visible.split(",")]
    hidden = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:hidden][number]  # CUDA ignores what follows


def _cgroup_headrooms(proc_cgroup: Path, mount: Path) -> Iterator[int]:
    try:
        lines = proc_cgroup.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _headrooms(mount, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _headrooms(mount / "memory", path, *files)


def _headrooms(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """Yield the bytes below the limits of a control group and of its parents.

    In a container the path may be one of the host, which is not mounted: then the mount is the group.
    """
    group = mount / path.lstrip("/")
    for folder in [group, *group.parents]:
        if not folder.is_relative_to(mount):
            return
        try:
            limit_bytes, usage_bytes = int((folder / limit).read_text()), int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max": no limit
            continue
        if limit_bytes < _UNLIMITED:
            yield max(limit_bytes - usage_bytes + int(stat.get(cache, 0)), 0)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def configure_malloc() -> None:
    """Let glibc reuse large blocks instead of handing each back to the kernel.

    Every layer's output is tens of megabytes. By default glibc maps each anew and the kernel zeroes it page
    by page: measured here, a 1x1 convolution from 64 to 400 channels took 62 ms, of which 48 were page
    faults. No effect on results; does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)


def release_free_memory() -> None:
    """Let glibc hand all free memory back to the kernel; does nothing without glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # musl and Windows have none
        ctypes.CDLL(None).malloc_trim(0)


SIGNAL_STACK_BYTES = 2**18


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


_signal_stacks: list[ctypes.Array] = []  # in use for as long as the process lives


def enlarge_signal_stack() -> None:
    """Give the calling thread room to handle signals where a library has given it a small stack for that.

    OpenVINO installs one of 20 kB where the processor has tile registers (AMX). A signal stores these there,
    and so does the first call of each function of a library: together they overflow it, and Ctrl-C ends in a
    segmentation fault. Call it after OpenVINO's plugin was loaded, in the same thread. Does nothing without
    such a stack.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        sigaltstack = ctypes.CDLL(None).sigaltstack
    except (OSError, AttributeError):
        return
    present = _SignalStack()
    if sigaltstack(None, ctypes.byref(present)) or not present.start or present.size >= SIGNAL_STACK_BYTES:
        return
    memory = ctypes.create_string_buffer(SIGNAL_STACK_BYTES)
    larger = _SignalStack(ctypes.addressof(memory), 0, SIGNAL_STACK_BYTES)
    _signal_stacks.append(memory)
    sigaltstack(ctypes.byref(larger), None)


def import_in_background(*modules: str) -> None:
    """Import modules in a thread, so that they are there when they are needed; what is missing is ignored.

    The process does not end before the imports have.
    """

    def load() -> None:
        for name in modules:
            with contextlib.suppress(Exception):  # who needs it reports it
                import_module(name)

    if any(name not in sys.modules for name in modules):
        threading.Thread(target=load, name="imports").start()


def disable_openvino_telemetry() -> None:
    """Keep OpenVINO from sending usage data to its vendor, which it does by default.

    Without its telemetry package, OpenVINO uses a stub that does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # makes the import fail


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def reset_peak_memory() -> int:
    """Start a new measurement of this process's peak memory.

    Returns:
        Its memory now, in bytes; 0 if the system cannot tell.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return peak_memory()
    except OSError:
        return 0


def peak_memory() -> int:
    """Return this process's peak memory in bytes, since the last reset.

    Raises:
        OSError: the system cannot tell.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("no VmHWM")
