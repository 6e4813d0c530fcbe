"""Keep a signal's exception out of a few instructions that belong together."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back handlers of signals, whose exceptions could cut in between starting something and knowing it.

    A child or a thread would then be nobody's. The handler of what has arrived is called as soon as the block
    is over; raising the signal once more would look like a second Ctrl-C to those that count.
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
            before[each](each, None)
