"""Options of commands that let several processes or machines compute, and the workers that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import option
from vsrcli.errors import UsageError
from vsrcli.pipeline.options import Options

if TYPE_CHECKING:
    from vsrcli.cluster.places import Workers
    from vsrcli.pipeline.job import Job


@dataclass(frozen=True)
class WorkerRequest:
    """What the command line asks for.

    Attributes:
        count: processes of this machine, or with a cluster of each machine; None: not said.
        cluster: address of a Ray cluster; None: this machine only.
        strict: refuse workers on another kind of processor.
    """

    count: int | None
    cluster: str | None
    strict: bool

    def __bool__(self) -> bool:
        return self.count is not None or self.cluster is not None

    @property
    def text(self) -> str:
        """The option that asks for workers."""
        return f"--workers {self.count}" if self.cluster is None else f"--cluster {self.cluster}"

    def options(self, options: Options) -> Options:
        """Return the options of a run on workers.

        Raises:
            UsageError: they exclude workers, or need them.
        """
        if not self:
            if "," in options.device:
                raise UsageError(f"--gpu {options.device} needs --workers: one process computes on one GPU")
            if self.strict:
                raise UsageError("--strict compares workers: it needs --workers or --cluster")
            return options
        if options.segment not in ("auto", "shots"):
            raise UsageError(f"{self.text} needs --segment shots, not {options.segment}")
        if self.cluster is not None and options.device not in ("auto", "cpu"):
            raise UsageError(f"--gpu {options.device}: with --cluster, Ray chooses the GPUs; leave it out")
        return replace(options, segment="shots")

    def share_memory(
        self, job: Job, prepare: Callable[[Options], Job], on_notice: Callable[[str], None]
    ) -> Job:
        """Return the job with tiles that fit several processes of this machine at a time.

        Args:
            job: with tiles as if it were alone.
            prepare: prepares the job with other options.
            on_notice: called with a line if tiles are smaller than those of one process.

        Raises:
            UsageError: memory is not enough for so many processes.
        """
        count, budget = self.count or 1, job.memory_budget
        if self.cluster is not None or count * job.memory_estimate().total <= budget.host:
            return job
        share = replace(job.requested, max_memory=budget.host // count)  # tuned anew, to fit
        try:
            shared = prepare(share)
        except UsageError as error:
            raise UsageError(f"--workers {count}: too many for the memory that is free ({error})") from error
        if shared.tiles != job.tiles:
            on_notice(f"--workers {count}: smaller tiles than with one process, to fit the memory of all")
        return shared

    def workers(self, job: Job) -> Workers:
        """Return the workers; ``job``: of a batch, the first one."""
        from vsrcli.cluster.places import LocalWorkers

        if self.cluster is None:
            return LocalWorkers(self.count or 1, job)
        from vsrcli.cluster.ray_workers import RayWorkers

        return RayWorkers(self.cluster, self.count)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--workers``, ``--cluster`` and ``--strict``."""
    for decorate in (
        option(
            "--strict",
            "Refuse workers on another kind of processor, whose frames may differ by rounding.",
            is_flag=True,
            group="Computing",
        ),
        option(
            "--cluster",
            "Upscale pieces (--segment shots) on all machines of a Ray cluster; see docs/cluster.md.",
            metavar="auto|HOST:PORT",
            group="Computing",
        ),
        option(
            "--workers",
            "Upscale pieces (--segment shots) with N processes, with several GPUs one on each; with "
            "--cluster, N on each machine.",
            type=click.IntRange(min=1),
            metavar="N",
            group="Computing",
        ),
    ):
        command = decorate(command)
    return command
