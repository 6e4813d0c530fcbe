"""Workers on the machines of a Ray cluster. The only file that imports Ray.

On each machine an actor starts a worker, the same process as on one machine, and passes items and messages
on: it runs no native code, so it always answers. Ray places the actors and carries the messages; who computes
what, and who is lost, is the :mod:`driver <vsrcli.cluster.driver>`'s, since Ray gives up a machine that hangs
after minutes only. So actors are neither restarted nor are their calls repeated by Ray.

Whoever reaches a Ray cluster runs programs on it. One that other machines can reach is used with Ray's token
only.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vsrcli.cluster.places import WORKER_MODULE, Listener, Place
from vsrcli.errors import EngineError, UsageError
from vsrcli.media.process import describe_exit
from vsrcli.system.files import atomic_write
from vsrcli.system.signals import SIGNALS
from vsrcli.system.worker_process import WorkerProcess

_CHUNK_BYTES = 4 << 20  # of a file, in one message
_ANSWER_SECONDS = 60.0  # for what takes no time
_CONNECT_SECONDS = 5.0
_CONCURRENT_CALLS = 4  # of an actor: one waits for messages
TOKEN_VARIABLE, TOKEN_MODE = "RAY_AUTH_MODE", "token"


class Relay:
    """An actor: starts a worker beside it, and passes items and messages on."""

    def __init__(self, threads: int | None) -> None:
        self._messages: queue.Queue[Any] = queue.Queue()
        self._process = WorkerProcess(WORKER_MODULE, lambda event: self._messages.put(event[1]), threads)
        self._submitting = threading.Lock()

    def submit(self, *items: Any) -> None:
        with self._submitting:
            for item in items:
                self._process.submit(item)

    def receive(self) -> list[Any]:
        """Return the messages that have come, after a second none; None among them: the worker has ended."""
        received = []
        with suppress(queue.Empty):
            received.append(self._messages.get(timeout=1))
            while True:
                received.append(self._messages.get_nowait())
        return received

    def stop(self) -> None:
        self._process.stop()

    def ending(self) -> tuple[str, str]:
        return describe_exit(self._process.wait()), self._process.stderr_tail()

    def read(self, file: Path, offset: int) -> bytes:
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(_CHUNK_BYTES)

    def remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)


class RayWorker:
    """A :class:`~vsrcli.cluster.places.Worker` on a machine of the cluster, behind its actor."""

    def __init__(self, actor: Any, place: Place, listener: Listener) -> None:
        self._actor, self._place, self._listener = actor, place, listener
        self._killed = threading.Event()
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._ending = "its machine does not answer", ""
        threading.Thread(target=self._receive, name="cluster messages", daemon=True).start()

    def submit(self, *items: Any) -> None:
        self._actor.submit.remote(*items)

    def stop(self) -> None:
        if self._answered.is_set():
            self._actor.stop.remote()
        else:  # it waits for its machine, which may never answer
            self.kill()

    def kill(self) -> None:
        import ray

        self._killed.set()
        with suppress(Exception):  # it is gone already
            ray.kill(self._actor)

    def wait(self, deadline: float) -> bool:
        return self._ended.wait(max(deadline - time.monotonic(), 0))

    def ending(self) -> tuple[str, str]:
        return self._ending

    def fetch(self, file: Path, target: Path) -> None:
        def fill(stream: Any) -> None:
            offset = 0
            while chunk := self._answer(self._actor.read.remote(file, offset)):
                stream.write(chunk)
                offset += len(chunk)

        atomic_write(target, fill)
        self._actor.remove.remote(file)

    def _answer(self, reference: Any) -> Any:
        import ray

        return ray.get(reference, timeout=_ANSWER_SECONDS)

    def _receive(self) -> None:
        """Pass on messages until the worker ends, its machine is lost, or it is killed."""
        import ray
        from ray.exceptions import RayError

        is_over = False
        try:
            while not is_over:
                for message in self._wait_for(self._actor.receive.remote()):
                    if message is None:
                        self._ending, is_over = self._answer(self._actor.ending.remote()), True
                    else:
                        self._listener((self, message))
        except RayError as error:
            self._ending = _one_line(error), str(error)
        except EngineError as error:
            self._ending = str(error), ""
        except Exception as error:  # the connection was closed
            self._ending = f"{type(error).__name__}: {error}", ""
        with suppress(Exception):
            ray.kill(self._actor)  # an actor whose worker has ended is of no use
        self._ended.set()
        self._listener((self, None))

    def _wait_for(self, reference: Any) -> list[Any]:
        import ray
        from ray.exceptions import GetTimeoutError

        while not self._killed.is_set():
            with suppress(GetTimeoutError):
                messages = ray.get(reference, timeout=1)
                self._answered.set()
                return messages
        raise EngineError("it was silent")


class RayWorkers:
    """All machines of a cluster, also those that join later: one worker for each GPU, or on each machine.

    Args:
        address: ``auto`` (of the Ray that runs on this machine) or ``HOST:PORT``.
        per_node: workers on each machine; None: one for each of its GPUs, at least one.

    Raises (on entering it):
        UsageError: Ray is not installed, does not answer, or has no token.
    """

    def __init__(self, address: str, per_node: int | None = None) -> None:
        self.option = f"--cluster {address}"
        self._address, self._per_node = address, per_node

    def __enter__(self) -> RayWorkers:
        connect(self._address)
        return self

    def __exit__(self, *exception: object) -> None:
        import ray

        ray.shutdown()

    def places(self) -> Sequence[Place]:
        places = []
        try:
            found = nodes()
        except Exception as error:  # the head is gone
            remedy = "start it and run the same command again, which goes on from the pieces that are done"
            raise EngineError(f"{self.option}: {_one_line(error)}; {remedy}") from error
        for node, name, cpus, gpus in found:
            count = self._per_node or max(gpus, 1)
            threads = max(cpus // count, 1)
            for number in range(count):
                suffix = f", worker {number + 1}" if count > 1 else ""
                places.append(Place(f"{name}{suffix}", node, threads, gpu=gpus > 0))
        return places

    def start(self, place: Place, listener: Listener) -> RayWorker:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {"num_gpus": 1 / max(1, self._sharing(place))} if place.gpu else {}
        actor = (
            ray.remote(Relay)
            .options(
                num_cpus=place.threads,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=_CONCURRENT_CALLS,
                scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False),
                **options,
            )
            .remote(place.threads)
        )
        return RayWorker(actor, place, listener)

    def _sharing(self, place: Place) -> int:
        """Return how many workers share a GPU of a place."""
        gpus = next((gpus for node, _, _, gpus in nodes() if node == place.node), 1)
        return -(-(self._per_node or gpus) // max(gpus, 1))


def connect(address: str) -> None:
    """Connect to a cluster.

    Raises:
        UsageError: Ray is not installed, does not answer, or has no token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError('--cluster needs Ray: pip install "vsrcli[cluster]"') from None
    if "://" in address:
        raise UsageError(f"--cluster {address}: give HOST:PORT of the cluster's head, or auto")
    if address != "auto":
        _require_answer(address)
    with _own_handlers(), _quiet():
        try:
            ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False
            )
        except Exception as error:  # of many types, for what one line says
            remedy = "start Ray on this machine, too, with the cluster's token: see docs/cluster.md"
            raise UsageError(f"--cluster {address}: {_one_line(error)}; {remedy}") from error
    addresses = [str(each["NodeManagerAddress"]) for each in ray.nodes() if each["Alive"]]
    if os.environ.get(TOKEN_VARIABLE) != TOKEN_MODE and not all(map(_is_loopback, addresses)):
        ray.shutdown()
        raise UsageError(
            f"--cluster {address}: other machines can reach it, and whoever does runs programs there; "
            f"protect it by Ray's token ({TOKEN_VARIABLE}={TOKEN_MODE}), see docs/cluster.md"
        )


