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
FORCE_EXIT_AFTER = 2.0  # seconds after which a stop that takes its time is worth a word
REPEAT_WINDOW = (
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
    *, raising: bool = True, leave: Callable[[int], None] | None = None
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
    received = CancelToken()

    def handle(signum: int, frame: FrameType | None) -> None:
        first, received.signum = not received.signum, received.signum or signum
        if first == raising:
            received.raise_if_cancelled()

    before = {}
    for each in SIGNALS:
        handler = signal.getsignal(each)
        if handler is not signal.SIG_IGN:  # nohup, or a shell's background job: ignored means ignored
            before[each] = handler
            signal.signal(each, handle)
    try:
        with _listening(1 if raising else 2, leave or exit_immediately):
            yield received
    except SignalInterruptError:
        raise
    except Exception as error:
        if received.signum and raising:
            stop = SignalInterruptError("stopped", signum=received.signum)
            stop.saved_frames = getattr(error, "kept", 0)
            raise stop from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _listening(patient: int, leave: Callable[[int], None]) -> Iterator[None]:
    """A thread that hears signals while the main thread may be deep in native code.

    Args:
        patient: number of signals that the main thread is given time for.
        leave: called with the signal that comes after those.
    """
    mouth, ear = socket.socketpair()
    mouth.setblocking(False)
    try:
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread: signals are not ours
        mouth.close()
        ear.close()
        yield
        return
    thread = threading.Thread(target=_listen, args=(ear, patient, leave), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        thread.join()
        ear.close()


def _listen(ear: socket.socket, patient: int, leave: Callable[[int], None]) -> None:
    """Until the other end closes."""
    heard, last = 0, -REPEAT_WINDOW
    while True:
        try:
            signums = ear.recv(64)
        except TimeoutError:
            ear.settimeout(None)
            _say("vsr: stopping as soon as the work in hand is done; Ctrl-C again leaves at once")
            continue
        if not signums:
            return
        signum, now = signums[-1], time.monotonic()
        if signum not in SIGNALS or now - last < REPEAT_WINDOW:
            continue
        heard, last = heard + 1, now
        if heard > patient:
            leave(signum)
        elif heard == patient:
            ear.settimeout(FORCE_EXIT_AFTER)


def exit_immediately(signum: int) -> None:
    """End the children and this process, now."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    os._exit(128 + signum)


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone
        print(line, file=sys.stderr, flush=True)
