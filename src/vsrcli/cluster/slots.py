"""The slots of a run: places, each with the worker that is in it now, from their start to their end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from vsrcli.cluster.places import Listener, Place, Worker, Workers
from vsrcli.cluster.tasks import Setup, Task

_STOP_SECONDS = 10.0  # until a worker that was asked to stop is killed


@dataclass(eq=False)
class Slot:
    """A place, with all workers that have been in it.

    Attributes:
        number: of the slot; no other one of the run has it.
        place: where.
        worker: the present one; None: left out.
        deaths: of workers before it.
        is_ready: whether the present one has joined.
        video: that it is set up for.
        task: what it computes.
        refusals: why its results are of no use, by video.
    """

    number: int
    place: Place
    worker: Worker | None = None
    deaths: int = 0
    is_ready: bool = False
    video: int | None = None
    task: Task | None = None
    refusals: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the present worker, for people: a machine that comes back has the name that it had."""
        return self.place.name + (f", {self.deaths + 1}." if self.deaths else "")

    @property
    def key(self) -> str:
        """Name of the present worker, for the driver: no other worker of the run has it."""
        return f"{self.number}.{self.deaths}"


class Slots:
    """All slots of a run, also those whose place is left out; iterable.

    Args:
        workers: where they can be; to be entered before the first use.
        listener: receives the messages of all workers.
    """

    def __init__(self, workers: Workers, listener: Listener) -> None:
        self._workers, self._listener = workers, listener
        self._numbers = itertools.count()
        self._slots: list[Slot] = []
        self._left_out: list[Worker] = []

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def has_workers(self) -> bool:
        """Whether there is a worker in any of them."""
        return any(slot.worker is not None for slot in self._slots)

    def of_worker(self, worker: object) -> Slot | None:
        """Return the slot of a worker; None if its place is left out."""
        return next((slot for slot in self._slots if slot.worker is worker), None)

    def of_key(self, key: str) -> Slot:
        """Return the slot whose present worker has a key."""
        return next(slot for slot in self._slots if slot.key == key)

    def add_new(self) -> list[Slot]:
        """Return a slot, without a worker yet, for each place that has none."""
        known = {slot.place for slot in self._slots}
        places = [place for place in self._workers.places() if place not in known]
        added = [Slot(next(self._numbers), place) for place in places]
        self._slots += added
        return added

    def start(self, slot: Slot, setup: Setup) -> None:
        """Start a worker in a slot that has none, and set it up for a video."""
        slot.worker = self._workers.start(slot.place, self._listener)
        slot.task, slot.video, slot.is_ready, slot.refusals = None, setup.key, False, {}
        slot.worker.submit(setup)

    def leave_out(self, slot: Slot) -> None:
        """Stop the worker of a slot, if there is one, and use its place no more."""
        if slot.worker is not None:
            slot.worker.stop()
            self._left_out.append(slot.worker)
            slot.worker = None

    def clear(self) -> None:
        """Forget all slots, none of which has a worker: their places may be used again."""
        self._slots.clear()

    def end(self) -> None:
        """End all workers, and wait until they have ended."""
        workers = [slot.worker for slot in self._slots if slot.worker is not None] + self._left_out
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in workers:
            if not worker.wait(deadline):
                worker.kill()
        for worker in workers:
            worker.wait(deadline + _STOP_SECONDS)
