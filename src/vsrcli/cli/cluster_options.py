"""Options of commands that let several processes or machines compute, and the workers that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import option
from vsrcli.cli.options import TYPED, from_command_line, precedence
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
        is_typed: whether the command line asks for workers; if only settings do, they are left out where they
            cannot compute, see :meth:`without_workers`.
        notices: on what was left out, for people.
    """

    count: int | None
    cluster: str | None
    strict: bool
    is_typed: bool = True
    notices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count is not None or self.cluster is not None

    @property
    def text(self) -> str:
        """The option that asks for workers."""
        return f"--workers {self.count}" if self.cluster is None else f"--cluster {self.cluster}"

    def without_workers(self, reason: str) -> WorkerRequest:
        """Return no request.

        Args:
            reason: a phrase that says why workers cannot compute this.

        Raises:
            UsageError: they were asked for on the command line.
        """
        if self.is_typed:
            raise UsageError(f"{self.text}: {reason}")
        notice = f"left out of your settings: {self.text} ({reason.partition(';')[0]})"
        return WorkerRequest(None, None, strict=False, notices=(*self.notices, notice))

    def options(self, options: Options) -> Options:
        """Return the options of a run on the workers that are asked for, if any are."""
        if self:
            return options.in_pieces
        return replace(options, device=options.device.partition(",")[0])  # one process computes on one GPU

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


def request_workers(
    context: click.Context, options: Options, request: WorkerRequest, jobs: int = 1
) -> tuple[WorkerRequest, Options, int]:
    """Return what is asked for, and the options and the number of jobs, without what excludes the others.

    Of options that exclude each other those of the highest precedence hold, see
    :func:`~vsrcli.cli.options.highest_precedence`. A setting that needs another one is left out without it.

    Args:
        context: of the command.
        options: of the run.
        request: as the options say.
        jobs: videos at a time.

    Raises:
        UsageError: options of the same precedence exclude each other, or a typed one needs another.
    """
    cluster_rank = precedence(context, "cluster")
    rank = max(precedence(context, "workers"), cluster_rank)
    request = replace(request, is_typed=rank == TYPED)

    def loses(name: str, own_rank: int, error: str) -> bool:
        """Return whether workers give way to another option; raise if neither does."""
        other_rank = precedence(context, name)
        if own_rank == other_rank:
            raise UsageError(error)
        return own_rank < other_rank

    if request and options.segment not in ("auto", "shots"):
        need = f"needs --segment shots, not {options.segment}"
        if loses("segment", rank, f"{request.text} {need}"):
            request = request.without_workers(f"it {need}")
        else:
            options = replace(options, segment="auto")
    if request and jobs > 1:
        excluded = f"-j {jobs} and {request.text} exclude each other: workers share all videos"
        if loses("jobs", rank, excluded):
            request = request.without_workers(f"-j {jobs} excludes it")
        else:
            jobs = 1
    if request.cluster is not None and options.device not in ("auto", "cpu"):
        chosen = f"--gpu {options.device}: with --cluster, Ray chooses the GPUs; leave it out"
        if loses("device", cluster_rank, chosen):
            request = request.without_workers(f"--gpu {options.device} excludes it")
        else:
            options = replace(options, device="auto")
    if not request and "," in options.device and from_command_line(context, "device"):
        raise UsageError(f"--gpu {options.device} needs --workers: one process computes on one GPU")
    if not request and request.strict and from_command_line(context, "strict"):
        raise UsageError("--strict compares workers: it needs --workers or --cluster")
    return request, options, jobs


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
