"""Become a program that is killed when its parent ends, however that ends.

Run as a script: ``python launcher.py PARENT_PID NICENESS MEMORY PROGRAM ...``. On Linux the kernel kills it
(PR_SET_PDEATHSIG, which outlives exec) and limits its address space to MEMORY bytes, 0 for no limit.
Elsewhere the program is started as it is, and the worker ends orphaned processes when it starts.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, nice: int, memory: int, command: list[str]) -> None:
    """Replace this process by ``command``, to be killed when the thread that started this process ends."""
    if sys.platform == "linux":
        import ctypes
        import resource

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before prctl
            sys.exit(137)
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if nice and hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
