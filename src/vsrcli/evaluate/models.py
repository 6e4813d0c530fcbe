"""Resolve models by name or weight file, together with the protocol that their weights were trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import ModelError, UsageError
from vsrcli.evaluate.clips import distinct_names
from vsrcli.evaluate.protocol import Protocol
from vsrcli.evaluate.results import DEFAULT_LOOK, Look
from vsrcli.frames.resample import Phase
from vsrcli.inference.looks import SHARP
from vsrcli.inference.selection import (
    ModelChoice,
    choose_models,
    dial_looks,
    find_imported_model,
    open_engine,
    select_interpolation,
)
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.models.imported import ImportedModel
from vsrcli.models.weights import SUFFIX, Weights, find_named_weights, find_weights
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.preparation import keeps_color

DEFAULT_SCALE = 4


@dataclass(frozen=True)
class EvaluatedModel:
    """A model to be measured; resolving it imports no network library.

    Attributes:
        choice: architecture, weights and scale.
        protocol: how low resolution is made, without compression.
        label: unique name among the models of a run; empty for the model's own name.
        look: what results keep of the low resolution, see :meth:`with_look`.
    """

    choice: ModelChoice
    protocol: Protocol
    label: str = ""
    look: Look = DEFAULT_LOOK

    @property
    def name(self) -> str:
        """Display name, unique among the models of a run."""
        return self.label or self.choice.name

    @property
    def trained_phase(self) -> str | None:
        """The pixel phase that the weights were trained for; None for interpolation, which supports any."""
        return str(self.choice.weights.card.get("phase", "centre")) if self.choice.weights else None

    @property
    def phase_warning(self) -> str:
        """A warning if the weights were trained for another pixel phase than the protocol's; else empty."""
        if self.trained_phase in (None, self.protocol.phase):
            return ""
        shift = (self.protocol.scale - 1) / 2
        return (
            f"{self.name} was trained for phase {self.trained_phase!r}, protocol {self.protocol.name!r} has "
            f"{self.protocol.phase!r}: frames come {shift:g} pixels out of place and score many dB too low"
        )

    def with_look(self, strength: float = 1.0, keep_color: bool | None = None) -> EvaluatedModel:
        """Return the model with results that keep something of the low resolution.

        Args:
            strength, keep_color: see :class:`~vsrcli.pipeline.options.Options`. At a strength of 0 the model
                keeps its name, and Lanczos interpolation is measured in its place. Sharp weights are mixed
                with natural ones instead, and the label says so.

        Raises:
            UsageError: a strength that is out of range, or no natural weights to mix sharp ones with.
        """
        if not 0 <= strength <= 1:
            raise UsageError(f"--strength {strength:g} is out of range: 0 (Lanczos) to 1 (the network)")
        if self.choice.look == SHARP and strength < 1:
            (choice,) = dial_looks([self.choice], strength)
            return replace(self, choice=choice, label=f"{self.name}, {strength:.3g} of sharp").with_look(
                1, keep_color
            )
        options = Options(strength=strength, keep_color=keep_color)
        look = Look(strength, keeps_color([self.choice], options))
        if strength:
            return replace(self, look=look)
        choice = select_interpolation(Fraction(self.protocol.scale))[0]
        return replace(self, choice=choice, label=self.name, look=look)

    def open(self, *, device: str = "auto", precision: str = "auto", engine: str = "auto") -> Engine:
        """Load the model onto a device; interpolation uses the protocol's phase.

        Raises:
            EngineError: the device, the engine or the precision is not available.
            ModelError: the weight file is damaged.
        """
        if self.choice.weights is None:
            from vsrcli.inference.engine import ResampleEngine

            return ResampleEngine(self.choice.architecture.name, self.protocol.scale, self.protocol.phase)
        return open_engine(self.choice, device=device, precision=precision, engine=engine)


