"""``vsr train``: train a model on a folder of clips and photographs, and describe it in a model card."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.help import Command
from vsrcli.cli.options import ARGUMENTS, quiet_option, verbose_option
from vsrcli.cli.train_options import training_config, training_options
from vsrcli.datasets.manifest import read_manifest
from vsrcli.degradations import PRESETS
from vsrcli.system.signals import catch_signals
from vsrcli.system.text import format_duration
from vsrcli.train.config import StepReport
from vsrcli.train.footage import Footage

_EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
_START_SECONDS = 4.0  # that a stop may take before the first step, when there is nothing to save


@click.command(
    cls=Command,
    epilog="Example: vsr train footage --run runs/x4 --val validation --scale 4 --steps 6000",
)
@click.argument("folder", metavar="DATA_DIR", type=_EXISTING)
@training_options
@quiet_option
@verbose_option
@click.pass_context
def train(
    context: click.Context,
    folder: Path,
    run_folder: Path,
    validation_folder: Path | None,
    init: Path | None,
    cache: Path,
    shippable: bool,
    metrics: tuple[str, ...],
    revive: bool,
    quiet: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Train a model on a folder of clips and photographs.

    Run the same command again to resume from the last checkpoint. The weights in the run's folder work with
    `vsr upscale --model`.
    """
    from vsrcli.cli.models import quality
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.inference.keras import silence_native_stderr
    from vsrcli.system.resources import configure_malloc
    from vsrcli.train.config import (
        CHECKPOINT_NAME,
        check_sequences,
        memory_notice,
        require_initial_weights,
        temporal_margin,
    )
    from vsrcli.train.footage import check_no_leakage, find_footage
    from vsrcli.train.pairs import prepare_pairs

    config = training_config(context, values)
    check_sequences(config, config.architecture)
    require_initial_weights(config, init, run_folder / CHECKPOINT_NAME)
    footage = find_footage(folder, shippable_only=shippable)
    if validation_folder is not None:
        check_no_leakage(footage, find_footage(validation_folder, split="val"))
    configure_malloc()
    preset = PRESETS[config.degradation]
    with catch_signals(force_exit_after=_START_SECONDS) as cancel:
        with make_progress(stderr_console(), "files", quiet=quiet) as progress:
            if not quiet:
                progress.print_line(f"{folder}: {_counts(footage)}")
            progress.update(0, None, "starting the network")
            with silence_native_stderr():
                from vsrcli.evaluate.features import CONVOLUTIONS, EdgeFeatures, find_feature_weights
                from vsrcli.train.checkpoints import locked_run, read_resumable_state
                from vsrcli.train.hardware import data_parallel, precision_warning
                from vsrcli.train.loop import train as train_network
                from vsrcli.train.validation import Validation
            # Fail before the footage is read, and name clips that cannot be scored before all others are.
            data_parallel(config.gpus, config.batch)
            read_resumable_state(run_folder, config, init)
            features = None
            if config.adversarial and config.adversarial.feature_weight:
                features = EdgeFeatures(len(CONVOLUTIONS))
            if config.loss == "features":
                find_feature_weights("use another --loss")
            if warning := precision_warning(config.precision):
                progress.print_line(warning)
            if (notice := memory_notice(config)) and not quiet:
                progress.print_line(notice)

            def on_file(done: int, total: int) -> None:
                cancel.raise_if_cancelled()
                progress.update(done, total, "footage")

            validation = None
            if validation_folder is not None:
                validation = Validation(
                    validation_folder,
                    cache,
                    config.scale,
                    preset,
                    on_file,
                    features=features,
                    metrics=metrics,
                    huber_delta=config.huber_delta,
                    margin=temporal_margin(config.architecture),
                )
            pairs = prepare_pairs(footage, cache, config.scale, preset, blur=config.blur, on_progress=on_file)
        with make_progress(stderr_console(), "steps", quiet=quiet) as progress:
            averages = _StepAverages()

            def on_step(report: StepReport) -> None:
                progress.update(report.step, report.steps, averages.update(report))
                if report.validation:
                    scores = quality(report.validation).replace("\n", ", ")
                    others = [
                        f"; {name} {value:g}"
                        for name, value in report.validation.items()
                        if name.split()[-1] in metrics
                    ]
                    progress.print_line(f"step {report.step}: {scores} over interpolation{''.join(others)}")

            with locked_run(run_folder):
                weights = train_network(
                    config,
                    pairs,
                    run_folder,
                    validation=validation,
                    card=model_card(context, footage),
                    init=init,
                    revive_dead=revive,
                    on_step=on_step,
                    on_notice=progress.print_line,
                )
            progress.print_line(f"{config.steps} steps done: {weights}")


LICENCE = "Apache-2.0"


def model_card(context: click.Context, footage: Footage) -> dict[str, Any]:
    """Return the part of a model card that the command line knows: command, data, licence and credits."""
    typed = context.meta.get(ARGUMENTS, ())
    return {
        "command": shlex.join(["vsr", *(relative(argument) for argument in typed)]),
        "data": {
            "folder": footage.root.resolve().name,
            "clips": len(footage.clips),
            "photos": len(footage.photos),
            "skipped": footage.skipped_count,
        },
        "licence": LICENCE,
        "credits": credits_of(footage),
    }


def relative(argument: str) -> str:
    """Return an argument with an absolute path made relative to the current folder, or its last part.

    A card is published; it must not reveal the folders of the machine.
    """
    option, equals, value = argument.partition("=")
    if option.startswith("--") and equals:
        return f"{option}={relative(value)}"
    path = Path(argument)
    if not path.is_absolute():
        return argument
    current = Path.cwd()
    return str(path.relative_to(current)) if path.is_relative_to(current) else path.name


def credits_of(footage: Footage) -> list[dict[str, str]]:
    """Return the distinct sources and licences of the footage, from the nearest ``manifest.csv``."""
    used = {path.resolve() for path in (*footage.clips, *footage.photos)}
    rows = (read_manifest(footage.root) or {}).items()
    credits = {(row.get("source_repo") or "", row.get("licence") or "") for path, row in rows if path in used}
    return [{"source": source, "licence": licence} for source, licence in sorted(credits)]


def _counts(footage: Footage) -> str:
    """Return text such as ``2 clips, 1 photograph, 3 left out by manifest.csv``."""
    counts = {"clip": len(footage.clips), "photograph": len(footage.photos)}
    parts = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    if footage.skipped_count:
        parts.append(f"{footage.skipped_count} left out by manifest.csv")
    return ", ".join(parts)


class _StepAverages:
    """Averages over the steps of this process; the first one, which compiles, does not count for times."""

    def __init__(self) -> None:
        self._steps, self._seconds, self._waiting_seconds, self._loss = 0, 0.0, 0.0, 0.0

    def update(self, report: StepReport) -> str:
        """Add a step and return the progress as text."""
        self._steps += 1
        if self._steps > 1:
            self._seconds += report.seconds
            self._waiting_seconds += report.wait_seconds
        self._loss += (report.loss - self._loss) / min(self._steps, 50)
        step_seconds = self._seconds / max(self._steps - 1, 1) or report.seconds
        waiting = self._waiting_seconds / self._seconds if self._seconds else 0.0
        left = format_duration((report.steps - report.step) * step_seconds)
        return (
            f"loss {self._loss:.5f}, rate {report.learning_rate:.2g}, {step_seconds:.2f} s/step, "
            f"{waiting:.0%} waiting, {left} left"
        )
