"""Who is measured: a model by name or file, with the protocol that its weights were trained for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsrcli.engine.select import Choice, choose, open_engine
from vsrcli.engine.types import Engine
from vsrcli.errors import UsageError
from vsrcli.evaluate.protocol import Protocol
from vsrcli.models.registry import SUFFIX, architecture, find_weights, read_weights

DEFAULT_SCALE = 4


@dataclass(frozen=True)
class Contestant:
    """A model chosen for measuring, before anything heavy is imported.

    Attributes:
        choice: architecture, weights and scale.
        protocol: how low resolution is made, without compression.
    """

    choice: Choice
    protocol: Protocol

    @property
    def warning(self) -> str:
        """One line if the weights belong to another pixel phase than the protocol; empty if all is well."""
        trained = (
            self.choice.weights.card.get("phase", "centre") if self.choice.weights else self.protocol.phase
        )
        if trained == self.protocol.phase:
            return ""
        shift = (self.protocol.scale - 1) / 2
        return (
            f"{self.choice.name} was trained for phase {trained!r}, protocol {self.protocol.name!r} has "
            f"{self.protocol.phase!r}: pictures come {shift:g} pixels out of place and score many dB too low"
        )

    def open(self, *, device: str = "auto", precision: str = "auto", engine: str = "auto") -> Engine:
        """Load it onto a device; interpolation is put on the protocol's own grid.

        Raises:
            EngineError: the device, the engine or the precision is not there.
            ModelError: the weight file is damaged.
        """
        if self.choice.weights is None:
            from vsrcli.engine.resample import ResampleEngine

            return ResampleEngine(self.choice.architecture.name, self.protocol.scale, self.protocol.phase)
        return open_engine(self.choice, device=device, precision=precision, engine=engine)


def enter(model: str, scale: int | None = None, protocol: str | None = None) -> Contestant:
    """Choose model, scale and protocol so that they belong together.

    Args:
        model: name of an architecture, or path of a weight file.
        scale: 2, 3 or 4; None: the weight file's, or 4 for a name.
        protocol: ``bi`` or ``bd``; None: the one that a weight file was trained on, or ``bi`` for a name.
            With ``bd``, a name means its weights that were trained on ``bd``.

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
        choice = Choice(weights.architecture, weights, weights.scale)
        return Contestant(choice, Protocol(protocol or matching, weights.scale))
    test = Protocol(protocol or "bi", scale or DEFAULT_SCALE)
    if test.name == "bd" and architecture(model).module:
        weights = find_weights(model, test.scale, "bd")
        return Contestant(Choice(weights.architecture, weights, weights.scale), test)
    choice = choose(model, Fraction(test.scale))
    if choice.scale != test.scale:
        raise UsageError(
            f"{choice.name} is the nearest to --scale {test.scale}: measure it at --scale {choice.scale}"
        )
    return Contestant(choice, test)
