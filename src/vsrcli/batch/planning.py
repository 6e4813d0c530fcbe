"""Decide for each video of a batch, before the first one starts, what happens to it; and share the memory.

Videos that are finished are skipped, those that cannot be read or written fail, the others get their job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vsrcli.batch.discovery import Task
from vsrcli.batch.ledger import Ledger
from vsrcli.batch.task import WAITING, Outcome, failure_outcome
from vsrcli.errors import OutputError, SignalInterruptError, UsageError, VsrError
from vsrcli.pipeline.job import Job, workload_of
from vsrcli.pipeline.memory import FREE_MEMORY_SHARE
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.preparation import prepare_job
from vsrcli.system.files import temporary_folder
from vsrcli.system.resources import available_gpu_memory, available_host_memory
from vsrcli.system.text import format_bytes


@dataclass(frozen=True)
class PlannedTask:
    """A task and what happens to it.

    Attributes:
        task: input and output.
        outcome: ``waiting`` if it will run; else ``skipped`` or ``failed``.
        job: what will be done, None if nothing.
    """

    task: Task
    outcome: Outcome = WAITING
    job: Job | None = None

    @property
    def frame_pixels(self) -> int:
        """Pixels of a source frame; 0 without a job."""
        return self.job.source.video.width * self.job.source.video.height if self.job else 0


def plan_task(task: Task, options: Options, ledger: Ledger, fingerprint: Mapping[str, str]) -> PlannedTask:
    """Return whether a task is finished, can run, or fails. Writes nothing.

    Args:
        task: input and output.
        options: of all tasks; ``options.encode.overwrite`` allows to replace a file that is not the finished
            output.
        ledger: of the output folder.
        fingerprint: of the options, see :func:`~vsrcli.batch.ledger.options_fingerprint`.

    Raises:
        SignalInterruptError: a signal arrived.
    """
    try:
        if task.target.is_file() and task.source.is_file():
            objection = ledger.reason_not_done(task.source, task.target, fingerprint)
            if objection is None:
                frames = ledger.frames(task.target)
                return PlannedTask(task, Outcome("skipped", frames=frames, reason="finished before"))
            if outcome := finished_meanwhile(task, ledger, fingerprint):
                return PlannedTask(task, outcome)
            if not options.encode.overwrite:
                reason = f"{task.target} {objection}; -y replaces it, or move it away"
                return PlannedTask(task, Outcome("failed", reason=reason))
        return PlannedTask(task, job=prepare_in_scratch(task, options))
    except SignalInterruptError:
        raise
    except VsrError as error:
        outcome = finished_meanwhile(task, ledger, fingerprint)
        return PlannedTask(task, outcome or failure_outcome(error))
    except OSError as error:
        path = error.filename or task.target
        reason = f"{path} cannot be read ({error.strerror or error}); check its access rights"
        return PlannedTask(task, failure_outcome(OutputError(reason)))
    except Exception as error:  # of one video, and no reason to leave the others
        return PlannedTask(task, failure_outcome(error))


def finished_meanwhile(task: Task, ledger: Ledger, fingerprint: Mapping[str, str]) -> Outcome | None:
    """Return the outcome of a task that another batch has finished since the ledger was read, else None.

    Args: see :func:`plan_task`.
    """
    with contextlib.suppress(OSError):  # is reported when it is opened
        if not task.target.is_file():
            return None
        ledger.refresh()
        if ledger.reason_not_done(task.source, task.target, fingerprint) is None:
            frames = ledger.frames(task.target)
            return Outcome("skipped", frames=frames, reason="finished by another batch")
    return None


def prepare_in_scratch(task: Task, options: Options) -> Job:
    """Return the job of a task, even if the output's folder does not exist yet: a temporary one replaces it.

    Raises:
        VsrError: see :func:`~vsrcli.pipeline.preparation.prepare_job`.
    """
    if task.target.parent.exists():
        return prepare_job(task.source, task.target, options)
    with temporary_folder("vsr-batch-") as scratch:
        job = prepare_job(task.source, scratch / task.target.name, options)
    return replace(job, plan=replace(job.plan, target=task.target))


def share_memory(
    planned: Sequence[PlannedTask], options: Options, requested: int, *, workers: bool = False
) -> tuple[int, Options, str | None]:
    """Return how many networks memory allows at a time, and options with each one's share.

    Args:
        planned: all tasks.
        options: of all tasks; ``max_memory`` is for all networks of a time together.
        requested: how many videos at a time (``--jobs``) are requested.
        workers: ``requested`` is a number of processes that share each video (``--workers``); each may have a
            GPU of its own.

    Returns:
        Number of videos or workers, options of each, and a notice if that is fewer than requested.
    """
    waiting = [each for each in planned if each.job is not None]
    jobs = max(requested if workers else min(requested, len(waiting)), 1)
    if jobs == 1 or not waiting:
        return jobs, options, None
    if workers and all(_fits_host(each.job, jobs) for each in waiting if each.job is not None):
        return jobs, options, None
    on_gpu = any(each.job and each.job.engine and each.job.engine.may_use_gpu for each in waiting)
    total = options.max_memory or _free_memory(options.device if on_gpu and not workers else "cpu")
    kinds = _kinds(waiting)
    for count in range(jobs, 1, -1):
        share = replace(options, max_memory=total // count)
        if all(_fits(each, share) for each in kinds):
            notice = _memory_notice(count, requested, total, workers=workers) if count < jobs else None
            return count, share, notice
    return 1, options, _memory_notice(1, requested, total, workers=workers)


def _kinds(waiting: Sequence[PlannedTask]) -> list[PlannedTask]:
    """Return one task for each that takes another amount of memory, those that take most first."""
    kinds: dict[tuple[object, ...], tuple[int, PlannedTask]] = {}
    for each in waiting:
        if (job := each.job) is not None:
            workload = workload_of(job.source, job.model, job.plan, job.engine)
            key = workload, *(model.checksum for model in job.models)
            kinds.setdefault(key, (job.memory_estimate().total, each))
    return [each for _, each in sorted(kinds.values(), key=lambda kind: kind[0], reverse=True)]


def _fits_host(job: Job, count: int) -> bool:
    """Return whether several processes with the tiles of one fit into the host's memory."""
    return count * job.memory_estimate().total <= job.memory_budget.host


def _free_memory(device: str) -> int:
    """Return bytes for all videos: a network on a GPU takes its memory, everything else the host's."""
    gpu, host = available_gpu_memory(device), available_host_memory()
    return int(FREE_MEMORY_SHARE * (host if gpu is None else min(host, gpu)))


def _fits(planned: PlannedTask, options: Options) -> bool:
    """Return whether tiles are found for a task within ``options.max_memory``."""
    try:
        prepare_in_scratch(planned.task, options)
    except UsageError:
        return False
    except SignalInterruptError:
        raise
    except Exception:
        return True  # has nothing to do with memory; the run itself reports it
    return True


def _memory_notice(count: int, requested: int, total: int, *, workers: bool) -> str:
    option, unit = ("--workers", "worker") if workers else ("-j", "video")
    units = f"{count} {unit}{'s' * (count > 1)}"
    return f"{option} {requested}: {format_bytes(total)} of memory are enough for {units} at a time"
