"""Run ffmpeg as a child that can neither hang, nor be orphaned, nor fail unheard."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

_log = logging.getLogger(__name__)
_TAIL = 24
_LINE = 400
_NOISE = ("No accelerated colorspace conversion", "deprecated pixel format used")
_ECHOES = (
    "Error sending frames to consumers",
    "Could not open encoder before EOF",
    "Task finished with error code",
    "Terminating thread with return code",
    "Nothing was written into output file",
)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


class Process:
    """A running ffmpeg.

    A thread drains stderr, so the child never stops on a full pipe; the last lines are kept. The child
    lives in its own session: Ctrl-C in a terminal reaches this program only, which then decides.

    Args:
        command: executable and arguments; never passes through a shell.
        stdin, stdout: whether to open a pipe.
        on_line: called with every line of stderr, in the draining thread.

    Raises:
        OSError: the executable could not be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = False,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.command = list(command)
        _log.debug("%s", shlex.join(self.command))
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=_TAIL)
        windows = sys.platform == "win32"
        with contextlib.ExitStack() as undo:
            with _signals_later():
                self._child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=not windows,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if windows else 0,
                )
                self._drain = threading.Thread(target=self._read_errors, name="ffmpeg-stderr", daemon=True)
                self._drain.start()
                undo.callback(self.kill)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the child; only if it was asked for."""
        assert self._child.stdin is not None
        return self._child.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe out of the child; only if it was asked for. Unbuffered: a read gives what is there."""
        assert self._child.stdout is not None
        return getattr(self._child.stdout, "raw", self._child.stdout)

    def tail(self) -> str:
        """The last lines that ffmpeg wrote on stderr, without those that only follow from the others."""
        lines = [_ADDRESS.sub("", line) for line in self._lines]
        causes = [line for line in lines if not any(echo in line for echo in _ECHOES)]
        return "\n".join(causes or lines)

    def wait(self) -> int:
        """Close stdin, wait for the end, and return the exit status (negative: the signal that ended it)."""
        self._close(self._child.stdin)
        status = self._child.wait()
        # A grandchild could hold stderr open; ffmpeg has none, so this ends at once.
        self._drain.join(timeout=10)
        return status

    def kill(self) -> None:
        """End the child at once and reap it. Safe to call at any time, any number of times."""
        with contextlib.suppress(OSError):
            self._child.kill()
        self._close(self._child.stdin)
        self._close(self._child.stdout)
        self._child.wait()
        self._drain.join(timeout=10)

    def _read_errors(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace").strip()[:_LINE]
                if not line or any(noise in line for noise in _NOISE):
                    continue
                if "[info]" not in line:
                    self._lines.append(line)
                if self._on_line is not None:
                    self._on_line(line)

    @staticmethod
    def _close(pipe: IO[bytes] | None) -> None:
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Hold back handlers of signals, whose exceptions could cut in between fork and return.

    The child would then be nobody's. What has arrived is raised again as soon as the block is over.
    """
    arrived: list[int] = []
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():  # elsewhere no handler runs
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                each = getattr(signal, name, None)
                if each is not None and callable(signal.getsignal(each)):
                    before[each] = signal.getsignal(each)
                    signal.signal(each, lambda signum, frame: arrived.append(signum))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for each in arrived[:1]:
            signal.raise_signal(each)


def describe_exit(status: int) -> str:
    """An exit status in words: ``status 1``, or the name of the signal that ended it."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
