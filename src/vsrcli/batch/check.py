"""What can be known of every film before the first one is begun."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vsrcli.batch.films import Task
from vsrcli.batch.ledger import Ledger
from vsrcli.batch.make import failure_outcome
from vsrcli.batch.outcome import WAITING, Outcome
from vsrcli.errors import OutputError, SignalInterruptError, VsrError
from vsrcli.pipeline.job import Job, Options, prepare_job


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
