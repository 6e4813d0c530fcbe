"""How much memory is free: of the machine, of the container that this runs in, of a GPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

_PROC, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 writes a number like this for "no limit"


def available_host_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Bytes that this process and its children may still take.

    What the machine has available, or what its control groups (Docker, systemd, batch systems) leave, if that
    is less. File pages that the kernel would give up at once count as free.

    Args:
        proc: says which control groups this process is in.
        cgroups: where they are mounted.
    """
    return min([psutil.virtual_memory().available, *_left_by_groups(proc, cgroups)])


def available_gpu_memory(device: str) -> int | None:
    """Bytes that are free on a GPU, as ``nvidia-smi`` says; None without it, without GPUs, or for ``cpu``.

    Args:
        device: ``auto``, ``cpu`` or a number.
    """
    program = None if device == "cpu" else shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        return int(done.stdout.splitlines()[0 if device == "auto" else int(device)]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _left_by_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(cgroups, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _left(cgroups / "memory", path, *files)


def _left(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """What a group and every one that it is in leave.

    In a container the path may be that of the host, where nothing is mounted: then the mount is the group.
    """
    group = mount / path.lstrip("/")
    for folder in [group, *group.parents]:
        if not folder.is_relative_to(mount):
            return
        try:
            most, held = int((folder / limit).read_text()), int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max": no limit
            continue
        if most < _UNLIMITED:
            yield max(most - held + int(stat.get(cache, 0)), 0)
