"""Raise Ctrl-C and SIGTERM as an exception in the main thread, so that every ``with`` block cleans up.

Python runs signal handlers between its own instructions only, so a network that takes a minute for a frame
would delay even a second Ctrl-C. A separate thread receives every signal at once: it prints that the program
is stopping, and exits at the second signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import psutil

from vsrcli.errors import SignalInterruptError

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # no SIGHUP on Windows
SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
SLOW_STOP_SECONDS = 2.0  # after which a message is printed
REPEAT_WINDOW_SECONDS = 0.3  # within which signals count once: terminals and wrappers both forward them


class CancelToken:
    """The signal that has arrived, if any.

    Attributes:
        signum: its number; 0 if none has arrived.
    """

    def __init__(self) -> None:
        self.signum = 0

    def raise_if_cancelled(self) -> None:
        """Raise if a signal has arrived.

        For a signal whose exception was lost, for example in a callback from native code.

        Raises:
            SignalInterruptError: a signal has arrived.
        """
        if self.signum:
            raise SignalInterruptError("stopped", signum=self.signum)


@contextlib.contextmanager
def catch_signals(
    *, raise_first: bool = True, force_exit: Callable[[int], None] | None = None
) -> Iterator[CancelToken]:
    """Catch SIGINT, SIGTERM and SIGHUP while the block runs.

    The first signal raises SignalInterruptError; if other code has turned that into another exception, it is
    raised again at the end of the block. The second signal exits at once, without cleanup: files on disk are
    consistent at any moment.

    Args:
        raise_first: if false, the first signal only sets the token, for loops that check it themselves; the
            second signal raises, and the third exits.
        force_exit: called with the signal that exits; by default :func:`exit_immediately`.

    Yields:
        The token that holds the signal.

    Raises:
        SignalInterruptError: a signal arrived.
    """
    token = CancelToken()

    def handle(signum: int, frame: FrameType | None) -> None:
        first, token.signum = not token.signum, token.signum or signum
        if first == raise_first:
            token.raise_if_cancelled()

    previous = {}
    for each in SIGNALS:
        handler = signal.getsignal(each)
        if handler is not signal.SIG_IGN:  # as under nohup and in background jobs of a shell
            previous[each] = handler
            signal.signal(each, handle)
    try:
        with _watch_signals(1 if raise_first else 2, force_exit or exit_immediately):
            yield token
    except SignalInterruptError:
        raise
    except Exception as error:
        if token.signum and raise_first:
            stop = SignalInterruptError("stopped", signum=token.signum)
            stop.saved_frames = getattr(error, "saved_frames", 0)
            raise stop from error
        raise
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _watch_signals(handled_count: int, force_exit: Callable[[int], None]) -> Iterator[None]:
    """Receive signals in a thread while the main thread may be busy in native code.

    Args:
        handled_count: number of signals that are left to handlers in the main thread.
        force_exit: called with the signal after those.
    """
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    try:
        previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread, which alone handles signals
        sender.close()
        receiver.close()
        yield
        return
    thread = threading.Thread(
        target=_receive_signals, args=(receiver, handled_count, force_exit), name="signals", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        sender.close()
        thread.join()
        receiver.close()


def _receive_signals(receiver: socket.socket, handled_count: int, force_exit: Callable[[int], None]) -> None:
    """Count signals until the sender closes; print a message if stopping is slow, exit after one too many."""
    count, last = 0, -REPEAT_WINDOW_SECONDS
    while True:
        try:
            signums = receiver.recv(64)
        except TimeoutError:
            receiver.settimeout(None)
            _print("vsr: stopping as soon as the work in hand is done; Ctrl-C again leaves at once")
            continue
        if not signums:
            return
        signum, now = signums[-1], time.monotonic()
        if signum not in SIGNALS or now - last < REPEAT_WINDOW_SECONDS:
            continue
        count, last = count + 1, now
        if count > handled_count:
            force_exit(signum)
        elif count == handled_count:
            receiver.settimeout(SLOW_STOP_SECONDS)


def exit_immediately(signum: int) -> None:
    """Kill all child processes and exit with status 128 + ``signum``, without cleanup."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    os._exit(128 + signum)


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is closed
        print(line, file=sys.stderr, flush=True)
