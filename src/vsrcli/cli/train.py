"""``vsr train``: a network from a folder of clips and photographs; interrupted, the same command goes on.

What a model card says about where the weights come from: command, footage, credits, licence.
"""

from __future__ import annotations

import csv
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.options import ARGUMENTS, quiet_option, verbose_option
from vsrcli.cli.types import SizesParam
from vsrcli.degradations import PRESETS
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.system.signals import catch_signals
from vsrcli.train.config import DATA_PLACEMENTS, OPTIMIZERS, PRECISIONS, StepReport, TrainConfig
from vsrcli.train.footage import Footage
from vsrcli.train.optimizers import LOSSES

_DEFAULT = TrainConfig()
_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _config_option(flag: str, kind: Any, text: str) -> Any:
    """An option whose default is that of TrainConfig."""
    name = flag.removeprefix("--").replace("-", "_")
    metavar = None if isinstance(kind, click.Choice) else "N"
    default = getattr(_DEFAULT, name)
    return click.option(flag, type=kind, default=default, show_default=True, metavar=metavar, help=text)


@click.command(epilog="Example: vsr train footage --run runs/x4 --val validation --scale 4 --steps 6000")
@click.argument("folder", metavar="DATA_DIR", type=_EXISTING)
@click.option(
    "--run", "run_folder", type=_FOLDER, required=True, help="Checkpoint, log and weights; made if absent."
)
@click.option("--val", "validation_folder", type=_EXISTING, help="Clips to score on, apart from DATA_DIR.")
@click.option(
    "--init", type=_FILE, help="Weights (.weights.h5) to start from: layers that fit are taken over."
)
@click.option("--cache", type=_FOLDER, default=Path("cache"), show_default=True, help="Decoded footage.")
@click.option("--shippable", is_flag=True, help="Use only files that manifest.csv marks with ship=yes.")
@_config_option(
    "--model", click.Choice([a.name for a in ARCHITECTURES.values() if a.module]), "Architecture."
)
@click.option(
    "--sizes",
    type=SizesParam(),
    default={},
    metavar="NAME=N,...",
    help="Of the network, where they differ from its own: width, head, blocks, levels, filters (0: none).",
)
@_config_option("--scale", click.IntRange(2, 4), "Upscaling factor.")
@_config_option("--degradation", click.Choice(list(PRESETS)), "How low resolution is made.")
@_config_option("--loss", click.Choice(list(LOSSES)), "Loss.")
@_config_option("--temporal-weight", click.FloatRange(min=0), "Weight of the loss on changes between frames.")
@_config_option("--steps", click.IntRange(min=1), "Length of the run.")
@_config_option("--batch", click.IntRange(min=1), "Sequences in a batch.")
@_config_option("--frames", click.IntRange(min=1), "Frames of a sequence.")
@_config_option("--crop", click.IntRange(min=8), "Side of the low-resolution crop.")
@_config_option("--optimizer", click.Choice(OPTIMIZERS), "Adam, or Muon for the hidden convolutions.")
@_config_option("--learning-rate", click.FloatRange(min=0, min_open=True), "At its peak.")
@_config_option("--final-rate", click.FloatRange(min=0, min_open=True), "At the end.")
@_config_option("--warmup", click.IntRange(min=0), "Steps over which the rate rises.")
@_config_option("--clip-norm", click.FloatRange(min=0, min_open=True), "Largest norm of a gradient.")
@_config_option("--ema", click.FloatRange(0, 1, max_open=True), "Decay of the average of weights; 0: none.")
@_config_option("--precision", click.Choice(PRECISIONS), "Of the features.")
@click.option(
    "--blur/--no-blur",
    default=_DEFAULT.blur,
    show_default=True,
    help="Also train on blurred and on still camera moves.",
)
@_config_option(
    "--data", click.Choice(DATA_PLACEMENTS), "Where the footage is kept; auto: the GPU's memory if it fits."
)
@_config_option("--gpus", click.IntRange(min=0), "How many share a batch; 0: all that the backend can use.")
@_config_option("--seed", click.IntRange(min=0), "Of the network's start and of every batch.")
@_config_option("--validate-every", click.IntRange(min=1), "Steps between validations.")
@_config_option("--save-every", click.IntRange(min=1), "Steps between checkpoints.")
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
    **chosen: Any,
) -> None:
    """Train a network on a folder of clips and photographs.

    Stopped by Ctrl-C or killed, the same command goes on from the last checkpoint. The weights in the run's
    folder are a model for `vsr upscale --model`.
    """
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.inference.keras import silence_native_stderr
    from vsrcli.system.resources import configure_malloc
    from vsrcli.train.config import check_sequences
    from vsrcli.train.footage import check_no_leakage, find_footage, prepare_pairs

    config = TrainConfig(**{field.name: chosen[field.name] for field in fields(TrainConfig)})
    check_sequences(config, config.architecture)
    footage = find_footage(folder, shippable_only=shippable)
    if validation_folder is not None:
        check_no_leakage(footage, find_footage(validation_folder))
    configure_malloc()
    preset = PRESETS[config.degradation]
    with make_progress(stderr_console(), "files", quiet=quiet) as meter, catch_signals() as received:
        if not quiet:
            meter.print_line(f"{folder}: {_counts(footage)}")
        meter.update(0, None, "starting the network")
        with silence_native_stderr():
            from vsrcli.train.hardware import data_parallel, precision_warning
            from vsrcli.train.loop import train as train_network
            from vsrcli.train.validation import Validation
        data_parallel(config.gpus, config.batch)  # what cannot be should not wait for the footage
        if slow := precision_warning(config.precision):
            meter.print_line(slow)

        def on_file(done: int, total: int) -> None:
            received.raise_if_cancelled()
            meter.update(done, total, "footage")

        pairs = prepare_pairs(footage, cache, config.scale, preset, blur=config.blur, on_progress=on_file)
        validation = None
        if validation_folder is not None:
            validation = Validation(validation_folder, cache, config.scale, preset, on_file)
    teller = _Teller()
    with (
        make_progress(stderr_console(), "steps", quiet=quiet) as meter,
        catch_signals(raising=False) as received,
    ):
        weights = train_network(
            config,
            pairs,
            run_folder,
            validation=validation,
            card=model_card(context, footage),
            init=init,
            stop=lambda: received.signum,
            on_step=lambda report: teller.tell(meter, report),
            on_note=meter.print_line,
        )
        meter.print_line(f"{config.steps} steps done: {weights}")


