"""Run one job on workers: processes of this machine, or of others."""

from __future__ import annotations

from vsrcli.cluster.coordinator import Coordinator
from vsrcli.cluster.driver import Limits
from vsrcli.cluster.places import LocalWorkers, Workers
from vsrcli.cluster.video import PlannedVideo, require_pieces
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.progress import Reporter, Result
from vsrcli.system.signals import CancelToken, current_token


def run_on_workers(
    job: Job,
    workers: Workers | int,
    reporter: Reporter | None = None,
    cancel: CancelToken | None = None,
    *,
    limits: Limits | None = None,
    strict: bool = False,
) -> Result:
    """Run a job on worker processes.

    Args:
        job: with ``--segment shots``.
        workers: where they can be; a number: processes of this machine.
        reporter, cancel: see :func:`~vsrcli.pipeline.run.run_job`.
        limits: of the driver.
        strict: refuse workers on another kind of processor than the first one's.

    Raises:
        UsageError: the output cannot be cut into pieces.
        VsrError: see :func:`~vsrcli.pipeline.run.run_job`.
    """
    reporter, cancel = reporter or Reporter(), cancel or current_token()
    if isinstance(workers, int):
        workers = LocalWorkers(workers, job)
    require_pieces(job, workers.option)
    waiting = [PlannedVideo(0, job, reporter)]
    results: list[Result] = []

    def end(video: PlannedVideo, outcome: Result | BaseException) -> None:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)

    Coordinator(
        workers,
        lambda: waiting.pop().__enter__() if waiting else None,
        end,
        cancel,
        on_notice=reporter.notice,
        limits=limits,
        strict=strict,
    ).run()
    reporter.done(results[0])
    return results[0]
