"""Cooperative stops: Ctrl-C, SIGTERM and SIGHUP set a token that every wait of the main thread polls.

No exception comes out of a signal handler, so that none interrupts the standard library with a lock held, or
a child process that is started but not recorded. Native code that holds the main thread for long, such as a
network that takes a minute for a frame, cannot poll: a separate thread receives every signal, too. It prints
that the program is stopping, and leaves for the main thread at a second signal or after some seconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from vsrcli.errors import SignalInterruptError
from vsrcli.system import files
from vsrcli.system.native_stderr import visible_stderr

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # no SIGHUP on Windows
SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
POLL_INTERVAL = 0.1  # seconds between two looks at the token while the main thread waits
FORCE_EXIT_SECONDS = 7.0  # tests/torture wants ten, with the exit itself on a busy machine
SLOW_STOP_SECONDS = 2.0  # after which a message is printed
REPEAT_WINDOW_SECONDS = 0.3  # within which signals count once: terminals and wrappers both forward them


class CancelToken:
    """Whether the program has to stop.

    Args:
        force_exit_after: see the attribute.

    Attributes:
        signum: number of the signal that arrived first; 0: none has.
        force_exit_after: seconds after the signal in which the program must have stopped, or else it is left
            without cleanup; None: it may take its time.
    """

    def __init__(self, force_exit_after: float | None = None) -> None:
        self.signum = 0
        self.force_exit_after = force_exit_after
        self._wake_watcher: Callable[[int], object] = lambda signum: None

    @property
    def is_cancelled(self) -> bool:
        return self.signum != 0

    def cancel(self, signum: int = signal.SIGTERM) -> None:
        """Stop the program as if the signal had arrived; may be called in any thread."""
        self.signum = self.signum or signum
        self._wake_watcher(signum)

    def raise_if_cancelled(self) -> None:
        """Raise if the program has to stop.

        Raises:
            SignalInterruptError: a signal has arrived.
        """
        if self.signum:
            raise SignalInterruptError("stopped", signum=self.signum)

    def wait(self, seconds: float) -> bool:
        """Sleep until a signal arrives, at most ``seconds``; return whether one has."""
        end = time.monotonic() + seconds
        while not self.signum and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_INTERVAL))
        return self.is_cancelled


_current = CancelToken()  # never set
children: weakref.WeakSet[subprocess.Popen[Any]] = weakref.WeakSet()
"""Processes that must not outlive this one."""


StopReport = Callable[[int | None, str], None]
"""Tells a line about a stop: of a program that is left now, its exit status, or None while it still stops.

It is called in another thread than the main one, which may hold any lock. The line may be empty.
"""


def _stopped() -> str:
    return "vsr: stopped"


def current_token() -> CancelToken:
    """Return the token of the innermost :func:`catch_signals`; outside, one that is never set."""
    return _current


def raise_if_cancelled() -> None:
    """Raise in the main thread if the program has to stop; other threads end what they are doing.

    Raises:
        SignalInterruptError: a signal has arrived.
    """
    if _current.signum and threading.current_thread() is threading.main_thread():
        _current.raise_if_cancelled()


def wait_until_readable(descriptor: int) -> None:
    """Wait until a read does not block. Does nothing on Windows, where only sockets can be polled.

    Raises:
        SignalInterruptError: a signal has arrived.
    """
    while sys.platform != "win32":
        raise_if_cancelled()
        if select.select([descriptor], [], [], POLL_INTERVAL)[0]:
            return


def exit_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process at once from now on, except in :func:`catch_signals`.

    For a program's start and for commands that have nothing to clean up. The interpreter's own exception for
    Ctrl-C prints a traceback during imports, and could get lost in a callback.
    """
    global _current
    _current = CancelToken(force_exit_after=0.0)
    _start_watching(_current, _stopped, print_stop)


