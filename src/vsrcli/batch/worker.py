"""A process that makes films one after the other: told which through stdin, telling through stdout.

What goes to and fro are pickles, between one program and its own child. When stdin ends, the parent wants it
to stop, or is no more: either way the film in hand is left so that another run can go on with it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from vsrcli.errors import SignalInterruptError
from vsrcli.pipeline.job import Options

REPORT_INTERVAL = 0.1  # seconds between two reports of progress


@dataclass(frozen=True)
class WorkItem:
    """A film to be made.

    Attributes:
        number: that its messages carry.
        source, target: files.
        options: see :class:`~vsrcli.pipeline.job.Options`.
        threads: that the network may use; None: all.
    """

    number: int
    source: Path
    target: Path
    options: Options
    threads: int | None = None


class _Stop:
    """A signal, or the end of stdin, becomes an exception in the main thread; once."""

    def __init__(self) -> None:
        self.asked = False
        self._held = False

    def install(self) -> None:
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._raise)

    def ask(self) -> None:
        """From another thread."""
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            import _thread

            _thread.interrupt_main(signal.SIGTERM)

    def raise_if_cancelled(self) -> None:
        """Raise if the exception was lost on its way, in a callback from native code, say."""
        if self.asked:
            raise SignalInterruptError("stopped", signum=signal.SIGTERM)

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """A block that no exception cuts in two; what has arrived meanwhile is found by ``check``."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            if not self._held:
                self.raise_if_cancelled()


def main() -> None:
    """The whole process."""
    stop = _Stop()
    with contextlib.suppress(SignalInterruptError):
        stop.install()
        inbox, outbox = _take_streams()
        orders: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(inbox, orders, stop), name="orders", daemon=True).start()
        _work(orders, partial(_send, outbox, stop), stop)


def _work(orders: queue.SimpleQueue[WorkItem | None], send: Callable[..., None], stop: _Stop) -> None:
    from vsrcli.batch.task import Callbacks, EngineCache, upscale_one
    from vsrcli.pipeline.run import Progress

    engines = EngineCache()
    while (order := orders.get()) is not None:
        number, told = order.number, 0.0

        def progress(now: Progress, number: int = number) -> None:
            nonlocal told
            if time.monotonic() - told >= REPORT_INTERVAL or now.done == now.total:
                told = time.monotonic()
                send("progress", number, now)
            stop.raise_if_cancelled()

        def notice(text: str, number: int = number) -> None:
            send("notice", number, text)
            stop.raise_if_cancelled()

        _limit(order)
        stop.raise_if_cancelled()
        hearing = Callbacks(notice, progress, lambda: stop.asked)
        outcome = upscale_one(order.source, order.target, order.options, engines, hearing)
        send("ended", number, outcome)


def _limit(order: WorkItem) -> None:
    """Share the processor's cores: OpenVINO takes all of them for itself, and has no variable to be told."""
    from vsrcli.errors import VsrError
    from vsrcli.inference.selection import choose_model, openvino_installed, plan_engine

    options = order.options
    with contextlib.suppress(VsrError):  # it will be said where it is not just about threads
        if order.threads is None or choose_model(options.model, options.scale).weights is None:
            return
        plan = plan_engine(options.engine, options.device, options.precision)
        if plan.engine in ("auto", "openvino") and openvino_installed():
            from vsrcli.inference.openvino import core

            core().set_property("CPU", {"INFERENCE_NUM_THREADS": order.threads})


def _listen(inbox: IO[bytes], orders: queue.SimpleQueue[WorkItem | None], stop: _Stop) -> None:
    """Until stdin ends."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            order = pickle.load(inbox)
            orders.put(order)
            if order is None:  # the end of all work: nothing is to be stopped
                return
    orders.put(None)
    stop.ask()


def _take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """stdin and stdout for this module alone: what libraries print goes to stderr from now on, and a process
    that one of them forks finds no lock of a waiting thread on its stdin."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inbox, outbox


def _send(outbox: IO[bytes], stop: _Stop, *message: Any) -> None:
    with stop.later(), contextlib.suppress(BrokenPipeError):  # the parent is gone; stdin says so, too
        pickle.dump(message, outbox)
        outbox.flush()


if __name__ == "__main__":
    main()
