"""Background threads with short queues, for decoding and encoding in parallel with the network.

ffmpeg runs in processes of its own; these threads take pipes and copies off the network's thread. Queues are
short, so memory is bounded and the slowest stage sets the pace. The main thread polls for a stop while it
waits, see :mod:`vsrcli.system.signals`; ending a thread never raises for one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from vsrcli.system.signals import POLL_INTERVAL, raise_if_cancelled

Item = TypeVar("Item")

_QUEUE_BYTES = 1 << 25
_MIN_DEPTH, _MAX_DEPTH = 2, 16
_END_INTERVAL = 0.05  # seconds between two attempts to wake a thread that has to end


def queue_depth(frame_bytes: int) -> int:
    """Return the length of a queue of frames of this size: 32 MiB of them, but at least 2 and at most 16."""
    return max(_MIN_DEPTH, min(_QUEUE_BYTES // max(frame_bytes, 1), _MAX_DEPTH))


class BackgroundTask:
    """Calls a function in a thread.

    Args:
        function: called without arguments.
        name: of the thread.

    Attributes:
        error: exception of the function, once it has ended; None if it raised none.
    """

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self._function = function
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the function.

        Raises:
            SignalInterruptError: a signal arrived meanwhile; the function still runs.
        """
        while not self.join(POLL_INTERVAL):
            raise_if_cancelled()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds, whatever happens; return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self.error = error


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
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(depth)
        self._closing = False
        self._task: BackgroundTask | None = None

    def __iter__(self) -> Iterator[Item]:
        """Yield the items.

        Raises:
            SignalInterruptError: a signal has arrived.
        """
        self._task = self._task or BackgroundTask(self._run, "prefetcher")
        while (item := poll_get(self._queue)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def close(self) -> None:
        """End the thread. Can be called repeatedly."""
        self._closing = True
        if self._task is None:
            self._items.close()
            return
        while not self._task.join(0):
            self._release()
            with contextlib.suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._task.join(_END_INTERVAL)

    def _run(self) -> None:
        outcome: BaseException | None = None
        try:
            for item in self._items:
                self._queue.put((item,))
                if self._closing:
                    break
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
        self._queue: queue.Queue[tuple[Item] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._task: BackgroundTask | None = None

    def put(self, item: Item) -> None:
        """Append an item to the queue.

        Raises:
            BaseException: exception of the function for an earlier item.
            SignalInterruptError: a signal has arrived.
        """
        self._task = self._task or BackgroundTask(self._run, "background writer")
        self._raise_error()
        poll_put(self._queue, (item,))

    def drain(self) -> None:
        """Wait until the function has been called with every item.

        Raises:
            BaseException: exception of the function.
            SignalInterruptError: a signal has arrived.
        """
        if self._task is not None:
            poll_put(self._queue, None)
            self._task.wait()
            self._task = None
        self._raise_error()

    def cancel(self, release: Callable[[], None]) -> None:
        """Discard the queue and end the thread.

        Args:
            release: called once; wakes the function if it waits.
        """
        self._error = self._error or InterruptedError("abandoned")
        release()
        while self._task is not None and not self._task.join(0):
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_END_INTERVAL)
            self._task.join(_END_INTERVAL)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._function(item[0])
                except BaseException as error:
                    self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def poll_get(items: queue.Queue[Item]) -> Item:
    """Return the next item of a queue.

    Raises:
        SignalInterruptError: a signal has arrived.
    """
    while True:
        raise_if_cancelled()
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=POLL_INTERVAL)


def poll_put(items: queue.Queue[Item], item: Item) -> None:
    """Append an item to a queue.

    Raises:
        SignalInterruptError: a signal has arrived.
    """
    while True:
        raise_if_cancelled()
        with contextlib.suppress(queue.Full):
            return items.put(item, timeout=POLL_INTERVAL)