def resolve_model(
    model: str, scale: int | None = None, protocol: str | None = None, phase: Phase | None = None
) -> EvaluatedModel:
    """Resolve a model with a scale and a protocol that fit together.

    Args:
        model: name of an architecture, name or path of a weight file, or somebody else's network.
        scale: 2, 3 or 4; None: the weight file's, or 4 for an architecture.
        protocol: see :class:`~vsrcli.evaluate.protocol.Protocol`; None: ``bd`` for a weight file, or its
            export, that was trained on it, else ``bi``. With ``bd``, an architecture means its weights that
            were trained on ``bd``.
        phase: with protocol ``none``, of low resolution; None: the one that the weights were trained for.

    Raises:
        UsageError: the weight file has another scale, or there is no such protocol.
        ModelError: the model is unknown, or has no such weights.
    """
    if weights := find_named_weights(model):
        if scale not in (None, weights.scale):
            raise UsageError(
                f"{model!r} upscales by {weights.scale}, not by --scale {scale}: leave --scale out"
            )
        test = Protocol(protocol or _matching_protocol(weights), weights.scale, phase_override=phase)
        choice = ModelChoice(weights.architecture, weights, weights.scale)
        return _with_trained_phase(EvaluatedModel(choice, test))
    imported = find_imported_model(model)
    scale = scale or (imported.scale if imported else DEFAULT_SCALE)
    matching = _matching_protocol(imported) if imported else "bi"
    test = Protocol(protocol or matching, scale, phase_override=phase)
    known = None if imported else ARCHITECTURES.get(model)
    if test.name == "bd" and known and known.module:
        weights = find_weights(model, test.scale, "bd")
        return EvaluatedModel(ModelChoice(weights.architecture, weights, weights.scale), test)
    choice = choose_models(model, Fraction(test.scale))[0]
    if choice.scale != test.scale:
        raise UsageError(
            f"{choice.name} is the closest to --scale {test.scale}: measure it at --scale {choice.scale}"
        )
    return _with_trained_phase(EvaluatedModel(choice, test))


def _matching_protocol(weights: Weights | ImportedModel) -> str:
    """Return the protocol whose low resolution weights were trained for."""
    return "bd" if weights.card["degradation"] == "bd" else "bi"


def resolve_models(
    models: Sequence[str],
    scale: int | None = None,
    protocol: str | None = None,
    phase: Phase | None = None,
) -> list[EvaluatedModel]:
    """Resolve several models for the same clips, each once.

    Args:
        models: at least one; names follow the scale and the protocol of weight files among them, else the
            scale of the first network of others.
        scale, protocol, phase: see :func:`resolve_model`.

    Returns:
        In order, all with the same protocol.

    Raises:
        UsageError, ModelError: see :func:`resolve_model`; or the models differ in scale or phase.
    """
    files = [resolve_model(model, scale, protocol, phase) for model in models if find_named_weights(model)]
    _check_compatible(files)
    imported = (found.scale for model in models if (found := find_imported_model(model)))
    scale = files[0].protocol.scale if files else scale or next(imported, None)
    unique: dict[object, EvaluatedModel] = {}
    for model in models:
        entry = _resolve_with_files(model, files, scale, protocol, phase)
        weights = entry.choice.weights
        unique.setdefault(weights.path.resolve() if weights else entry.choice.name, entry)
    resolved = list(unique.values())
    _check_compatible(resolved)
    test = next((entry.protocol for entry in resolved if entry.choice.weights), resolved[0].protocol)
    paths = [entry.choice.weights.path if entry.choice.weights else Path(entry.name) for entry in resolved]
    labels = distinct_names(paths, [entry.choice.name for entry in resolved])
    return [
        replace(entry, protocol=test, label=label.removesuffix(SUFFIX))
        for entry, label in zip(resolved, labels, strict=True)
    ]


def _resolve_with_files(
    model: str, files: Sequence[EvaluatedModel], scale: int | None, protocol: str | None, phase: Phase | None
) -> EvaluatedModel:
    """Resolve a model; if it is a name, with the protocol of the weight files in the same run."""
    follows_files = protocol is None and files and not find_named_weights(model)
    try:
        return resolve_model(model, scale, files[0].protocol.name if follows_files else protocol, phase)
    except ModelError as error:
        if not follows_files or files[0].protocol.name != "bd":
            raise
        raise UsageError(
            f"{files[0].name} was trained on 'bd' (phase 'zero'), {model} has no such weights: measure them "
            "one at a time"
        ) from error


def _check_compatible(models: Sequence[EvaluatedModel]) -> None:
    """Raise ``UsageError`` if models with weights need different low resolution."""
    with_weights = [entry for entry in models if entry.choice.weights]
    for other in with_weights[1:]:
        first = with_weights[0]
        if (first.choice.scale, first.trained_phase) != (other.choice.scale, other.trained_phase):
            needs = [
                f"{each.name} is for x{each.choice.scale}, phase {each.trained_phase!r}"
                for each in (first, other)
            ]
            raise UsageError(
                f"{needs[0]}, and {needs[1]}: they need different low resolution; measure them one at a time"
            )


def _with_trained_phase(model: EvaluatedModel) -> EvaluatedModel:
    """With protocol ``none`` and no phase, assume the phase that the weights were trained for."""
    protocol = model.protocol
    if protocol.name != "none" or protocol.phase_override is not None:
        return model
    phase: Phase = "zero" if model.trained_phase == "zero" else "centre"
    return replace(model, protocol=replace(protocol, phase_override=phase))
