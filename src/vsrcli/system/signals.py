"""Ctrl-C and SIGTERM become an exception in the main thread, so that every ``with`` block cleans up.

Python runs handlers between its own instructions only, so a network that computes a frame for a minute would
hold up even a second Ctrl-C. A thread of its own hears every signal at once: it says what will happen, and
ends the process where it has been asked for twice.
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

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # no SIGHUP on Windows
SLOW_STOP_SECONDS = 2.0  # seconds after which a stop that takes its time is worth a word
REPEAT_WINDOW_SECONDS = (
    0.3  # seconds within which a signal is the same one again: terminals and wrappers both pass it on
)


class CancelToken:
    """Which signal has arrived, if any.

    Attributes:
        signum: its number; 0 while there is none.
    """

    def __init__(self) -> None:
        self.signum = 0

    def raise_if_cancelled(self) -> None:
        """Raise for a signal whose exception was lost on its way, inside a callback from native code, say.

        Raises:
            Interrupted: a signal has arrived.
        """
        if self.signum:
            raise SignalInterruptError("stopped", signum=self.signum)


@contextlib.contextmanager
def catch_signals(
    *, raise_first: bool = True, force_exit: Callable[[int], None] | None = None
) -> Iterator[CancelToken]:
    """Catch signals while the block runs.

    The first one raises, and whatever exception it has turned into on its way out is Interrupted again at the
    end. The next one leaves at once, without cleaning up: what is on disk is in order at any moment.

    Args:
        raising: False only takes note of the first signal, for loops that ask at a good moment themselves.
            The second one then raises, and the third leaves.
        leave: how to leave; by default the children are killed, and then this process ends.

    Raises:
        Interrupted: a signal arrived.
    """
    token = CancelToken()

    def handle(signum: int, frame: FrameType | None) -> None:
        first, token.signum = not token.signum, token.signum or signum
        if first == raise_first:
            token.raise_if_cancelled()

    previous = {}
    for each in SIGNALS:
        handler = signal.getsignal(each)
        if handler is not signal.SIG_IGN:  # nohup, or a shell's background job: ignored means ignored
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
    """A thread that hears signals while the main thread may be deep in native code.

    Args:
        patient: number of signals that the main thread is given time for.
        leave: called with the signal that comes after those.
    """
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    try:
        previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread: signals are not ours
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
    """Until the other end closes."""
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
    """End the children and this process, now."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    os._exit(128 + signum)


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone
        print(line, file=sys.stderr, flush=True)
