"""A worker process of a batch: runs work items, and sends what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.pipeline.options import Options
from vsrcli.system.signals import CancelToken
from vsrcli.system.worker_process import run_worker


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


def run_items(items: Iterator[WorkItem], send: Callable[..., Any], token: CancelToken) -> None:
    """Run work items; messages are (name of a method of ``BatchReporter``, index, argument)."""
    from vsrcli.batch.task import EngineCache, SendingReporter, TaskReporter, upscale_one
    from vsrcli.pipeline.thread_limit import limit_network_threads

    engines, reporter = EngineCache(), SendingReporter(send)
    for item in items:
        limit_network_threads(item.options, item.threads)
        task_reporter = TaskReporter(reporter, item.index)
        outcome = upscale_one(item.source, item.target, item.options, engines, task_reporter, token)
        reporter.end(item.index, outcome)


if __name__ == "__main__":
    run_worker(run_items)
