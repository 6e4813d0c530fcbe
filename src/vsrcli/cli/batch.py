"""``vsr batch``: upscale many videos; first plan each of them, then upscale, then report.

What the report looks like is in :mod:`vsrcli.cli.batch_report`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from vsrcli.batch.discovery import DEFAULT_TEMPLATE, TEMPLATE_FIELDS, Naming, TaskList, find_tasks
from vsrcli.batch.ledger import Ledger, options_fingerprint
from vsrcli.batch.planning import PlannedTask, plan_task, share_memory
from vsrcli.batch.runner import BatchRun
from vsrcli.batch.task import WAITING
from vsrcli.cli.batch_report import batch_document, print_outcomes, print_plans, write_document
from vsrcli.cli.cluster_options import WorkerRequest, cluster_options, request_workers
from vsrcli.cli.help import Command, option
from vsrcli.cli.options import ARGUMENTS, check_applicable, quiet_option, verbose_option
from vsrcli.cli.progress import make_batch_progress, make_progress, print_failure, stderr_console
from vsrcli.cli.upscale_options import upscale_options
from vsrcli.cli.upscale_values import build_options
from vsrcli.errors import SignalInterruptError, UsageError
from vsrcli.images.naming import is_image_name
from vsrcli.inference.looks import SHARP, SHARP_SUFFIX
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.pipeline.options import Options
from vsrcli.system.signals import catch_signals, current_token, raise_if_cancelled

EXIT_STATUS_WITH_FAILURES, EXIT_STATUS_ELSEWHERE = 3, 4


@click.command(
    cls=Command,
    epilog="Example: vsr batch -r videos/ upscaled/ --scale 2 --container .mkv\n\n"
    "A pattern, in quotes so that vsr expands it: vsr batch 'videos/**/*.avi' upscaled/",
)
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("folder", metavar="OUT_DIR", type=click.Path(path_type=Path))
@option("-r", "--recursive", "Also look into subfolders.", is_flag=True, group="Batch")
@option(
    "-j",
    "--jobs",
    "Upscale N videos at a time.",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    group="Batch",
)
@option("--fail-fast", "Stop at the first video that fails.", is_flag=True, group="Batch")
@upscale_options
@cluster_options
@option(
    "-y",
    "--overwrite",
    "Replace files in OUT_DIR that this command did not make; finished videos stay.",
    is_flag=True,
    group="Output",
)
@option(
    "-n", "--dry-run", "Show what would happen to each video and write nothing.", is_flag=True, group="Output"
)
@option(
    "--container",
    "--suffix",
    "Write all videos in this container, such as .mkv.  [default: that of each input, where possible]",
    metavar=".EXT",
    group="Output",
)
@option(
    "--name",
    "template",
    f"Name each result by this text with {', '.join(f'{{{name}}}' for name in TEMPLATE_FIELDS)}.",
    default=DEFAULT_TEMPLATE,
    metavar="TEMPLATE",
    group="Output",
)
@option(
    "--json",
    "Write the outcome of each video to this file, or - for stdout; see docs/batch.md.",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    group="Output",
)
@quiet_option
@verbose_option
def batch(
    inputs: tuple[str, ...],
    folder: Path,
    recursive: bool,
    template: str,
    container: str | None,
    jobs: int,
    workers: int | None,
    cluster: str | None,
    strict: bool,
    fail_fast: bool,
    json: str | None,
    dry_run: bool,
    quiet: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Upscale many videos: files, folders and patterns.

    OUT_DIR mirrors the tree below each folder. A video that fails does not stop the others; one that is
    finished, from the same input and with the same options, is skipped. Run the same command again to resume
    an interrupted batch. Several batches, also on other machines, may share OUT_DIR and so the work. Exit
    status: 0 if every video is there, 3 if some have failed, 4 if another batch is still at work on some.
    """
    context = click.get_current_context()
    request, options, jobs = request_workers(
        context, build_options(**values), WorkerRequest(workers, cluster, strict), jobs
    )
    if not request:
        options = request.options(options)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; the last argument says where the new videos go")
    if json not in (None, "-") and not Path(json).absolute().parent.is_dir():
        raise UsageError(f"--json {json}: there is no such folder; create it first")
    if json not in (None, "-") and Path(json).is_dir():
        raise UsageError(f"--json {json}: this is a folder; name a file in it, such as result.json")
    if container is not None:
        container = f".{container.lower().lstrip('.')}"
    scale = f"{float(options.scale):g}" if options.size is None else str(options.size).split()[1]
    scale = "1" if options.same_size else scale
    model = "+".join(_display_name(each, options.look) for each in options.models)
    naming = Naming(find_ffmpeg(options.ffmpeg), template, container, scale, model)
    ledger = Ledger(folder)
    task_list = find_tasks(inputs, folder, naming, recursive=recursive, finished=ledger.targets)
    has_images = any(is_image_name(task.source) for task in task_list.tasks)
    # a setting for image sequences must not change a fingerprint
    check_applicable(context, values, "images" if has_images else "videos")
    options = replace(options, fps=values["fps"])
    interrupt = None
    command = BatchCommand(
        task_list,
        options,
        ledger,
        jobs,
        request,
        fail_fast,
        dry_run,
        quiet,
        bool(verbose) and not quiet,
        json,
    )

    def resume_hint() -> str:
        return command.resume_hint(context.meta.get(ARGUMENTS, ()))

    for text in request.notices if not quiet else ():
        stderr_console().print(text)
    with catch_signals(resume_hint=lambda: f"vsr: {resume_hint()}") as cancel:
        try:
            command.plan()
            command.run()
            cancel.raise_if_cancelled()
        except SignalInterruptError as error:
            interrupt = error
        status = command.report(interrupt.exit_status if interrupt else None)
        if interrupt:
            raise SignalInterruptError(resume_hint(), signum=interrupt.signum)
    if status:
        context.exit(status)


