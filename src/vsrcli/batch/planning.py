"""What can be known of every film before the first one is begun.

How many films at a time memory allows, and what each of them may take.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vsrcli.batch.discovery import Task
from vsrcli.batch.ledger import Ledger
from vsrcli.batch.task import WAITING, Outcome, failure_outcome
from vsrcli.errors import OutputError, SignalInterruptError, UsageError, VsrError
from vsrcli.pipeline.job import Job, Options, prepare_job
from vsrcli.pipeline.memory import FREE_MEMORY_SHARE
from vsrcli.system.resources import available_gpu_memory, available_host_memory
from vsrcli.system.text import format_bytes


@dataclass(frozen=True)
class PlannedTask:
    """One film, looked at.

    Attributes:
        task: which.
        outcome: ``waiting`` if it is to be made; else it has ended here: ``skipped`` or ``failed``.
        job: what will be done; its target may be a scratch folder's. None if nothing will.
    """

    task: Task
    outcome: Outcome = WAITING
    job: Job | None = None

    @property
    def pixels(self) -> int:
        """Of a frame of the source; 0 if nothing will be done."""
        return self.job.source.video.width * self.job.source.video.height if self.job else 0


def plan_task(task: Task, options: Options, ledger: Ledger, wanted: Mapping[str, str]) -> PlannedTask:
    """Look whether a film is finished, and if not, whether it can be made. Writes nothing.

    Args:
        task: the film.
        options: of all films; ``options.encode.overwrite``: whether a target that is something else may be
            replaced.
        ledger: says what is finished.
        wanted: what films depend on, see :func:`~vsrcli.batch.ledger.options_fingerprint`.

    Raises:
        Interrupted: a signal arrived.
    """
    try:
        if task.target.is_file() and task.source.is_file():
            objection = ledger.reason_not_done(task.source, task.target, wanted)
            if objection is None:
                frames = ledger.frames(task.target)
                return PlannedTask(task, Outcome("skipped", frames=frames, reason="finished before"))
            if not options.encode.overwrite:
                reason = f"{task.target} {objection}; -y makes it anew, or move it away"
                return PlannedTask(task, Outcome("failed", reason=reason))
        return PlannedTask(task, job=prepare_in_scratch(task, options))
    except SignalInterruptError:
        raise
    except (VsrError, OSError) as error:
        return PlannedTask(
            task, failure_outcome(error if isinstance(error, VsrError) else _named(task, error))
        )


def prepare_in_scratch(task: Task, options: Options) -> Job:
    """What ``prepare`` decides, though the target's folder may not be there yet.

    Raises:
        VsrError: see :func:`~vsrcli.pipeline.job.prepare_job`.
    """
    if task.target.parent.exists():
        return prepare_job(task.source, task.target, options)
    with tempfile.TemporaryDirectory(
        prefix="vsr-batch-"
    ) as scratch:  # its folder is made when it is its turn
        job = prepare_job(task.source, Path(scratch) / task.target.name, options)
    return replace(job, plan=replace(job.plan, target=task.target))


def _named(task: Task, error: OSError) -> OutputError:
    where = error.filename or task.target
    return OutputError(f"{where} cannot be read ({error.strerror or error}); check its access rights")


def share_memory(
    checked: Sequence[PlannedTask], options: Options, jobs: int
) -> tuple[int, Options, str | None]:
    """Options of one of several films at a time.

    Args:
        checked: all films.
        options: as given; ``max_memory`` is for all of them together.
        jobs: how many films at a time the user wants.

    Returns:
        How many it will be, the options of each, and what there is to be said about it.
    """
    waiting = [each for each in checked if each.job is not None]
    asked, jobs = jobs, max(min(jobs, len(waiting)), 1)
    if jobs == 1:
        return 1, options, None
    total = options.max_memory or _free(options.device)
    largest = max(waiting, key=lambda each: each.pixels)
    for count in range(jobs, 1, -1):
        share = replace(options, max_memory=total // count)
        if _fits(largest, share):
            return count, share, _said(count, asked, total) if count < jobs else None
    return 1, options, _said(1, asked, total)


def _free(device: str) -> int:
    """Bytes that all may take together: the network on the GPU, if there is one, the rest on the host."""
    gpu, host = available_gpu_memory(device), available_host_memory()
    return int(FREE_MEMORY_SHARE * (host if gpu is None else min(host, gpu)))


def _fits(checked: PlannedTask, options: Options) -> bool:
    """Whether the largest film can be made with this share: it finds tiles, or there are none."""
    try:
        prepare_in_scratch(checked.task, options)
    except UsageError:
        return False
    except SignalInterruptError:
        raise
    except VsrError:
        return True  # it is no question of memory, and has been asked before
    return True


def _said(count: int, asked: int, total: int) -> str:
    films = "film" if count == 1 else "films"
    return f"-j {asked}: {format_bytes(total)} of memory are enough for {count} {films} at a time"
