"""Places where workers compute, and the workers that are started there.

A :class:`Workers` knows the places: here :class:`LocalWorkers`, processes of this machine; those of other
machines are in :mod:`vsrcli.cluster.ray_workers`. A worker is a process that runs
:mod:`vsrcli.cluster.worker`, wherever it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from vsrcli.media.process import describe_exit
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.options import Options
from vsrcli.system.resources import available_cores
from vsrcli.system.worker_process import WorkerProcess

WORKER_MODULE = "vsrcli.cluster.worker"


@dataclass(frozen=True)
class Place:
    """Room for one worker.

    Attributes:
        name: for people.
        node: the machine, or whatever is lost together.
        threads: that a network may use there; None: all.
        device: of the worker, see :class:`~vsrcli.pipeline.options.Options`; None: as the run's options say.
        gpu: whether a GPU is reserved for it.
    """

    name: str
    node: str
    threads: int | None = None
    device: str | None = None
    gpu: bool = False

    def options(self, options: Options) -> Options:
        """Return the options of a run for a worker in this place: as tuned for the run, not for the place."""
        return replace(options, device=self.device or options.device, tuned=())


class Worker(Protocol):
    """A worker that has been started. None of its methods waits, but for :meth:`wait`."""

    def submit(self, *items: Any) -> None:
        """Append items to what it works on, in this order; those of two calls may arrive in any order."""
        ...

    def stop(self) -> None:
        """Stop it as soon as possible; may be called again."""
        ...

    def kill(self) -> None:
        """End it at once, whatever it does; its exit is a message as any other."""
        ...

    def wait(self, deadline: float) -> bool:
        """Wait until it has ended or a moment of ``time.monotonic`` has come; return whether it has ended."""
        ...

    def ending(self) -> tuple[str, str]:
        """Return how it ended, in a few words, and the last lines of its stderr."""
        ...

    def fetch(self, file: Path, target: Path) -> None:
        """Copy a file of the worker's machine to this one, and remove it there.

        Raises:
            OSError: that is impossible.
        """
        ...


Listener = Callable[[tuple[Any, Any]], None]  # called with a worker and its message; None: it has ended


class Workers(Protocol):
    """Where workers can be; a context manager, which leaves none behind.

    Attributes:
        option: of the command line that asked for them, for messages.
    """

    option: str

    def __enter__(self) -> Workers: ...

    def __exit__(self, *exception: object) -> None: ...

    def places(self) -> Sequence[Place]:
        """Return the places that exist now; equal ones are the same place."""
        ...

    def start(self, place: Place, listener: Listener) -> Worker:
        """Start a worker.

        Args:
            place: where.
            listener: called in threads with each message.
        """
        ...


class LocalWorkers:
    """Processes of this machine, which share its cores; on a machine with several GPUs, one on each.

    Args:
        count: number of processes.
        job: whose options choose the device; of a batch, the first one.
    """

    def __init__(self, count: int, job: Job) -> None:
        self.option = f"--workers {count}"
        threads = max(available_cores() // count, 1)
        devices = _devices(job, count)
        self._places = [
            Place(f"worker {number + 1}", f"process {number + 1}", threads, device)
            for number, device in enumerate(devices)
        ]

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def places(self) -> Sequence[Place]:
        return self._places

    def start(self, place: Place, listener: Listener) -> Worker:
        return LocalWorker(listener, place.threads)


class LocalWorker:
    """A :class:`Worker` in a process of this machine."""

    def __init__(self, listener: Listener, threads: int | None) -> None:
        self._process = WorkerProcess(WORKER_MODULE, lambda event: listener((self, event[1])), threads)

    def submit(self, *items: Any) -> None:
        for item in items:
            self._process.submit(item)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, deadline: float) -> bool:
        if not self._process.wait_until(deadline):
            return False
        self._process.wait()
        return True

    def ending(self) -> tuple[str, str]:
        return describe_exit(self._process.wait()), self._process.stderr_tail()

    def fetch(self, file: Path, target: Path) -> None:
        shutil.move(file, target)  # which may be on another disk


def _devices(job: Job, count: int) -> Sequence[str | None]:
    """Return each worker's device: on a machine with several GPUs that the engine may use, one for each in
    turn."""
    same: list[str | None] = [None] * count
    numbers = job.options.device.split(",")
    if len(numbers) > 1:
        return [numbers[number % len(numbers)] for number in range(count)]
    if job.options.device != "auto" or job.engine is None or not job.engine.may_use_gpu:
        return same
    from vsrcli.inference.engine_plan import may_have_gpu

    if not may_have_gpu():
        return same
    from vsrcli.inference.keras import list_gpus

    gpus = len(list_gpus())
    return same if gpus <= 1 else [str(number % gpus) for number in range(count)]
