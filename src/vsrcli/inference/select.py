"""From a model's name to a running engine: which weights, which native scale, what remains to be
resampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.frames.geometry import check_scale
from vsrcli.inference.offer import plan_engine
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import Architecture, architecture
from vsrcli.models.weights import (
    DEFAULT_DEGRADATION,
    SUFFIX,
    Weights,
    find_weights,
    list_weights,
    read_weights,
)


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen for a job, before anything heavy is imported.

    Attributes:
        architecture: what runs.
        weights: its file, or None for interpolation.
        scale: the native factor that it runs at.
        then: what upscales its results once more, in a chain.
    """

    architecture: Architecture
    weights: Weights | None
    scale: int
    then: ModelChoice | None = None

    @property
    def name(self) -> str:
        return self.weights.name if self.weights else f"{self.architecture.name}-x{self.scale}"


def choose_model(model: str, scale: Fraction, *, chain: bool = False) -> ModelChoice:
    """The weights for a wanted scale: at that factor if they exist, else at the nearest larger one.

    Beyond the largest, that one: what is missing is resampled, or in a chain upscaled by the network once
    more. The second pass takes the smallest factor that reaches the scale: the first one sees what the
    network was trained for, the film itself.

    Args:
        model: name of an architecture or path of a weight file.
        scale: wanted factor, more than 1, at most 16.
        chain: whether two passes may be taken where one is not enough.

    Raises:
        UsageError: a scale that is out of range.
        ModelError: unknown model, or one without weights.
    """
    check_scale(scale)
    there = _natives(model, scale)
    native = min((factor for factor in there if factor >= scale), default=max(there))
    choice = _at(model, native)
    if not chain or native >= scale:
        return choice
    second = min((factor for factor in there if native * factor >= scale), default=max(there))
    return replace(choice, then=_at(model, second))


def _natives(model: str, scale: Fraction) -> list[int]:
    """Factors that a model runs at."""
    if model.endswith(SUFFIX):
        return [read_weights(Path(model)).scale]
    known = architecture(model)
    if known.module is None:
        return list(known.scales)
    there = sorted(
        weights.scale
        for weights in list_weights()
        if (weights.card["architecture"], weights.card["degradation"]) == (model, DEFAULT_DEGRADATION)
    )
    return there or [min(math.ceil(scale), max(known.scales))]  # there are no weights, as will be said


def _at(model: str, native: int) -> ModelChoice:
    if model.endswith(SUFFIX):
        weights = read_weights(Path(model))
    elif architecture(model).module is None:
        return ModelChoice(architecture(model), None, native)
    else:
        weights = find_weights(model, native)
    return ModelChoice(weights.architecture, weights, weights.scale)


def open_engine(
    choice: ModelChoice,
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    on_notice: Callable[[str], None] = lambda text: None,
) -> Engine:
    """Load a chosen model onto a device.

    Args:
        choice: from :func:`choose`.
        device, precision, engine: see :func:`~vsrcli.inference.offer.plan_engine`.
        on_notice: told what the engine has to say.

    Raises:
        EngineError: the device, the engine or the precision is not there.
        ModelError: the weight file is damaged.
    """
    if choice.weights is None:
        from vsrcli.inference.resample import ResampleEngine

        return ResampleEngine(choice.architecture.name, choice.scale)
    plan = plan_engine(engine, device, precision)
    if plan.resolve() == "openvino":
        from vsrcli.inference.openvino import OpenvinoEngine

        return OpenvinoEngine(choice.weights, device=device, precision=precision, on_notice=on_notice)
    from vsrcli.inference.keras import KerasEngine

    return KerasEngine(choice.weights, device=device, precision=precision)