def nodes() -> list[tuple[str, str, int, int]]:
    """Return of each living machine that computes: its id, its name, its cores and its GPUs."""
    import ray

    alive = [each for each in ray.nodes() if each["Alive"]]
    names = Counter(each["NodeManagerHostname"] for each in alive)
    found = []
    for each in alive:
        resources, node, name = each["Resources"], each["NodeID"], each["NodeManagerHostname"]
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if cpus:
            found.append((node, name if names[name] == 1 else f"{name} {node[:6]}", cpus, gpus))
    return sorted(found, key=lambda entry: (entry[1], entry[0]))


def call_on_each_node(address: str, function: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
    """Call a function of this program on each machine; yield the machine's name and the result or error."""
    connect(address)
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        remote, calls = ray.remote(function), []
        for node, name, _, _ in nodes():
            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": strategy}
            calls.append((name, remote.options(**options).remote()))
        for name, call in calls:
            try:
                yield name, ray.get(call, timeout=2 * _ANSWER_SECONDS)
            except RayError as error:
                yield name, EngineError(_one_line(error))
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"--cluster {address}: no answer ({error}); give HOST:PORT of its head") from None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this program's signal handlers, whatever Ray installs."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:
                signal.signal(each, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing out on stderr: Ray's core logs a line a second there while it cannot connect."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _one_line(error: Exception) -> str:
    """Return the last line of an error, which says what has happened."""
    text = str(error)
    if "No module named 'vsrcli'" in text:
        return "vsr is not installed there for Ray's Python"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
