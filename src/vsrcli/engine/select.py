"""From a model's name to a running engine: which weights, which native scale, what remains to be
resampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsrcli.engine.offer import plan_engine
from vsrcli.engine.types import Engine
from vsrcli.errors import ModelError, UsageError
from vsrcli.models.registry import (
    SUFFIX,
    Architecture,
    Weights,
    architecture,
    find_weights,
    list_weights,
    read_weights,
)


@dataclass(frozen=True)
class Choice:
    """A model chosen for a job, before anything heavy is imported.

    Attributes:
        architecture: what runs.
        weights: its file, or None for interpolation.
        scale: the native factor that it runs at.
    """

    architecture: Architecture
    weights: Weights | None
    scale: int

    @property
    def name(self) -> str:
        return self.weights.name if self.weights else f"{self.architecture.name}-x{self.scale}"


def choose(model: str, scale: Fraction) -> Choice:
    """The weights for a wanted scale: at that factor if they exist, else at the nearest larger one.

    Args:
        model: name of an architecture or path of a weight file.
        scale: wanted factor, more than 1, at most 4.

    Raises:
        UsageError: a scale that no network reaches.
        ModelError: unknown model, or one without weights at or above the scale.
    """
    if not 1 < scale <= 4:
        raise UsageError(f"--scale {float(scale):g} is out of range: more than 1, at most 4")
    if model.endswith(SUFFIX):
        weights = read_weights(Path(model))
        if weights.scale < scale:
            raise ModelError(f"{model!r} upscales by {weights.scale}, less than --scale {float(scale):g}")
        return Choice(weights.architecture, weights, weights.scale)
    known = architecture(model)
    if known.module is None:
        return Choice(known, None, math.ceil(scale))
    there = sorted({weights.scale for weights in list_weights() if weights.card["architecture"] == model})
    native = next((factor for factor in there if factor >= scale), math.ceil(scale))
    weights = find_weights(model, native)
    return Choice(weights.architecture, weights, native)


def open_engine(
    choice: Choice,
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    on_notice: Callable[[str], None] = lambda text: None,
) -> Engine:
    """Load a chosen model onto a device.

    Args:
        choice: from :func:`choose`.
        device, precision, engine: see :func:`~vsrcli.engine.offer.plan_engine`.
        on_notice: told what the engine has to say.

    Raises:
        EngineError: the device, the engine or the precision is not there.
        ModelError: the weight file is damaged.
    """
    if choice.weights is None:
        from vsrcli.engine.resample import ResampleEngine

        return ResampleEngine(choice.architecture.name, choice.scale)
    plan = plan_engine(engine, device, precision)
    if plan.chosen() == "openvino":
        from vsrcli.engine.openvino import OpenvinoEngine

        return OpenvinoEngine(choice.weights, device=device, precision=precision, on_notice=on_notice)
    from vsrcli.engine.keras import KerasEngine

    return KerasEngine(choice.weights, device=device, precision=precision)
