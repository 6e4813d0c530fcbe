"""Background threads with short queues, for decoding and encoding in parallel with the network; signal-safe.

ffmpeg runs in processes of its own; these threads take pipes and copies off the network's thread. Queues are
short, so memory is bounded and the slowest stage sets the pace.

Ctrl-C raises in the main thread between any two instructions, inside the standard library's too. An exception
inside ``queue.Queue``, ``threading.Event`` or ``Thread.join`` can leave a lock acquired or a thread waiting
forever, and the program would hang instead of stopping. ``queue.SimpleQueue`` is written in C and atomic, so
the threads use nothing else; free slots of a queue are tokens in a second one. Where several instructions
belong together, :func:`deferred_signals` delays the exception.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_QUEUE_BYTES = 1 << 25
_MIN_DEPTH, _MAX_DEPTH = 2, 16


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Delay signal handlers until the end of the block, so that none raises inside it.

    Otherwise a child process or thread could be started but not recorded, and never stopped. The handler of
    the first signal that has arrived is called after the block; sending the signal again instead would count
    as a second Ctrl-C.
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


def queue_depth(frame_bytes: int) -> int:
    """Return the length of a queue of frames of this size: 32 MiB of them, but at least 2 and at most 16."""
    return max(_MIN_DEPTH, min(_QUEUE_BYTES // max(frame_bytes, 1), _MAX_DEPTH))


class BackgroundTask:
    """Calls a function in a thread; waiting for it can be interrupted and repeated.

    Args:
        function: called without arguments.
        name: of the thread.

    Attributes:
        error: exception of the function, once it has ended; None if it raised none.
    """

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self._function = function
        self._ended = False
        self.error: BaseException | None = None
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the function, at most ``timeout`` seconds; return whether it has ended."""
        while not self._ended:
            try:
                self._done.get(timeout=timeout)
            except queue.Empty:
                break
        if self._ended:
            self._thread.join()  # returns at once
        return self._ended

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self.error = error
        finally:
            self._ended = True
            self._done.put(None)


class Prefetcher(Generic[Item]):
    """Iterates over a generator that runs ahead in a thread.

    An exception of the generator is raised in place of the item.

    Args:
        items: used and closed by the thread only, from the first item on.
        depth: maximum number of items in the queue.
        release: called on closing, possibly repeatedly; wakes the thread if it waits inside ``items``.
    """

    def __init__(self, items: Generator[Item], depth: int, release: Callable[[], None]) -> None:
        self._items, self._release = items, release
        self._queue: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
        self._slots = _free_slots(depth)
        self._closing = False
        self._thread: BackgroundTask | None = None

    def __iter__(self) -> Iterator[Item]:
        with deferred_signals():  # start and record the thread, or neither
            self._thread = self._thread or BackgroundTask(self._run, "prefetcher")
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self._slots.put(None)
            yield item[0]

    def close(self) -> None:
        """End the thread. Can be called repeatedly."""
        self._closing = True
        if self._thread is None:
            self._items.close()
            return
        while not self._thread.wait(timeout=0):
            self._release()
            self._slots.put(None)  # for the item that the thread holds
            self._thread.wait(timeout=0.05)

    def _run(self) -> None:
        outcome: BaseException | None = None
        try:
            for item in self._items:
                self._slots.get()
                if self._closing:
                    break
                self._queue.put((item,))
        except BaseException as error:
            outcome = error
        finally:
            self._items.close()
            self._queue.put(outcome)


class BackgroundWriter(Generic[Item]):
    """Calls a function with items in a thread, in order.

    After its first exception the function is not called again; :meth:`put` and :meth:`drain` raise it.

    Args:
        function: called with an item.
        depth: maximum number of items in the queue; if it is full, :meth:`put` waits.
    """

    def __init__(self, function: Callable[[Item], None], depth: int) -> None:
        self._function = function
        self._queue: queue.SimpleQueue[tuple[Item] | None] = queue.SimpleQueue()
        self._slots = _free_slots(depth)
        self._error: BaseException | None = None
        self._thread: BackgroundTask | None = None

    def put(self, item: Item) -> None:
        """Append an item to the queue.

        Raises:
            BaseException: exception of the function for an earlier item.
        """
        if self._thread is None:
            with deferred_signals():
                self._thread = BackgroundTask(self._run, "background writer")
        self._raise_error()
        self._slots.get()
        self._queue.put((item,))

    def drain(self) -> None:
        """Wait until the function has been called with every item.

        Raises:
            BaseException: exception of the function.
        """
        self._join()
        self._raise_error()

    def cancel(self, release: Callable[[], None]) -> None:
        """Discard the queue and end the thread.

        Args:
            release: called once; wakes the function if it waits.
        """
        self._error = self._error or InterruptedError("abandoned")
        release()
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.wait()
            self._thread = None

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._slots.put(None)
            if self._error is None:
                try:
                    self._function(item[0])
                except BaseException as error:
                    self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _free_slots(depth: int) -> queue.SimpleQueue[None]:
    """Return a queue with a token for each free slot."""
    tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(depth):
        tokens.put(None)
    return tokens
