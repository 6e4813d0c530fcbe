"""Options of ``vsr train`` and their values, and the configuration that they state."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsrcli.cli.help import OptionGroup, option
from vsrcli.cli.options import combine_options, from_command_line
from vsrcli.cli.types import SizesParam
from vsrcli.degradations import PRESETS
from vsrcli.errors import UsageError
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.train.config import (
    ADVERSARIAL_DEFAULTS,
    DATA_PLACEMENTS,
    JUDGES,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    AdversarialConfig,
    TrainConfig,
)
from vsrcli.train.recipes import RECIPES

_DEFAULT, _DEFAULT_SHARP = TrainConfig(), AdversarialConfig()
_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class DeltaParam(click.ParamType):
    """A number such as ``0.01``, or of 8-bit codes as ``200/255``; above 0, as a float."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"\s*(\d+\.?\d*(?:e-?\d+)?|\.\d+)\s*(/\s*255)?\s*", str(value))
        number = float(found[1]) / (255 if found[2] else 1) if found else 0.0
        if not 0 < number <= 255:
            self.fail(f"{value!r} is no number above 0, such as 0.01 or 200/255", param, ctx)
        return number


class MetricsParam(click.ParamType):
    """Names of ``METRICS``, separated by commas, as a tuple."""

    name = "metrics"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple | list):
            return tuple(value)
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        if unknown := [name for name in names if name not in METRICS]:
            self.fail(f"{unknown[0]!r} is no metric: choose of {', '.join(METRICS)}", param, ctx)
        return names


def _config_option(group: OptionGroup, flag: str, value_type: Any, text: str) -> Any:
    """Return an option whose default is that of TrainConfig, or of AdversarialConfig."""
    name = flag.removeprefix("--").replace("-", "_")
    metavar = "NAME" if isinstance(value_type, click.Choice) else "N"
    default = getattr(_DEFAULT_SHARP if group == "Sharp" else _DEFAULT, name)
    return option(flag, text, type=value_type, default=default, metavar=metavar, group=group)


