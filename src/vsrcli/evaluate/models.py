"""Who is measured: models by name or file, with the protocol that their weights were trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import ModelError, UsageError
from vsrcli.evaluate.clips import distinct_names
from vsrcli.evaluate.protocol import Protocol
from vsrcli.frames.resample import Phase
from vsrcli.inference.selection import ModelChoice, choose_model, open_engine
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import architecture
from vsrcli.models.weights import SUFFIX, find_weights, read_weights

DEFAULT_SCALE = 4


@dataclass(frozen=True)
class EvaluatedModel:
    """A model chosen for measuring, before anything heavy is imported.

    Attributes:
        choice: architecture, weights and scale.
        protocol: how low resolution is made, without compression.
        label: what it is called beside others, if not by its own name.
    """

    choice: ModelChoice
    protocol: Protocol
    label: str = ""

    @property
    def name(self) -> str:
        """For people; tells it from the others of one run."""
        return self.label or self.choice.name

    @property
    def trained_phase(self) -> str | None:
        """The pixel phase that the weights were trained for; None for interpolation, which takes any."""
        return str(self.choice.weights.card.get("phase", "centre")) if self.choice.weights else None

    @property
    def phase_warning(self) -> str:
        """One line if the weights belong to another pixel phase than the protocol; empty if all is well."""
        if self.trained_phase in (None, self.protocol.phase):
            return ""
        shift = (self.protocol.scale - 1) / 2
        return (
            f"{self.name} was trained for phase {self.trained_phase!r}, protocol {self.protocol.name!r} has "
            f"{self.protocol.phase!r}: pictures come {shift:g} pixels out of place and score many dB too low"
        )

    def open(self, *, device: str = "auto", precision: str = "auto", engine: str = "auto") -> Engine:
        """Load it onto a device; interpolation is put on the protocol's own grid.

        Raises:
            EngineError: the device, the engine or the precision is not there.
            ModelError: the weight file is damaged.
        """
        if self.choice.weights is None:
            from vsrcli.inference.engine import ResampleEngine

            return ResampleEngine(self.choice.architecture.name, self.protocol.scale, self.protocol.phase)
        return open_engine(self.choice, device=device, precision=precision, engine=engine)


def resolve_model(
    model: str, scale: int | None = None, protocol: str | None = None, phase: Phase | None = None
) -> EvaluatedModel:
    """Choose model, scale and protocol so that they belong together.

    Args:
        model: name of an architecture, or path of a weight file.
        scale: 2, 3 or 4; None: the weight file's, or 4 for a name.
        protocol: see :class:`~vsrcli.evaluate.protocol.Protocol`; None: ``bd`` for a weight file that was
            trained on it, else ``bi``. With ``bd``, a name means its weights that were trained on ``bd``.
        grid: phase of low resolution that is given; None: the one that the weights were trained for.

    Raises:
        UsageError: a weight file of another scale, or a protocol that does not exist.
        ModelError: unknown model, or one without such weights.
    """
    if model.endswith(SUFFIX):
        weights = read_weights(Path(model))
        if scale not in (None, weights.scale):
            raise UsageError(
                f"{model!r} upscales by {weights.scale}, not by --scale {scale}: leave --scale out"
            )
        matching = "bd" if weights.card.get("degradation") == "bd" else "bi"
        test = Protocol(protocol or matching, weights.scale, phase_override=phase)
        return _with_trained_phase(
            EvaluatedModel(ModelChoice(weights.architecture, weights, weights.scale), test)
        )
    test = Protocol(protocol or "bi", scale or DEFAULT_SCALE, phase_override=phase)
    if test.name == "bd" and architecture(model).module:
        weights = find_weights(model, test.scale, "bd")
        return EvaluatedModel(ModelChoice(weights.architecture, weights, weights.scale), test)
    choice = choose_model(model, Fraction(test.scale))
    if choice.scale != test.scale:
        raise UsageError(
            f"{choice.name} is the nearest to --scale {test.scale}: measure it at --scale {choice.scale}"
        )
    return _with_trained_phase(EvaluatedModel(choice, test))


def resolve_models(
    models: Sequence[str],
    scale: int | None = None,
    protocol: str | None = None,
    phase: Phase | None = None,
) -> list[EvaluatedModel]:
    """Choose several models for the same clips, each once.

    Args:
        models: at least one; names follow the scale and the protocol of weight files among them.
        scale, protocol, grid: see :func:`enter`.

    Returns:
        In order, all with one protocol.

    Raises:
        UsageError, ModelError: see :func:`enter`; or models that differ in scale or phase.
    """
    files = [resolve_model(model, scale, protocol, phase) for model in models if model.endswith(SUFFIX)]
    _check_compatible(files)
    if files:
        scale = files[0].protocol.scale
    unique: dict[object, EvaluatedModel] = {}
    for model in models:
        entry = _resolve_with_files(model, files, scale, protocol, phase)
        unique.setdefault(_identity(entry), entry)
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
    """A contestant beside weight files, whose protocol it takes if it is a name."""
    follows_files = protocol is None and files and not model.endswith(SUFFIX)
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
    """All that have weights must be able to look at the same low resolution."""
    with_weights = [entry for entry in models if entry.choice.weights]
    for other in with_weights[1:]:
        first = with_weights[0]
        if (first.choice.scale, first.trained_phase) != (other.choice.scale, other.trained_phase):
            words = [
                f"{each.name} is for x{each.choice.scale}, phase {each.trained_phase!r}"
                for each in (first, other)
            ]
            raise UsageError(
                f"{words[0]}, and {words[1]}: they need different low resolution; measure them one at a time"
            )


def _with_trained_phase(model: EvaluatedModel) -> EvaluatedModel:
    """Given low resolution lies, unless somebody says otherwise, where the weights want it."""
    protocol = model.protocol
    if protocol.name != "none" or protocol.phase_override is not None:
        return model
    phase: Phase = "zero" if model.trained_phase == "zero" else "centre"
    return replace(model, protocol=replace(protocol, phase_override=phase))


def _identity(model: EvaluatedModel) -> object:
    weights = model.choice.weights
    return weights.path.resolve() if weights else model.choice.name
