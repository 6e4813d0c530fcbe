"""Workers in threads of this process, which do what a test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsrcli.cluster import worker
from vsrcli.cluster.places import Listener, Place
from vsrcli.errors import SignalInterruptError
from vsrcli.system.signals import CancelToken

Run = Callable[[Iterator[Any], Callable[..., None], CancelToken], None]


class ThreadWorker:
    """A :class:`~vsrcli.cluster.places.Worker` in a thread; ``run``: the main function of its process."""

    def __init__(self, run: Run, listener: Listener) -> None:
        self._run, self._listener = run, listener
        self._items: queue.Queue[Any] = queue.Queue()
        self._token = CancelToken()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, *items: Any) -> None:
        for item in items:
            self._items.put(item)

    def stop(self) -> None:
        self._token.cancel()
        self._items.put(None)

    def kill(self) -> None:
        self.stop()

    def wait(self, deadline: float) -> bool:
        self._thread.join(max(deadline - time.monotonic(), 0))
        return not self._thread.is_alive()

    def ending(self) -> tuple[str, str]:
        return "its thread has ended", ""

    def fetch(self, file: Path, target: Path) -> None:
        file.rename(target)

    def _work(self) -> None:
        def send(*message: Any) -> None:
            self._listener((self, message))

        with suppress(SignalInterruptError):
            self._run(iter(self._items.get, None), send, self._token)
        self._listener((self, None))


class ThreadWorkers:
    """:class:`~vsrcli.cluster.places.Workers` in threads.

    Args:
        runs: what a worker on each machine does; others compute.
        nodes: name of the place on each machine.

    Attributes:
        nodes: as passed; may be changed while a run goes on.
    """

    option = "--workers 2"

    def __init__(self, nodes: Mapping[str, str], runs: Mapping[str, Run] | None = None) -> None:
        self.nodes, self._runs = dict(nodes), runs or {}

    def __enter__(self) -> ThreadWorkers:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def places(self) -> list[Place]:
        return [Place(name, node) for node, name in self.nodes.items()]

    def start(self, place: Place, listener: Listener) -> ThreadWorker:
        return ThreadWorker(self._runs.get(place.node, worker.run), listener)