training_options = combine_options(
    option(
        "--run",
        "run_folder",
        "Keep checkpoint, log and weights in this folder; it is created if missing.",
        type=_FOLDER,
        required=True,
        metavar="DIR",
        group="Run",
    ),
    option(
        "--val",
        "validation_folder",
        "Validate on the clips in this folder, which must not be in DATA_DIR.",
        type=_EXISTING,
        metavar="DIR",
        group="Run",
    ),
    _config_option("Run", "--steps", click.IntRange(min=1), "Train for N steps."),
    option(
        "--init",
        "Start from these weights (.weights.h5); layers that fit are taken over, also those of a smaller "
        "network.",
        type=_FILE,
        metavar="FILE",
        group="Run",
    ),
    option(
        "--revive",
        "Give channels of --init that are always zero new kernels: large steps make such channels.",
        is_flag=True,
        group="Run",
    ),
    option(
        "--recipe",
        "Take the settings of a published training, or of a course project; options that are given win.",
        values={each.name: each.summary for each in RECIPES.values()},
        type=click.Choice(list(RECIPES)),
        metavar="NAME",
        group="Run",
    ),
    option(
        "--metrics",
        "Also score these in validation: mse, mae, huber, charbonnier.",
        type=MetricsParam(),
        default=(),
        metavar="NAME,...",
        show_default=False,
        group="Run",
    ),
    _config_option("Run", "--validate-every", click.IntRange(min=1), "Validate every N steps."),
    _config_option("Run", "--save-every", click.IntRange(min=1), "Save a checkpoint every N steps."),
    _config_option(
        "Run", "--keep", click.IntRange(min=0), "Keep the last N validated weights in RUN/states."
    ),
    _config_option(
        "Run", "--seed", click.IntRange(min=0), "Seed the initial weights and the choice of every batch."
    ),
    _config_option(
        "Model",
        "--model",
        click.Choice([a.name for a in ARCHITECTURES.values() if a.module]),
        "Train this architecture; `vsr models` lists them.",
    ),
    _config_option("Model", "--scale", click.IntRange(2, 4), "Upscale by this factor."),
    option(
        "--sizes",
        "Change sizes of the architecture, such as width, head, blocks, levels, filters (0: none); a wrong "
        "name is answered by those that it has.",
        type=SizesParam(),
        default={},
        metavar="NAME=N,...",
        show_default=False,
        group="Model",
    ),
    _config_option(
        "Training data",
        "--degradation",
        click.Choice(list(PRESETS)),
        "Make low resolution by bd (blur and decimate), bi (bicubic), video (filters, noise, compression) or "
        "footage (a camera, then all that may happen to its recording); pairs takes what the set brings.",
    ),
    _config_option(
        "Training data",
        "--compressed-share",
        click.FloatRange(0, 1),
        "Take this share of sequences from compressed variants of the footage; by default the preset's own.",
    ),
    _config_option("Training data", "--batch", click.IntRange(min=1), "Put N sequences into a batch."),
    _config_option("Training data", "--frames", click.IntRange(min=1), "Put N frames into a sequence."),
    _config_option(
        "Training data", "--crop", click.IntRange(min=8), "Crop low resolution to N pixels a side, 8 or more."
    ),
    option(
        "--blur/--no-blur",
        "Also train on blurred and on still camera moves.",
        default=_DEFAULT.blur,
        group="Training data",
    ),
    option(
        "--shippable", "Use only files that manifest.csv marks ship=yes.", is_flag=True, group="Training data"
    ),
    option(
        "--cache",
        "Keep decoded footage in this folder.",
        type=_FOLDER,
        default=Path("cache"),
        metavar="DIR",
        group="Training data",
    ),
    _config_option(
        "Optimization",
        "--loss",
        click.Choice(LOSSES),
        "Minimize this loss: charbonnier, mse, mae, huber, psnr, rmse, or features (charbonnier and a "
        "feature distance).",
    ),
    _config_option(
        "Optimization",
        "--huber-delta",
        DeltaParam(),
        "Square errors below N for --loss huber; of values from 0 to 1, or of codes as in 200/255.",
    ),
    _config_option(
        "Optimization",
        "--temporal-weight",
        click.FloatRange(min=0),
        "Weight the loss on changes between frames by N.",
    ),
    _config_option(
        "Optimization",
        "--optimizer",
        click.Choice(OPTIMIZERS),
        "Use adam, or muon for the hidden convolutions.",
    ),
    _config_option(
        "Optimization",
        "--learning-rate",
        click.FloatRange(min=0, min_open=True),
        "Set the peak learning rate.",
    ),
    _config_option(
        "Optimization", "--final-rate", click.FloatRange(min=0, min_open=True), "Set the final learning rate."
    ),
    _config_option(
        "Optimization",
        "--schedule",
        click.Choice(SCHEDULES),
        "Lower the rate along a cosine, cosines that restart (cosine-restarts), in steps, or not (constant).",
    ),
    _config_option(
        "Optimization",
        "--decay-steps",
        click.IntRange(min=1),
        "Restart a cosine for the first time after N steps of training; --schedule step: lower it every N.",
    ),
    _config_option(
        "Optimization",
        "--period-factor",
        click.FloatRange(min=1),
        "Make each period of cosine-restarts N times as long as the last.",
    ),
    _config_option(
        "Optimization",
        "--restart-factor",
        click.FloatRange(0, 1, min_open=True),
        "Make each peak of cosine-restarts N times as high as the last.",
    ),
    _config_option(
        "Optimization",
        "--step-factor",
        click.FloatRange(0, 1, min_open=True),
        "Multiply the rate by N at each step of --schedule step.",
    ),
    _config_option(
        "Optimization", "--warmup", click.IntRange(min=0), "Raise the learning rate over the first N steps."
    ),
    _config_option(
        "Optimization", "--clip-norm", click.FloatRange(min=0, min_open=True), "Clip gradients to this norm."
    ),
    _config_option(
        "Optimization",
        "--ema",
        click.FloatRange(0, 1, max_open=True),
        "Set the decay of the moving average of weights; 0: no average.",
    ),
    option(
        "--adversarial",
        "Make the weights of --init sharp. Other defaults then: "
        + ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in ADVERSARIAL_DEFAULTS.items())
        + ".",
        is_flag=True,
        group="Sharp",
    ),
    _config_option("Sharp", "--pixel-weight", click.FloatRange(min=0), "Weight the loss on pixels by N."),
    _config_option(
        "Sharp",
        "--color-weight",
        click.FloatRange(min=0),
        "Weight the loss on mean colours by N; 0: without.",
    ),
    _config_option(
        "Sharp",
        "--grid-weight",
        click.FloatRange(min=0),
        "Weight the loss on patterns of pixels by N; 0: without.",
    ),
    _config_option(
        "Sharp",
        "--evenness-weight",
        click.FloatRange(min=0),
        "Weight the loss on detail that keeps to some pixels of each block by N; 0: without.",
    ),
    _config_option(
        "Sharp", "--feature-weight", click.FloatRange(min=0), "Weight the feature distance by N; 0: without."
    ),
    _config_option(
        "Sharp", "--feature-blocks", click.IntRange(1, 5), "Take the features of the first N blocks of VGG16."
    ),
    _config_option(
        "Sharp", "--feature-frames", click.IntRange(min=1), "Compare features on N frames of a sequence."
    ),
    _config_option(
        "Sharp",
        "--adversarial-weight",
        click.FloatRange(min=0),
        "Weight the adversarial loss by N; 0: no discriminator.",
    ),
    _config_option(
        "Sharp",
        "--judge",
        click.Choice(JUDGES),
        "Let features and discriminator judge brightness alone (brightness), or colours, too (rgb).",
    ),
    _config_option(
        "Sharp",
        "--discriminator-clips",
        click.IntRange(min=1),
        "Show the discriminator N triples of frames of a sequence.",
    ),
    _config_option(
        "Sharp", "--discriminator-width", click.IntRange(min=1), "Give the discriminator N channels."
    ),
    _config_option(
        "Sharp",
        "--discriminator-rate",
        click.FloatRange(min=0, min_open=True),
        "Set the discriminator's peak learning rate.",
    ),
    _config_option(
        "Sharp",
        "--ping-pong-weight",
        click.FloatRange(min=0),
        "Weight by N that a sequence and its way back agree; 0: no way back.",
    ),
    _config_option("Computing", "--precision", click.Choice(PRECISIONS), "Compute in fp32, bf16 or fp16."),
    _config_option(
        "Computing",
        "--gpus",
        click.IntRange(min=0),
        "Share each batch among N GPUs; 0: all that can be used.",
    ),
    _config_option(
        "Computing",
        "--data",
        click.Choice(DATA_PLACEMENTS),
        "Keep footage in memory of the host or the device; auto: the device, a GPU, if it fits.",
    ),
)


def training_config(context: click.Context, values: dict[str, Any]) -> TrainConfig:
    """Return the configuration that the options state; ``--adversarial`` and ``--recipe`` change defaults.

    Raises:
        UsageError: an option of adversarial training without ``--adversarial``, or that with a recipe.
    """
    names = [field.name for field in fields(AdversarialConfig)]
    values = {**values}
    if recipe := values.get("recipe"):
        if values["adversarial"]:
            raise UsageError("--recipe is a whole training: leave --adversarial out, or the recipe")
        for name, value in RECIPES[recipe].settings.items():
            if context.get_parameter_source(name) is ParameterSource.DEFAULT:
                values[name] = value
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
