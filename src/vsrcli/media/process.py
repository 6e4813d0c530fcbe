"""Run ffmpeg as a child process that cannot hang, be orphaned or fail silently, and parse what it reports.

Parsing covers two kinds of messages of a decoding ffmpeg: damaged data, and a change of the frame size.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO

from vsrcli.system.processes import start_process
from vsrcli.system.signals import POLL_INTERVAL, current_token, raise_if_cancelled

STALL_TIMEOUT = 600.0
"""Seconds that this program waits for a child that makes no progress, before it kills the child."""

_log = logging.getLogger(__name__)
_TAIL_LINES = 24
_MAX_LINE_LENGTH = 400
_REAP_SECONDS = 10  # a child that survives SIGKILL hangs in the kernel and cannot be ended
_IGNORED_MESSAGES = (
    "No accelerated colorspace conversion",
    "deprecated pixel format used",
    "Svt[info]",
    "Svt[warn]",
)
_FOLLOW_UP_ERRORS = (
    "Error sending frames to consumers",
    "Could not open encoder before EOF",
    "Task finished with error code",
    "Terminating thread with return code",
    "Nothing was written into output file",
)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_SIZE_CHANGE = re.compile(r"video parameters changed to .*?(\d+)x(\d+)")
_DAMAGE = re.compile(
    r"corrupt input packet|corrupt decoded frame|Error submitting packet to decoder|Decoding error"
    r"|Non-monotonic DTS|File ended prematurely|partial file"
    r"|\[in#\d+[^\]]*\] \[(?:error|fatal)\]"
    r"|\[mjpeg[^\]]*\] \[error\] error (?:y=|count:)"
)
_DECODER_ERROR = re.compile(r"^\[\w+ @ 0x[0-9a-f]+\] \[(?:error|fatal)\]")


class FFmpegProcess:
    """A running ffmpeg.

    One thread drains stderr, so the child never blocks on a full pipe; the last lines are stored. Another
    thread kills a child that keeps this program waiting for ``stall_timeout`` seconds without progress, or
    that the main thread waits for when a signal arrives.

    The child has a process group of its own, so that Ctrl-C in a terminal reaches this program only. It stays
    in this program's session, since Linux shares the processor between sessions before it considers niceness
    (sched(7), autogroups): ``nice vsr`` applies to its ffmpegs, too.

    Args:
        command: executable and arguments; never passes through a shell.
        stdin, stdout: whether to open a pipe.
        on_line: called with every line of stderr, in the draining thread.
        progress_marker: returns a value that changes while the child makes progress, such as the size of its
            output.
        stall_timeout: seconds, instead of ``STALL_TIMEOUT``.

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
        progress_marker: Callable[[], object] = lambda: None,
        stall_timeout: float | None = None,
    ) -> None:
        self.command = list(command)
        self._stall_timeout = STALL_TIMEOUT if stall_timeout is None else stall_timeout
        self._progress_marker = progress_marker
        self._current_wait = 0  # number of the wait in progress; 0: none
        self._wait_count = 0
        self._main_waits = False  # whether that is a wait of the main thread
        self._ended = threading.Event()
        self._stalled = False
        _log.debug("%s", shlex.join(self.command))
        self._on_line = on_line
        self._stderr_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._child = start_process(
            self.command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._stderr_thread = threading.Thread(target=self._read_stderr, name="ffmpeg-stderr", daemon=True)
        self._stderr_thread.start()
        threading.Thread(target=self._watch, name="ffmpeg-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def stdin(self) -> WatchedPipe:
        """The pipe into the child; only if it was requested."""
        return WatchedPipe(self.raw_stdin, self._watch_wait)

    @property
    def stdout(self) -> WatchedPipe:
        """The pipe out of the child; only if it was requested. Unbuffered."""
        return WatchedPipe(self.raw_stdout, self._watch_wait)

    @property
    def raw_stdin(self) -> IO[bytes]:
        """``stdin`` without the stall timeout: for a thread that may also wait for something else."""
        assert self._child.stdin is not None
        return self._child.stdin

    @property
    def raw_stdout(self) -> IO[bytes]:
        """``stdout`` without the stall timeout."""
        assert self._child.stdout is not None
        return getattr(self._child.stdout, "raw", self._child.stdout)

    def stderr_tail(self) -> str:
        """Return the last lines of stderr, without errors that only follow from another one."""
        lines = [_ADDRESS.sub("", line) for line in self._stderr_lines]
        causes = [line for line in lines if not any(text in line for text in _FOLLOW_UP_ERRORS)]
        return "\n".join(causes or lines)

    def wait(self) -> int:
        """Close stdin, wait for the child's exit, and return its status (negative: a signal).

        Raises:
            SignalInterruptError: a signal has arrived, which may be why the child has exited.
        """
        with self._watch_wait():
            self._close_pipe(self._child.stdin)
            status = self._child.wait()
        # A grandchild could keep stderr open; ffmpeg has none, so this returns at once.
        self._stderr_thread.join(timeout=_REAP_SECONDS)
        self._ended.set()
        raise_if_cancelled()
        return status

    def describe_exit(self, status: int) -> str:
        """Return an exit status in words, or that the child was killed because it stalled."""
        if self._stalled:
            return f"made no progress for {self._stall_timeout:g} seconds"
        return describe_exit(status)

    def kill_if_waited_for(self, seconds: float, has_progress: Callable[[], bool]) -> bool:
        """Kill the child once one wait for it lasts ``seconds``; return whether it was killed for that.

        Returns False at once if it makes progress, has ended or is being killed. Meanwhile nothing is read
        from stderr if the draining thread calls this: a child that writes there without end stands still.

        Args:
            seconds: how long this program waits for the child in one read, write or wait.
            has_progress: whether the child has made progress.
        """
        waits = 0
        current = self._current_wait
        while not self._ended.wait(POLL_INTERVAL) and self._child.poll() is None and not has_progress():
            waits = waits + 1 if current and current == self._current_wait else 0
            current = self._current_wait
            if waits * POLL_INTERVAL >= seconds:
                self._kill_child()
                return True
        return False

    def kill(self) -> None:
        """Kill the child and reap it. Safe to call at any time, any number of times."""
        self._ended.set()
        self._kill_child()
        self._close_pipe(self._child.stdin)
        self._close_pipe(self._child.stdout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=_REAP_SECONDS)
        self._stderr_thread.join(timeout=_REAP_SECONDS)

    @contextlib.contextmanager
    def _watch_wait(self) -> Iterator[None]:
        """Let the stall timeout run during a block that waits for the child, and a stop end it."""
        self._wait_count += 1
        self._main_waits = threading.current_thread() is threading.main_thread()
        if self._must_stop():
            self._kill_child()
        self._current_wait = self._wait_count
        try:
            yield
        finally:
            self._current_wait = 0

    def _watch(self) -> None:
        """Kill the child once one wait lasts ``stall_timeout`` seconds without progress, or has to stop.

        Counts intervals instead of reading a clock, so that no time passes while this program is suspended.
        """
        interval = min(POLL_INTERVAL, self._stall_timeout / 10)
        previous: tuple[int, object] = 0, None
        stalled_seconds = 0.0
        while not self._ended.wait(interval):
            current = self._current_wait, self._progress_marker()
            stalled_seconds = stalled_seconds + interval if current[0] and current == previous else 0.0
            previous = current
            self._stalled = stalled_seconds >= self._stall_timeout
            if self._stalled or (current[0] and self._must_stop()):
                self._kill_child()
                return

    def _must_stop(self) -> bool:
        return self._main_waits and current_token().is_cancelled

    def _kill_child(self) -> None:
        with contextlib.suppress(OSError):
            self._child.kill()

    def _read_stderr(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace").strip()[:_MAX_LINE_LENGTH]
                if not line or any(text in line for text in _IGNORED_MESSAGES):
                    continue
                if "[info]" not in line:
                    self._stderr_lines.append(line)
                if self._on_line is not None:
                    self._on_line(line)

    @staticmethod
    def _close_pipe(pipe: IO[bytes] | None) -> None:
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


class WatchedPipe:
    """One end of a child's pipe, as a file for PyAV: the stall timeout runs during every read and write."""

    def __init__(self, file: IO[bytes], watch_wait: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._watch_wait = watch_wait

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; none once another thread has killed the child, which closes the pipe."""
        with self._watch_wait():
            try:
                return self._file.read(size)
            except ValueError:  # closed; PyAV would print a traceback for the second read that fails
                return b""

    def write(self, data: bytes) -> int:
        """Write all of ``data``; return the number of bytes."""
        with self._watch_wait():
            return self._file.write(data)

    def close(self) -> None:
        """Close the pipe; never raise."""
        FFmpegProcess._close_pipe(self._file)


def describe_exit(status: int) -> str:
    """Return an exit status in words: ``exit status 1``, or ``killed by`` and the signal's name."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"


def is_damage_message(line: str) -> bool:
    """Return whether a line of ffmpeg's stderr reports missing or damaged data."""
    return _DAMAGE.search(line) is not None


def is_decoder_error(line: str) -> bool:
    """Return whether a line of ffmpeg's stderr is an error of a decoder, which may come before its report.

    Not every such error is damage: decoders complain of more than ffmpeg counts.
    """
    return _DECODER_ERROR.search(line) is not None


def parse_size_change(line: str) -> tuple[int, int] | None:
    """Return the new coded (width, height) if a line of ffmpeg's stderr reports a change, or else None."""
    match = _SIZE_CHANGE.search(line)
    return (int(match[1]), int(match[2])) if match else None
