"""Decoding ahead of the network and encoding behind it: a thread each, a few frames between them.

ffmpeg runs in processes of its own; what these threads take off the network's are the pipes and the copies.
A queue is short, so memory does not grow, and whoever is slowest sets the pace for all.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

_QUEUE_BYTES = 1 << 25
_LEAST, _MOST = 2, 16


def depth(frame_bytes: int) -> int:
    """How many frames of a size wait in a queue: 32 MiB of them, but at least 2 and at most 16."""
    return max(_LEAST, min(_QUEUE_BYTES // max(frame_bytes, 1), _MOST))


class Ahead(Generic[Item]):
    """An iterator of what another one gives, fetched in a thread before it is asked for.

    An exception comes out where the item would have come that it was raised instead of.

    Args:
        items: only the thread touches it from now on, and closes it.
        depth: items that wait at most.
        release: wakes the thread from whatever it waits for inside ``items``, on closing; may be called more
            than once.
    """

    def __init__(self, items: Generator[Item], depth: int, release: Callable[[], None]) -> None:
        self._items, self._release = items, release
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(depth)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def close(self) -> None:
        """End the thread. Safe to call any number of times."""
        self._closing.set()
        while self._thread.is_alive():
            self._release()
            while not self._queue.empty():  # room for the item in hand
                self._queue.get()
            self._thread.join(timeout=0.05)

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._items:
                self._queue.put((item,))
                if self._closing.is_set():
                    break
        except BaseException as error:
            end = error
        finally:
            self._items.close()
            self._queue.put(end)


class Behind(Generic[Item]):
    """Hands items to a function in a thread, in their order.

    After its first exception the function is not called again; :meth:`put` and :meth:`finish` raise it.

    Args:
        function: takes an item.
        depth: items that wait at most; then :meth:`put` waits.
    """

    def __init__(self, function: Callable[[Item], None], depth: int) -> None:
        self._function = function
        self._queue: queue.Queue[tuple[Item] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def put(self, item: Item) -> None:
        """Take an item.

        Raises:
            BaseException: what the function raised for an item before.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
            self._thread.start()
        self._raise()
        self._queue.put((item,))

    def finish(self) -> None:
        """Wait until every item has been taken.

        Raises:
            BaseException: what the function raised.
        """
        self._join()
        self._raise()

    def abandon(self, release: Callable[[], None]) -> None:
        """Take no more than the item in hand; ``release`` wakes the function from whatever it waits for."""
        self._error = self._error or InterruptedError("abandoned")
        release()
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._function(item[0])
                except BaseException as error:
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
