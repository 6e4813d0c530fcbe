"""Choice of weights, before anything heavy is imported; opening of the engine that runs them.

:func:`choose_models` finds the weights and the native scales for a model name. :func:`open_engine` loads them
onto the device, with the engine that :func:`~vsrcli.inference.engine_plan.plan_engine` decides on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from vsrcli.errors import ModelError, UsageError
from vsrcli.frames.geometry import check_scale
from vsrcli.inference.engine_plan import ALL_ENGINES, plan_engine
from vsrcli.inference.looks import (
    SHARP,
    SHARP_SUFFIX,
    MixedWeights,
    missing_look,
    mix_looks,
    requested_look,
    sharp_weights,
    split_look,
)
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import ARCHITECTURES, Architecture, architecture
from vsrcli.models.imported import IMPORTED_SUFFIXES, NCNN_SUFFIX, ImportedModel
from vsrcli.models.library import display_name, find_imported, is_damaged, list_library, state_origin
from vsrcli.models.weights import (
    DEFAULT_DEGRADATION,
    DEFAULT_LOOK,
    SUFFIX,
    Weights,
    find_named_weights,
    find_weights,
    first_of_scales,
    list_weights,
    weights_in_order,
)

_ONNX_ENGINES = ("openvino", "onnxruntime")
INTERPOLATION = "lanczos"  # what --strength blends a network with


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen for a job, before anything heavy is imported.

    Attributes:
        architecture: of the model.
        weights: the weight file, the project's own or somebody else's; None for interpolation.
        scale: native factor.
    """

    architecture: Architecture
    weights: Weights | ImportedModel | None
    scale: int

    @property
    def name(self) -> str:
        return self.weights.name if self.weights else f"{self.architecture.name}-x{self.scale}"

    @property
    def look(self) -> str | None:
        """``natural`` or ``sharp``; None without weights of the program's own."""
        return self.weights.look if isinstance(self.weights, Weights) else None

    @property
    def phase(self) -> str:
        """Grid of the results' pixels: ``centre``, or ``zero`` of the "BD" protocol."""
        return str(self.weights.card.get("phase", "centre")) if self.weights else "centre"

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Engines that can run the network, see :func:`~vsrcli.inference.engine_plan.plan_engine`."""
        if not isinstance(self.weights, ImportedModel) or self.weights.description.format != "onnx":
            return ALL_ENGINES
        return ("onnxruntime",) if self.weights.description.engine == "onnxruntime" else _ONNX_ENGINES

    @property
    def checksum(self) -> str:
        """Checksum of the weights, or the name without weights; and the scale, and an order of colours that
        is not the usual one, which a user may state."""
        weights = self.weights
        order = " bgr" if isinstance(weights, ImportedModel) and weights.description.bgr else ""
        return f"{weights.card['sha256'] if weights else self.name} x{self.scale}{order}"


def choose_models(
    model: str | Sequence[str], scale: Fraction, *, chain: bool = False, look: str | None = None
) -> tuple[ModelChoice, ...]:
    """Choose weights for every pass: at the requested scale, or at the nearest larger native scale.

    Beyond the largest native scale, that one is chosen, and the remaining factor is resampled or, with
    ``chain``, upscaled by the network in a second pass. That takes the smallest factor that reaches the
    scale, so that the first pass runs on what the network was trained for: the source itself.

    Args:
        model: see :func:`find_models`; or several, see :func:`select_passes`.
        scale: requested factor, from 1 to 16.
        chain: allow two passes where one is not enough.
        look: see :func:`find_models`.

    Raises:
        UsageError: a scale that is out of range, or a look that the model does not have.
        ModelError: unknown model, or one without weights.
    """
    check_scale(scale)
    models = (model,) if isinstance(model, str) else model
    return select_passes([find_models(each, scale, look) for each in models], scale, chain=chain)


def find_models(model: str, scale: Fraction, look: str | None = None) -> tuple[ModelChoice, ...]:
    """Return a model at each native scale that there is; reads the cards of weight files.

    Args:
        model: name of an architecture, with ``-sharp`` for its sharp weights; name or path of a weight file,
            the project's own or somebody else's.
        scale: for the message of an error.
        look: ``natural``, ``sharp``, or None: as the model states it, else natural. At scales without sharp
            weights the natural ones are returned, so that :func:`select_models` can tell them apart from
            scales that the model does not have.

    Raises:
        ModelError: unknown model, or one without weights, or a file that cannot be used.
        UsageError: the model states another look, or has no looks.
    """
    if imported := find_imported_model(model):
        _refuse_sharp(imported.name, look)
        return (ModelChoice(imported.architecture, imported, imported.scale),)
    if weights := find_named_weights(model):
        _check_stated_look(model, weights.look, look)
        return (ModelChoice(weights.architecture, weights, weights.scale),)
    name, stated = split_look(model)
    _check_stated_look(model, stated, look)
    if name not in ARCHITECTURES:
        raise unknown_model(model)
    known = architecture(name)
    if known.module is None:
        _refuse_sharp(name, look or stated)
        return tuple(ModelChoice(known, None, native) for native in known.scales)
    kind = (name, DEFAULT_DEGRADATION, DEFAULT_LOOK)
    found = [w for w in weights_in_order() if (w.card["architecture"], w.card["degradation"], w.look) == kind]
    found = [*first_of_scales(found).values()]
    if requested_look(model, look) == SHARP:
        sharp = sharp_weights(name)
        if not sharp:
            raise missing_look(name)
        found = [*sharp.values(), *(each for each in found if each.scale not in sharp)]
    elif not found:
        found = [find_weights(name, min(max(math.ceil(scale), known.scales[0]), known.scales[-1]))]
    return tuple(ModelChoice(weights.architecture, weights, weights.scale) for weights in found)


def unknown_model(model: str) -> ModelError:
    """Return the error for what is neither a model's name nor the path of a network's file.

    It names the models that may have been meant, of all that the user has.
    """
    *suffixes, last = SUFFIX, *IMPORTED_SUFFIXES
    endings, file = f"{', '.join(suffixes)} or {last}", Path(model)
    if file.is_file():
        has_param = file.with_suffix(NCNN_SUFFIX).exists()
        remedy = f"give the {NCNN_SUFFIX} beside it" if has_param else f"their names end in {endings}"
        return ModelError(f"{model!r} is no network of a known format: {remedy}")
    if is_damaged(model):
        return ModelError(
            f"the added model {model!r} is damaged: `vsr models remove {model}`, and add it again"
        )
    names = [*ARCHITECTURES, *(each.name for each in (*list_weights(), *list_library()))]
    names += [f"{each}{SHARP_SUFFIX}" for each in ARCHITECTURES if sharp_weights(each)]
    by_lower = {each.lower(): each for each in names}
    close = [by_lower[each] for each in get_close_matches(model.lower(), by_lower)]
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    what = (
        f"{model!r} is no network of a known format, but a folder"
        if file.is_dir()
        else f"unknown model {model!r}, and no file of this name"
    )
    return ModelError(f"{what}: {meant}`vsr models` lists the names; files end in {endings}")


def _check_stated_look(model: str, stated: str | None, look: str | None) -> None:
    if stated and look not in (None, stated):
        raise UsageError(f"--model {model} is {stated}, --look {look} is another: leave one of them out")


def _refuse_sharp(name: str, look: str | None) -> None:
    if look == SHARP:
        raise UsageError(
            f"--look {look}: {name} has one look only; leave --look out, or choose another model"
        )


def find_imported_model(model: str) -> ImportedModel | None:
    """Return somebody else's network by its path or its name; None if the model is another kind.

    Raises:
        ModelError: the file is missing or damaged, or cannot be used.
    """
    path = find_imported(model)
    if path is None:
        return None
    from vsrcli.inference.probing import describe_model

    return ImportedModel(path, state_origin(describe_model(path), path), display_name(path))


def select_models(
    models: Sequence[ModelChoice], scale: Fraction, *, chain: bool = False
) -> tuple[ModelChoice, ...]:
    """Select from :func:`find_models` of one model, see :func:`choose_models`.

    Raises:
        ModelError: sharp weights were requested, and there are none for the scale.
    """
    ordered = sorted(models, key=lambda each: each.scale)
    first = next((each for each in ordered if each.scale >= scale), ordered[-1])
    selected = [first]
    if chain and 1 < first.scale < scale:
        selected.append(next((each for each in ordered if first.scale * each.scale >= scale), ordered[-1]))
    for each in selected:
        _check_look(each, models)
    return tuple(selected)


def _check_look(selected: ModelChoice, models: Sequence[ModelChoice]) -> None:
    """Raise ModelError if natural weights were selected where sharp ones were requested."""
    if selected.look != SHARP and any(each.look == SHARP for each in models):
        raise missing_look(selected.architecture.name, selected.scale)


def select_passes(
    candidates: Sequence[Sequence[ModelChoice]], scale: Fraction, *, chain: bool = False
) -> tuple[ModelChoice, ...]:
    """Select a model for each pass, where one or several are requested.

    Several models run one after the other, each once, at those native scales whose product is the smallest
    that reaches the requested scale, or the largest that there is.

    Args:
        candidates: from :func:`find_models`, for each requested model.
        scale: requested factor.
        chain: see :func:`choose_models`; for one model only.
    """
    if len(candidates) == 1:
        return select_models(candidates[0], scale, chain=chain)

    def rank(models: Sequence[ModelChoice]) -> tuple[bool, int]:
        total = math.prod(each.scale for each in models)
        return total < scale, total if total >= scale else -total

    selected = min(product(*candidates), key=rank)
    for each, models in zip(selected, candidates, strict=True):
        _check_look(each, models)
    return selected


def dial_looks(models: Sequence[ModelChoice], strength: float) -> tuple[ModelChoice, ...]:
    """Return models whose sharp weights are mixed with the natural ones, see
    :func:`~vsrcli.inference.looks.mix_looks`; others as they are.

    Raises:
        UsageError: there are no natural weights that fit.
    """
    return tuple(
        replace(each, weights=mix_looks(each.weights, strength))
        if isinstance(each.weights, Weights) and each.look == SHARP
        else each
        for each in models
    )


def select_interpolation(scale: Fraction, *, chain: bool = False) -> tuple[ModelChoice, ...]:
    """Return the passes of ``-m lanczos``; for a factor of 1, one that leaves frames as they are."""
    if scale == 1:
        return (ModelChoice(architecture(INTERPOLATION), None, 1),)
    return choose_models(INTERPOLATION, scale, chain=chain)


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
        choice: from :func:`choose_models`.
        device, precision, engine: see :func:`~vsrcli.inference.engine_plan.plan_engine`.
        on_notice: receives the engine's notices.

    Raises:
        EngineError: the device, the engine or the precision is not available.
        ModelError: the weight file is damaged.
    """
    if choice.weights is None:
        from vsrcli.inference.engine import ResampleEngine

        return ResampleEngine(choice.architecture.name, choice.scale)
    weights = choice.weights.materialize() if isinstance(choice.weights, MixedWeights) else choice.weights
    plan = plan_engine(engine, device, precision, choice.runs_on)
    requested = {"device": device, "precision": precision, "on_notice": on_notice}
    if isinstance(weights, ImportedModel):
        name = plan.resolve()
        if weights.description.kind == "functions":
            return _open_export(weights, name, requested)
        from vsrcli.inference.imported import ImportedEngine

        return ImportedEngine(weights, name, **requested)
    name = plan.resolve()
    if name == "openvino":
        from vsrcli.inference.openvino import OpenvinoEngine

        return OpenvinoEngine(weights, **requested)
    if name == "onnxruntime":
        from vsrcli.inference.onnxruntime import OnnxruntimeEngine

        return OnnxruntimeEngine(weights, **requested)
    from vsrcli.inference.keras import KerasEngine

    return KerasEngine(weights, device=device, precision=precision)


def _open_export(model: ImportedModel, engine: str, requested: dict[str, Any]) -> Engine:
    """Open an export of this program, which carries its own functions."""
    if engine == "openvino":
        from vsrcli.inference.openvino_functions import OpenvinoExportEngine

        return OpenvinoExportEngine(model, **requested)
    from vsrcli.inference.onnxruntime import OnnxruntimeEngine

    return OnnxruntimeEngine(model, **requested)
