"""``vsr batch``: many films in, as many out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from vsrcli.batch.discovery import FIELDS, TEMPLATE, Naming, find_tasks
from vsrcli.batch.ledger import Ledger
from vsrcli.cli.film_options import build_options, film_options
from vsrcli.cli.options import ARGUMENTS, from_command_line, quiet_option, verbose_option
from vsrcli.errors import SignalInterruptError, UsageError
from vsrcli.images.naming import is_image_name
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.system.signals import catch_signals


@click.command(
    epilog="Example: vsr batch -r films/ upscaled/ --scale 2 --container .mkv\n\n"
    "A pattern in quotes is expanded by vsr: vsr batch 'films/**/*.avi' upscaled/"
)
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("folder", metavar="OUT_DIR", type=click.Path(path_type=Path))
@click.option("-r", "--recursive", is_flag=True, help="Look into the folders below those named, too.")
@click.option(
    "--name",
    "template",
    default=TEMPLATE,
    show_default=True,
    metavar="TEMPLATE",
    help=f"What a new film is called: text with {', '.join(f'{{{name}}}' for name in FIELDS)}.",
)
@click.option(
    "--container",
    "--suffix",
    metavar=".EXT",
    help="Container of all new films, such as .mkv; default: each film's own, where it can be written.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Films at a time."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first film that fails.")
@click.option("--json", metavar="FILE", help="Write how each film ended; -: to stdout. See docs/batch.md.")
@film_options
@click.option(
    "-y",
    "--overwrite",
    is_flag=True,
    help="Replace files in OUT_DIR that are not what this command makes; finished films stay.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show what would happen to each film and write nothing.")
@quiet_option
@verbose_option
def batch(
    inputs: tuple[str, ...],
    folder: Path,
    recursive: bool,
    template: str,
    container: str | None,
    jobs: int,
    fail_fast: bool,
    json: str | None,
    dry_run: bool,
    quiet: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Upscale many films: files, folders and patterns.

    OUT_DIR mirrors the tree below each folder. A film that fails does not stop the others; one that is
    finished, from the same source and with the same options, is skipped. A batch that was interrupted is
    continued by the same command. Exit status: 0 if every film is there, 3 if some have failed.
    """
    from vsrcli.cli.batch_course import BatchCommand, BatchSettings

    context, options = click.get_current_context(), build_options(**given)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder; the last argument says where the new films go")
    if json not in (None, "-") and not Path(json).absolute().parent.is_dir():
        raise UsageError(f"--json {json}: there is no such folder; create it first")
    if container is not None:
        container = f".{container.lower().lstrip('.')}"
    scale = f"{float(options.scale):g}" if options.size is None else str(options.size).split()[1]
    naming = Naming(find_ffmpeg(options.ffmpeg), template, container, scale, options.model)
    ledger = Ledger(folder)
    found = find_tasks(inputs, folder, naming, recursive=recursive, finished=ledger.targets)
    if not from_command_line(context, "fps") and not any(is_image_name(task.source) for task in found.tasks):
        options = replace(options, fps=None)  # of which no film is another one
    wishes = BatchSettings(jobs, fail_fast, dry_run, quiet, bool(verbose) and not quiet, json)
    stop = None
    with catch_signals() as received:
        course = BatchCommand(found, options, ledger, wishes)
        try:
            course.plan(received)
            course.run(received)
            received.raise_if_cancelled()
        except SignalInterruptError as error:
            stop = error
        status = course.report(stop.exit_status if stop else None)
        if stop:
            raise SignalInterruptError(
                course.resume_hint(context.meta.get(ARGUMENTS, ())), signum=stop.signum
            )
    if status:
        context.exit(status)
