"""Start a program that is killed when its parent ends, however that ends.

Run as a script: ``python launcher.py PARENT_PID NICENESS PROGRAM ...``. On Linux the kernel kills it
(PR_SET_PDEATHSIG, which outlives exec); elsewhere the program is started as it is, and the worker ends
orphaned processes when it starts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def with_parent_death_signal(command: Sequence[str], *, nice: int = 0) -> list[str]:
    """Return the command line that starts ``command`` to be killed when the calling thread ends.

    Args:
        command: the program, by its path, and its arguments.
        nice: niceness, 0 to 19.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(nice), *command]


def main(parent: int, nice: int, command: Sequence[str]) -> None:
    """Replace this process by ``command``, to be killed when process ``parent`` ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before prctl
            sys.exit(137)
    if nice and hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    os.execv(command[0], list(command))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
