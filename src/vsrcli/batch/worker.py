"""A worker process of a batch: runs work items from stdin, and writes what happens to stdout.

Both are streams of pickles between a program and its own child. When stdin ends, the parent wants the worker
to stop, or has died: the running task then stops so that another run can resume it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import SignalInterruptError
from vsrcli.pipeline.options import Options
from vsrcli.system.signals import CancelToken, catch_signals
from vsrcli.system.threads import poll_get

FORCE_EXIT_SECONDS = 5.0  # less than the parent's, which reports how the tasks have ended


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
    with (
        contextlib.suppress(SignalInterruptError),
        catch_signals(force_exit_after=FORCE_EXIT_SECONDS, resume_hint=str) as token,
    ):
        inbox, outbox = _take_over_streams()
        items: queue.Queue[WorkItem | None] = queue.Queue()
        threading.Thread(target=_receive, args=(inbox, items, token), name="items", daemon=True).start()
        _run_items(items, partial(_send, outbox), token)


def _run_items(items: queue.Queue[WorkItem | None], send: Callable[..., None], token: CancelToken) -> None:
    from vsrcli.batch.task import EngineCache, SendingReporter, TaskReporter, upscale_one

    engines, reporter = EngineCache(), SendingReporter(send)
    while (item := poll_get(items)) is not None:
        _limit_threads(item)
        task_reporter = TaskReporter(reporter, item.index)
        outcome = upscale_one(item.source, item.target, item.options, engines, task_reporter, token)
        reporter.end(item.index, outcome)


def _limit_threads(item: WorkItem) -> None:
    """Limit the threads of OpenVINO and ONNX Runtime, which use all cores and know no variable."""
    from vsrcli.errors import VsrError
    from vsrcli.inference.selection import (
        choose_models,
        onnxruntime_installed,
        openvino_installed,
        plan_engine,
    )

    options = item.options
    with contextlib.suppress(VsrError):  # the task itself reports it
        if item.threads is None or not options.strength:
            return
        if all(each.weights is None for each in choose_models(options.models, options.scale)):
            return
        plan = plan_engine(options.engine, options.device, options.precision)
        if plan.engine in ("auto", "onnxruntime") and onnxruntime_installed():
            from vsrcli.inference.onnxruntime_session import limit_threads

            limit_threads(item.threads)
        if plan.engine in ("auto", "openvino") and openvino_installed():
            from vsrcli.inference.openvino import openvino_core

            openvino_core().set_property("CPU", {"INFERENCE_NUM_THREADS": item.threads})


def _receive(inbox: IO[bytes], items: queue.Queue[WorkItem | None], token: CancelToken) -> None:
    """Queue work items until stdin ends, which stops the worker; None, from the parent, ends an idle one."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            item = pickle.load(inbox)
            items.put(item)
            if item is None:
                return
    token.cancel()


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


def _send(outbox: IO[bytes], *message: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent has died; stdin ends, too
        pickle.dump(message, outbox)
        outbox.flush()


if __name__ == "__main__":
    main()
