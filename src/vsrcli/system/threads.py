"""Decoding ahead of the network and encoding behind it: a thread each, a few frames between them.

ffmpeg runs in processes of its own; what these threads take off the network's are the pipes and the copies.
A queue is short, so memory does not grow, and whoever is slowest sets the pace for all.

Ctrl-C raises in the main thread between any two instructions, inside the standard library's too. An exception
inside ``queue.Queue``, ``threading.Event`` or ``Thread.join`` can leave a lock held or a waiting thread
unheard, and the program would stand still instead of stopping. ``queue.SimpleQueue`` is written in C and
either has done its work or has not, so the threads talk through nothing else; room in a queue is another
queue, of tokens.

Keep a signal's exception out of a few instructions that belong together.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back handlers of signals, whose exceptions could cut in between starting something and knowing it.

    A child or a thread would then be nobody's. The handler of what has arrived is called as soon as the block
    is over; raising the signal once more would look like a second Ctrl-C to those that count.
    """
    arrived: list[int] = []
    handlers: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():  # elsewhere no handler runs
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                signum = getattr(signal, name, None)
                if signum is not None and callable(signal.getsignal(signum)):
                    handlers[signum] = signal.getsignal(signum)
                    signal.signal(signum, lambda signum, frame: arrived.append(signum))
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        for signum in arrived[:1]:
            handlers[signum](signum, None)


Item = TypeVar("Item")

_QUEUE_BYTES = 1 << 25
_MIN_DEPTH, _MAX_DEPTH = 2, 16


def queue_depth(frame_bytes: int) -> int:
    """How many frames of a size wait in a queue: 32 MiB of them, but at least 2 and at most 16."""
    return max(_MIN_DEPTH, min(_QUEUE_BYTES // max(frame_bytes, 1), _MAX_DEPTH))


class BackgroundTask:
    """Calls a function in a thread, beside other work; waiting for it can be interrupted and begun again.

    Args:
        function: what to call.
        name: of the thread.

    Attributes:
        error: what the function raised, once it is over.
    """

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self._function = function
        self._ended = False
        self.error: BaseException | None = None
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds for its end (None: as long as it takes); whether that has come."""
        while not self._ended:
            try:
                self._done.get(timeout=timeout)
            except queue.Empty:
                break
        if self._ended:
            self._thread.join()  # has nothing left to do
        return self._ended

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self.error = error
        finally:
            self._ended = True
            self._done.put(None)


def _free_slots(depth: int) -> queue.SimpleQueue[None]:
    tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(depth):
        tokens.put(None)
    return tokens


class Prefetcher(Generic[Item]):
    """An iterator of what another one gives, fetched in a thread before it is asked for.

    An exception comes out where the item would have come that it was raised instead of.

    Args:
        items: only the thread touches it from the first item on, and closes it.
        depth: items that wait at most.
        release: wakes the thread from whatever it waits for inside ``items``, on closing; may be called more
            than once.
    """

    def __init__(self, items: Generator[Item], depth: int, release: Callable[[], None]) -> None:
        self._items, self._release = items, release
        self._ready: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
        self._slots = _free_slots(depth)
        self._closing = False
        self._thread: BackgroundTask | None = None

    def __iter__(self) -> Iterator[Item]:
        with deferred_signals():  # started and known, or neither
            self._thread = self._thread or BackgroundTask(self._run, "ahead")
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self._slots.put(None)
            yield item[0]

    def close(self) -> None:
        """End the thread. Safe to call any number of times."""
        self._closing = True
        if self._thread is None:
            self._items.close()
            return
        while not self._thread.wait(timeout=0):
            self._release()
            self._slots.put(None)  # for the item in hand
            self._thread.wait(timeout=0.05)

    def _run(self) -> None:
        outcome: BaseException | None = None
        try:
            for item in self._items:
                self._slots.get()
                if self._closing:
                    break
                self._ready.put((item,))
        except BaseException as error:
            outcome = error
        finally:
            self._items.close()
            self._ready.put(outcome)


class BackgroundWriter(Generic[Item]):
    """Hands items to a function in a thread, in their order.

    After its first exception the function is not called again; :meth:`put` and :meth:`finish` raise it.

    Args:
        function: takes an item.
        depth: items that wait at most; then :meth:`put` waits.
    """

    def __init__(self, function: Callable[[Item], None], depth: int) -> None:
        self._function = function
        self._waiting: queue.SimpleQueue[tuple[Item] | None] = queue.SimpleQueue()
        self._slots = _free_slots(depth)
        self._error: BaseException | None = None
        self._thread: BackgroundTask | None = None

    def put(self, item: Item) -> None:
        """Take an item.

        Raises:
            BaseException: what the function raised for an item before.
        """
        if self._thread is None:
            with deferred_signals():
                self._thread = BackgroundTask(self._run, "behind")
        self._raise_error()
        self._slots.get()
        self._waiting.put((item,))

    def drain(self) -> None:
        """Wait until every item has been taken.

        Raises:
            BaseException: what the function raised.
        """
        self._join()
        self._raise_error()

    def cancel(self, release: Callable[[], None]) -> None:
        """Take no more than the item in hand; ``release`` wakes the function from whatever it waits for."""
        self._error = self._error or InterruptedError("abandoned")
        release()
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.wait()
            self._thread = None

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._slots.put(None)
            if self._error is None:
                try:
                    self._function(item[0])
                except BaseException as error:
                    self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
