"""Start a program that ends with whoever started it, also where that is killed without a word.

Run as a script: ``python leash.py PARENT NICENESS PROGRAM ...``. On Linux the kernel does it
(PR_SET_PDEATHSIG, which outlives exec); elsewhere the program is started as it is, and the worker looks for
left ones when it starts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def with_parent_death_signal(command: Sequence[str], *, nice: int = 0) -> list[str]:
    """The command line that starts ``command`` on a leash. The thread that starts it has to live as long.

    Args:
        command: the program, by its path.
        nice: from 0 to 19, how far it steps back where the processor is short, so that pages answer.
    """
    leash = os.path.abspath(__file__)
    return [sys.executable, "-I", "-S", leash, str(os.getpid()), str(nice), *command]


def main(parent: int, nice: int, command: Sequence[str]) -> None:
    """Become ``command``, to be killed when ``parent`` ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has ended before the kernel knew
            sys.exit(137)
    if nice and hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    os.execv(command[0], list(command))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