@contextlib.contextmanager
def catch_signals(
    *,
    force_exit_after: float | None = FORCE_EXIT_SECONDS,
    resume_hint: Callable[[], str] = _stopped,
    report_stop: StopReport | None = None,
) -> Iterator[CancelToken]:
    """Let SIGINT, SIGTERM and SIGHUP set a token while the block runs, instead of ending the program.

    A second signal leaves at once, without cleanup; so does the first after ``force_exit_after`` seconds.
    Files on disk are consistent at any moment. Outside the main thread, which alone handles signals, the
    block runs with a token that none sets.

    Args:
        force_exit_after: initial value of the token's attribute.
        resume_hint: called before the program is left for being slow; returns a line to be printed.
        report_stop: prints lines; None: :func:`print_stop`.

    Yields:
        The token, which is :func:`current_token` meanwhile.

    Raises:
        SignalInterruptError: the block raised it, or raised another exception after a signal had arrived.
    """
    global _current
    token, outer = CancelToken(force_exit_after), _current
    in_main_thread = threading.current_thread() is threading.main_thread()
    report_stop = report_stop or print_stop
    stop_watching = _start_watching(token, resume_hint, report_stop) if in_main_thread else lambda: None
    _current = token
    try:
        yield token
    except SignalInterruptError:
        raise
    except Exception as error:
        if not token.signum:
            raise
        stop = SignalInterruptError("stopped", signum=token.signum)  # which has killed a child, for example
        stop.saved_frames = getattr(error, "saved_frames", 0)
        raise stop from error
    finally:
        stop_watching()
        _current = outer


def _start_watching(
    token: CancelToken, resume_hint: Callable[[], str], report_stop: StopReport
) -> Callable[[], None]:
    """Install handlers that set the token, and a thread that receives signals at any moment.

    Returns:
        A function that undoes it.
    """
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    watcher = threading.Thread(
        target=_watch, args=(token, receiver, resume_hint, report_stop), name="signals", daemon=True
    )
    watcher.start()

    def wake(signum: int) -> None:
        with contextlib.suppress(OSError):  # another thread cancels while the block ends
            sender.send(bytes([signum]))

    token._wake_watcher = wake

    def handle(signum: int, frame: FrameType | None) -> None:
        token.signum = token.signum or signum
        with contextlib.suppress(OSError):
            sender.send(b"\0")  # event loops take the descriptor that the interpreter writes signals to

    previous_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    previous = {each: signal.getsignal(each) for each in SIGNALS}
    for each, handler in previous.items():
        if handler is not signal.SIG_IGN:  # as under nohup and in background jobs of a shell
            signal.signal(each, handle)

    def undo() -> None:
        for each, handler in previous.items():
            if handler is not None:  # else not installed by Python, which could not install it again
                signal.signal(each, handler)
        signal.set_wakeup_fd(previous_descriptor)
        token._wake_watcher = lambda signum: None
        sender.close()
        watcher.join()
        receiver.close()

    return undo


def _watch(
    token: CancelToken, receiver: socket.socket, resume_hint: Callable[[], str], report_stop: StopReport
) -> None:
    """Receive signals until the sender closes; if stopping is slow, print a message, and leave in the end."""
    first = last = 0.0  # times of signals
    announced = False
    while True:
        try:
            signums = receiver.recv(64)
            if not signums:
                return
        except TimeoutError:
            signums = b""
        now, arrived = time.monotonic(), [signum for signum in signums if signum in SIGNALS]
        if arrived:
            if first and now - last >= REPEAT_WINDOW_SECONDS:
                exit_immediately(arrived[-1], report_stop=report_stop)
            token.signum, last = token.signum or arrived[0], now
        if token.signum and not first:
            first = last = now
            receiver.settimeout(POLL_INTERVAL)
        if first and not announced and now - first >= SLOW_STOP_SECONDS:
            announced = True
            report_stop(
                None, "vsr: stopping as soon as the work in hand is done; Ctrl-C again leaves at once"
            )
        if first and token.force_exit_after is not None and now - first >= token.force_exit_after:
            exit_immediately(token.signum, resume_hint(), report_stop)


def exit_immediately(signum: int, message: str = "", report_stop: StopReport | None = None) -> None:
    """Kill all children, remove temporary files, report a message, and exit with status 128 + ``signum``.

    While the main thread computes, each system call may cost a moment, so there are few. The children are
    those that :mod:`vsrcli.system.processes` has started.
    """
    for child in list(children):
        with contextlib.suppress(OSError):
            child.kill()
    with contextlib.suppress(Exception):
        files.remove_temporary_files()
    with contextlib.suppress(Exception):
        (report_stop or print_stop)(128 + signum, message)
    os._exit(128 + signum)


def print_stop(status: int | None, line: str) -> None:
    """Print a line about a stop on stderr, unless it is empty; see :data:`StopReport`."""
    with contextlib.suppress(OSError, ValueError, AttributeError), visible_stderr() as descriptor:
        write_line(line, descriptor)  # unless it is closed


def write_line(line: str, descriptor: int) -> None:
    """Write a line, unless it is empty, or that would block since nobody reads it; take no lock."""
    with contextlib.suppress(OSError, ValueError):  # it is closed
        if line and (sys.platform == "win32" or select.select([], [descriptor], [], 0)[1]):
            os.write(descriptor, f"{line}\n".encode(errors="replace"))
