"""A worker process of a batch: runs work items from stdin, and writes what happens to stdout.

Both are streams of pickles between a program and its own child. When stdin ends, the parent wants the worker
to stop, or has died: the running task then stops so that another run can resume it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from vsrcli.errors import SignalInterruptError
from vsrcli.pipeline.options import Options
from vsrcli.system.signals import CancelToken


@dataclass(frozen=True)
class WorkItem:
    """A task for a worker.

    Attributes:
        index: of the task; the worker's messages carry it.
        source, target: paths.
        options: see :class:`~vsrcli.pipeline.options.Options`.
        threads: that the network may use; None: all.
    """

    index: int
    source: Path
    target: Path
    options: Options
    threads: int | None = None


def main() -> None:
    """Run the worker until stdin ends.

    Messages are tuples (name of a method of ``BatchReporter``, index, argument).
    """
    stop = _StopRequest()
    with contextlib.suppress(SignalInterruptError):
        stop.install()
        inbox, outbox = _take_over_streams()
        items: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(inbox, items, stop), name="items", daemon=True).start()
        _run_items(items, partial(_send, outbox, stop), stop)


class _StopRequest(CancelToken):
    """Turns a signal, or the end of stdin, into one exception in the main thread."""

    def __init__(self) -> None:
        super().__init__()
        self._deferred = False

    def install(self) -> None:
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._handle)

    def request(self) -> None:
        """Stop the main thread; called from another one."""
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            import _thread

            _thread.interrupt_main(signal.SIGTERM)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let no exception interrupt the block; :meth:`raise_if_cancelled` finds what arrived meanwhile."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self.signum:
            self.signum = signal.SIGTERM
            if not self._deferred:
                self.raise_if_cancelled()


def _run_items(
    items: queue.SimpleQueue[WorkItem | None], send: Callable[..., None], cancel: _StopRequest
) -> None:
    from vsrcli.batch.task import EngineCache, SendingReporter, TaskReporter, upscale_one

    engines, reporter = EngineCache(), SendingReporter(send)
    while (item := items.get()) is not None:
        _limit_threads(item)
        cancel.raise_if_cancelled()
        task_reporter = TaskReporter(reporter, item.index)
        outcome = upscale_one(item.source, item.target, item.options, engines, task_reporter, cancel)
        reporter.end(item.index, outcome)


def _limit_threads(item: WorkItem) -> None:
    """Limit the threads of OpenVINO, which uses all cores and knows no environment variable for that."""
    from vsrcli.errors import VsrError
    from vsrcli.inference.selection import choose_model, openvino_installed, plan_engine

    options = item.options
    with contextlib.suppress(VsrError):  # the task itself reports it
        if item.threads is None or choose_model(options.model, options.scale).weights is None:
            return
        plan = plan_engine(options.engine, options.device, options.precision)
        if plan.engine in ("auto", "openvino") and openvino_installed():
            from vsrcli.inference.openvino import openvino_core

            openvino_core().set_property("CPU", {"INFERENCE_NUM_THREADS": item.threads})


def _receive(inbox: IO[bytes], items: queue.SimpleQueue[WorkItem | None], stop: _StopRequest) -> None:
    """Queue work items until stdin ends; None, sent by the parent, ends an idle worker."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            item = pickle.load(inbox)
            items.put(item)
            if item is None:
                return
    items.put(None)
    stop.request()


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return stdin and stdout for this module alone.

    What libraries print goes to stderr from now on, and a process that one of them forks finds no lock of a
    waiting thread on its stdin.
    """
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return inbox, outbox


def _send(outbox: IO[bytes], stop: _StopRequest, *message: Any) -> None:
    with stop.deferred(), contextlib.suppress(BrokenPipeError):  # the parent has died; stdin ends, too
        pickle.dump(message, outbox)
        outbox.flush()


if __name__ == "__main__":
    main()
