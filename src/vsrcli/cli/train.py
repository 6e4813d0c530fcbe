"""``vsr train``: train a model on a folder of clips and photographs, and describe it in a model card."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsrcli.cli.help import Command, OptionGroup, option
from vsrcli.cli.options import ARGUMENTS, from_command_line, quiet_option, verbose_option
from vsrcli.cli.types import SizesParam
from vsrcli.degradations import PRESETS
from vsrcli.errors import UsageError
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.system.signals import catch_signals
from vsrcli.system.text import format_duration
from vsrcli.train.config import (
    ADVERSARIAL_DEFAULTS,
    DATA_PLACEMENTS,
    LOSSES,
    OPTIMIZERS,
    PRECISIONS,
    AdversarialConfig,
    StepReport,
    TrainConfig,
)
from vsrcli.train.footage import Footage, read_manifest

_DEFAULT, _DEFAULT_SHARP = TrainConfig(), AdversarialConfig()
_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_START_SECONDS = 4.0  # that a stop may take before the first step, when there is nothing to save


def _config_option(group: OptionGroup, flag: str, value_type: Any, text: str) -> Any:
    """Return an option whose default is that of TrainConfig, or of AdversarialConfig."""
    name = flag.removeprefix("--").replace("-", "_")
    metavar = "NAME" if isinstance(value_type, click.Choice) else "N"
    default = getattr(_DEFAULT_SHARP if group == "Sharp" else _DEFAULT, name)
    return option(flag, text, type=value_type, default=default, metavar=metavar, group=group)


@click.command(
    cls=Command,
    epilog="Example: vsr train footage --run runs/x4 --val validation --scale 4 --steps 6000",
)
@click.argument("folder", metavar="DATA_DIR", type=_EXISTING)
@option(
    "--run",
    "run_folder",
    "Keep checkpoint, log and weights in this folder; it is created if missing.",
    type=_FOLDER,
    required=True,
    metavar="DIR",
    group="Run",
)
@option(
    "--val",
    "validation_folder",
    "Validate on the clips in this folder, which must not be in DATA_DIR.",
    type=_EXISTING,
    metavar="DIR",
    group="Run",
)
@_config_option("Run", "--steps", click.IntRange(min=1), "Train for N steps.")
@option(
    "--init",
    "Start from these weights (.weights.h5); layers that fit are taken over.",
    type=_FILE,
    metavar="FILE",
    group="Run",
)
@_config_option("Run", "--validate-every", click.IntRange(min=1), "Validate every N steps.")
@_config_option("Run", "--save-every", click.IntRange(min=1), "Save a checkpoint every N steps.")
@_config_option(
    "Run", "--seed", click.IntRange(min=0), "Seed the initial weights and the choice of every batch."
)
@_config_option(
    "Model",
    "--model",
    click.Choice([a.name for a in ARCHITECTURES.values() if a.module]),
    "Train this architecture; `vsr models` lists them.",
)
@_config_option("Model", "--scale", click.IntRange(2, 4), "Upscale by this factor.")
@option(
    "--sizes",
    "Change sizes of the architecture: width, head, blocks, levels, filters (0: none).",
    type=SizesParam(),
    default={},
    metavar="NAME=N,...",
    show_default=False,
    group="Model",
)
@_config_option(
    "Training data",
    "--degradation",
    click.Choice(list(PRESETS)),
    "Make low resolution by bd (blur and decimate), bi (bicubic), video (filters, noise, compression) or "
    "footage (a camera, then all that may happen to its recording).",
)
@_config_option("Training data", "--batch", click.IntRange(min=1), "Put N sequences into a batch.")
@_config_option("Training data", "--frames", click.IntRange(min=1), "Put N frames into a sequence.")
@_config_option(
    "Training data", "--crop", click.IntRange(min=8), "Crop low resolution to N pixels a side, 8 or more."
)
@option(
    "--blur/--no-blur",
    "Also train on blurred and on still camera moves.",
    default=_DEFAULT.blur,
    group="Training data",
)
@option(
    "--shippable", "Use only files that manifest.csv marks ship=yes.", is_flag=True, group="Training data"
)
@option(
    "--cache",
    "Keep decoded footage in this folder.",
    type=_FOLDER,
    default=Path("cache"),
    metavar="DIR",
    group="Training data",
)
@_config_option("Optimization", "--loss", click.Choice(LOSSES), "Minimize this loss, charbonnier or huber.")
@_config_option(
    "Optimization",
    "--temporal-weight",
    click.FloatRange(min=0),
    "Weight the loss on changes between frames by N.",
)
@_config_option(
    "Optimization", "--optimizer", click.Choice(OPTIMIZERS), "Use adam, or muon for the hidden convolutions."
)
@_config_option(
    "Optimization", "--learning-rate", click.FloatRange(min=0, min_open=True), "Set the peak learning rate."
)
@_config_option(
    "Optimization", "--final-rate", click.FloatRange(min=0, min_open=True), "Set the final learning rate."
)
@_config_option(
    "Optimization", "--warmup", click.IntRange(min=0), "Raise the learning rate over the first N steps."
)
@_config_option(
    "Optimization", "--clip-norm", click.FloatRange(min=0, min_open=True), "Clip gradients to this norm."
)
@_config_option(
    "Optimization",
    "--ema",
    click.FloatRange(0, 1, max_open=True),
    "Set the decay of the moving average of weights; 0: no average.",
)
@option(
    "--adversarial",
    "Make the weights of --init sharp. Other defaults then: "
    + ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in ADVERSARIAL_DEFAULTS.items())
    + ".",
    is_flag=True,
    group="Sharp",
)
@_config_option("Sharp", "--pixel-weight", click.FloatRange(min=0), "Weight the loss on pixels by N.")
@_config_option(
    "Sharp", "--color-weight", click.FloatRange(min=0), "Weight the loss on mean colours by N; 0: without."
)
@_config_option(
    "Sharp",
    "--grid-weight",
    click.FloatRange(min=0),
    "Weight the loss on patterns of pixels by N; 0: without.",
)
@_config_option(
    "Sharp", "--feature-weight", click.FloatRange(min=0), "Weight the feature distance by N; 0: without."
)
@_config_option(
    "Sharp", "--feature-blocks", click.IntRange(1, 5), "Take the features of the first N blocks of VGG16."
)
@_config_option(
    "Sharp", "--feature-frames", click.IntRange(min=1), "Compare features on N frames of a sequence."
)
@_config_option(
    "Sharp",
    "--adversarial-weight",
    click.FloatRange(min=0),
    "Weight the adversarial loss by N; 0: no discriminator.",
)
@_config_option(
    "Sharp",
    "--discriminator-clips",
    click.IntRange(min=1),
    "Show the discriminator N triples of frames of a sequence.",
)
@_config_option("Sharp", "--discriminator-width", click.IntRange(min=1), "Give the discriminator N channels.")
@_config_option(
    "Sharp",
    "--discriminator-rate",
    click.FloatRange(min=0, min_open=True),
    "Set the discriminator's peak learning rate.",
)
@_config_option(
    "Sharp",
    "--ping-pong-weight",
    click.FloatRange(min=0),
    "Weight by N that a sequence and its way back agree; 0: no way back.",
)
@_config_option("Computing", "--precision", click.Choice(PRECISIONS), "Compute in fp32, bf16 or fp16.")
@_config_option(
    "Computing", "--gpus", click.IntRange(min=0), "Share each batch among N GPUs; 0: all that can be used."
)
@_config_option(
    "Computing",
    "--data",
    click.Choice(DATA_PLACEMENTS),
    "Keep footage in memory of the host or the device; auto: the device, a GPU, if it fits.",
)
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
    from vsrcli.train.config import check_sequences, require_initial_weights
    from vsrcli.train.footage import check_no_leakage, find_footage, prepare_pairs

    config = training_config(context, values)
    check_sequences(config, config.architecture)
    require_initial_weights(config, init, run_folder / "checkpoint.npz")
    footage = find_footage(folder, shippable_only=shippable)
    if validation_folder is not None:
        check_no_leakage(footage, find_footage(validation_folder))
    configure_malloc()
    preset = PRESETS[config.degradation]
    with catch_signals(force_exit_after=_START_SECONDS) as cancel:
        with make_progress(stderr_console(), "files", quiet=quiet) as progress:
            if not quiet:
                progress.print_line(f"{folder}: {_counts(footage)}")
            progress.update(0, None, "starting the network")
            with silence_native_stderr():
                from vsrcli.evaluate.features import CONVOLUTIONS, EdgeFeatures
                from vsrcli.train.checkpoints import locked_run
                from vsrcli.train.hardware import data_parallel, precision_warning
                from vsrcli.train.loop import train as train_network
                from vsrcli.train.validation import Validation
            data_parallel(config.gpus, config.batch)  # fail before the footage is read
            features = None
            if config.adversarial and config.adversarial.feature_weight:
                features = EdgeFeatures(len(CONVOLUTIONS))
            if warning := precision_warning(config.precision):
                progress.print_line(warning)

            def on_file(done: int, total: int) -> None:
                cancel.raise_if_cancelled()
                progress.update(done, total, "footage")

            pairs = prepare_pairs(footage, cache, config.scale, preset, blur=config.blur, on_progress=on_file)
            validation = None
            if validation_folder is not None:
                validation = Validation(
                    validation_folder, cache, config.scale, preset, on_file, features=features
                )
        with make_progress(stderr_console(), "steps", quiet=quiet) as progress:
            averages = _StepAverages()

            def on_step(report: StepReport) -> None:
                progress.update(report.step, report.steps, averages.update(report))
                if report.validation:
                    scores = quality(report.validation).replace("\n", ", ")
                    progress.print_line(f"step {report.step}: {scores} over interpolation")

            with locked_run(run_folder):
                weights = train_network(
                    config,
                    pairs,
                    run_folder,
                    validation=validation,
                    card=model_card(context, footage),
                    init=init,
                    on_step=on_step,
                    on_notice=progress.print_line,
                )
            progress.print_line(f"{config.steps} steps done: {weights}")


def training_config(context: click.Context, values: dict[str, Any]) -> TrainConfig:
    """Return the configuration that the options state; ``--adversarial`` changes some defaults.

    Raises:
        UsageError: an option of adversarial training without ``--adversarial``.
    """
    names = [field.name for field in fields(AdversarialConfig)]
    values = {**values}
    if values["adversarial"]:
        for name, value in ADVERSARIAL_DEFAULTS.items():
            if context.get_parameter_source(name) is ParameterSource.DEFAULT:
                values[name] = value
        values["adversarial"] = AdversarialConfig(**{name: values[name] for name in names})
    else:
        if typed := [name for name in names if from_command_line(context, name)]:
            raise UsageError(
                f"--{typed[0].replace('_', '-')} is for --adversarial: add that, or leave it out"
            )
        values["adversarial"] = None
    return TrainConfig(**{field.name: values[field.name] for field in fields(TrainConfig)})


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