def _display_name(model: str, look: str | None) -> str:
    """Return a model's name for names of files, with its look if that is sharp."""
    name = Path(model).name.removesuffix(".weights.h5")
    return f"{name}{SHARP_SUFFIX}" if look == SHARP and not name.endswith(SHARP_SUFFIX) else name


@dataclass
class BatchCommand:
    """One run of the command: :meth:`plan`, :meth:`run`, :meth:`report`.

    Attributes:
        task_list: the videos.
        options: for each video.
        ledger: of the output folder.
        jobs: videos at a time.
        request: for workers, which compute pieces of all videos.
        fail_fast: stop at the first video that fails.
        dry_run: plan only.
        quiet: print failures only.
        verbose: print skipped and waiting videos even in long tables, and count files that are ignored.
        json: destination of the document: a file, ``-`` for stdout, or None.
        outcomes: of all videos, in the order of the tasks; up to date at any time.
    """

    task_list: TaskList
    options: Options
    ledger: Ledger
    jobs: int
    request: WorkerRequest
    fail_fast: bool
    dry_run: bool
    quiet: bool
    verbose: bool
    json: str | None

    def __post_init__(self) -> None:
        self.outcomes = [WAITING] * len(self.task_list.tasks)
        self._console, self._start_time = stderr_console(), time.perf_counter()
        self._planned: list[PlannedTask] = []
        self._fingerprint = options_fingerprint(self.options)

    def plan(self) -> None:
        """Plan every video. Failures are printed at once, except in a dry run, whose table lists them.

        Raises:
            SignalInterruptError: a signal arrived.
        """
        tasks, console = self.task_list.tasks, self._console
        with make_progress(console, "videos", quiet=self.quiet or not console.is_terminal) as progress:
            for index, task in enumerate(tasks):
                raise_if_cancelled()
                progress.update(index, len(tasks), "planned")
                planned = plan_task(task, self.options, self.ledger, self._fingerprint)
                self._planned.append(planned)
                self.outcomes[index] = planned.outcome
                if planned.outcome.status == "failed" and not self.dry_run:
                    print_failure(console, task.name, planned.outcome)

    def run(self) -> None:
        """Upscale the videos that are waiting.

        Raises:
            SignalInterruptError: a signal arrived.
            OutputError: the output folder cannot be created.
        """
        requested, self.jobs, request = self.jobs, 1, self.request
        if self.dry_run or (self.fail_fast and self._has_failures):
            return
        if request and request.cluster is None:
            count, options, notice = share_memory(
                self._planned, self.options, request.count or 1, workers=True
            )
            request = replace(request, count=count)
        else:  # the machines of a cluster have memory of their own
            self.jobs, options, notice = share_memory(self._planned, self.options, requested)
        if notice and not self.quiet:
            self._console.print(notice)
        self.ledger.make_folder()
        with make_batch_progress(self._console, self._planned, quiet=self.quiet) as progress:
            batch_run = BatchRun(
                self._planned,
                options,
                self.ledger,
                self._fingerprint,
                progress,
                current_token(),
                fail_fast=self.fail_fast,
            )
            self.outcomes = batch_run.outcomes
            jobs = [each.job for each in self._planned if each.job is not None]
            if request and jobs:
                from vsrcli.batch.on_workers import run_on_workers

                run_on_workers(batch_run, request.workers(jobs[0]), strict=request.strict)
            elif self.jobs > 1:
                batch_run.run_parallel(self.jobs)
            else:
                batch_run.run_sequential()

    def report(self, signal_status: int | None) -> int:
        """Print the table and write the document.

        Args:
            signal_status: exit status of the signal that stopped the batch, if one did.

        Returns:
            The exit status.

        Raises:
            OutputError: the document cannot be written.
        """
        tasks = self.task_list.tasks
        status = signal_status or self._exit_status
        if not self.quiet:
            for notice in self.task_list.notices:
                self._console.print(notice)
            if self.task_list.ignored_count and self.verbose:
                self._console.print(f"files ignored that are not videos: {self.task_list.ignored_count}")
            if self.dry_run:
                print_plans(self._console, self._planned)
            else:
                print_outcomes(self._console, tasks, self.outcomes, every=self.verbose)
        if self.json is not None:
            document = batch_document(
                tasks,
                self.outcomes,
                out_dir=str(self.ledger.folder),
                dry_run=self.dry_run,
                exit_status=status,
                jobs=self.jobs,
                seconds=round(time.perf_counter() - self._start_time, 3),
            )
            write_document(document, self.json)
        return status

    def resume_hint(self, arguments: Sequence[str]) -> str:
        """Return how many videos are finished after a signal, and the command that resumes the batch.

        Args:
            arguments: of the command line.
        """
        command = shlex.join(["vsr", *(each for each in arguments if each != "--no-resume")])
        finished = sum(outcome.status in ("done", "skipped") for outcome in self.outcomes)
        return f"stopped; {finished} of {len(self.outcomes)} videos are finished; to resume: {command}"

    @property
    def _exit_status(self) -> int:
        if self._has_failures:
            return EXIT_STATUS_WITH_FAILURES
        return EXIT_STATUS_ELSEWHERE if any(each.status == "elsewhere" for each in self.outcomes) else 0

    @property
    def _has_failures(self) -> bool:
        return any(outcome.status == "failed" for outcome in self.outcomes)