def _counts(footage: Footage) -> str:
    """``2 clips, 1 photograph, 3 left out by manifest.csv``."""
    counts = {"clip": len(footage.clips), "photograph": len(footage.photos)}
    words = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    return ", ".join(words + [f"{footage.skipped} left out by manifest.csv"] * (footage.skipped > 0))


class _Teller:
    """Turns reports into progress: averages over what this process has done."""

    def __init__(self) -> None:
        self._steps, self._seconds, self._waited, self._loss = 0, 0.0, 0.0, 0.0

    def tell(self, meter: Any, report: StepReport) -> None:
        from vsrcli.cli.info import quality
        from vsrcli.system.text import format_duration

        self._steps += 1
        if self._steps > 1:  # the first one compiles
            self._seconds += report.seconds
            self._waited += report.waited
        self._loss += (report.loss - self._loss) / min(self._steps, 50)
        pace = self._seconds / max(self._steps - 1, 1) or report.seconds
        waiting = self._waited / self._seconds if self._seconds else 0.0
        left = format_duration((report.steps - report.step) * pace)
        learning = f"loss {self._loss:.5f}, rate {report.learning_rate:.2g}"
        text = f"{learning}, {pace:.2f} s/step, {waiting:.0%} waiting, {left} left"
        meter.tell(report.step, report.steps, text)
        if report.validation:
            scores = quality(report.validation).replace("\n", ", ")
            meter.say(f"step {report.step}: {scores} over interpolation")


LICENCE = "Apache-2.0"


def model_card(context: click.Context, footage: Footage) -> dict[str, Any]:
    """The part of a card that only the command line knows."""
    typed = context.meta.get(ARGUMENTS, ())
    return {
        "command": shlex.join(["vsr", *(relative(argument) for argument in typed)]),
        "data": {
            "folder": footage.root.resolve().name,
            "clips": len(footage.clips),
            "photos": len(footage.photos),
            "skipped": footage.skipped,
        },
        "licence": LICENCE,
        "credits": credits_of(footage),
    }


def relative(argument: str) -> str:
    """An absolute path as seen from here: a card travels, and the machine's folders are nobody's business."""
    option, equals, value = argument.partition("=")
    if option.startswith("--") and equals:
        return f"{option}={relative(value)}"
    path = Path(argument)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def credits_of(footage: Footage) -> list[dict[str, str]]:
    """Whose footage was used: distinct sources and licences, from the nearest ``manifest.csv``."""
    used = {path.resolve() for path in (*footage.clips, *footage.photos)}
    for folder in (footage.root, footage.root.parent, footage.root.parent.parent):
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as file:
                pairs = {
                    (row.get("source_repo") or "", row.get("licence") or "")
                    for row in csv.DictReader(file)
                    if (folder / row["path"]).resolve() in used
                }
            return [{"source": source, "licence": licence} for source, licence in sorted(pairs)]
    return []
