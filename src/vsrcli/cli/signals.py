"""Ctrl-C and SIGTERM become an exception in the main thread, so that every ``with`` block cleans up."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from vsrcli.errors import Interrupted

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # no SIGHUP on Windows


class Received:
    """Which signal has arrived, if any.

    Attributes:
        signum: its number; 0 while there is none.
    """

    def __init__(self) -> None:
        self.signum = 0

    def check(self) -> None:
        """Raise for a signal whose exception was lost on its way, inside a callback from native code, say.

        Raises:
            Interrupted: a signal has arrived.
        """
        if self.signum:
            raise Interrupted("stopped", signum=self.signum)


@contextlib.contextmanager
def interruptible(*, raising: bool = True) -> Iterator[Received]:
    """Catch signals while the block runs.

    The first one raises, further ones are left aside: cleaning up takes moments and must not be cut short.
    Whatever exception the first one has turned into on its way out is Interrupted again at the end.

    Args:
        raising: False only takes note of the signal, for loops that ask at a good moment themselves. The
            second one then raises.

    Raises:
        Interrupted: a signal arrived.
    """
    received = Received()

    def handle(signum: int, frame: FrameType | None) -> None:
        first, received.signum = not received.signum, received.signum or signum
        if first == raising:
            received.check()

    before = {}
    for each in SIGNALS:
        handler = signal.getsignal(each)
        if handler is not signal.SIG_IGN:  # nohup, or a shell's background job: ignored means ignored
            before[each] = handler
            signal.signal(each, handle)
    try:
        yield received
    except Interrupted:
        raise
    except Exception as error:
        if received.signum and raising:
            raise Interrupted("stopped", signum=received.signum) from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
