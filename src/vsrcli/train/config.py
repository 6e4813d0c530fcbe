"""What a training run is told, with all defaults, and what it tells. Imports no network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, and how.

    Attributes:
        model: name of an architecture with a network.
        scale: 2, 3 or 4.
        degradation: preset of low resolution, a key of ``PRESETS``.
        loss: a key of ``LOSSES``.
        steps: length of the run; the learning rate falls over it along a cosine.
        batch: sequences in a batch.
        frames: low-resolution frames of a sequence; ``frames - 6`` windows are trained at once.
        crop: side of the low-resolution crop.
        learning_rate, final_rate: Adam's, at the peak and at the end.
        warmup: steps over which the rate rises from zero.
        clip_norm: largest norm of the whole gradient.
        seed: of the network's start and of every batch.
        validate_every, save_every: in steps.
    """

    model: str = "duf-s"
    scale: int = 4
    degradation: str = "video"
    loss: str = "charbonnier"
    steps: int = 6000
    batch: int = 8
    frames: int = 9
    crop: int = 32
    learning_rate: float = 1e-3
    final_rate: float = 1e-5
    warmup: int = 50
    clip_norm: float = 1.0
    seed: int = 1
    validate_every: int = 1000
    save_every: int = 100


@dataclass(frozen=True)
class Report:
    """Told after every step.

    Attributes:
        step, steps: how far.
        loss: of this step's batch.
        learning_rate: that the step used.
        seconds: that the step took.
        waited: of these, waiting for data.
        validation: mean scores of this step's validation, or None.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    waited: float
    validation: dict[str, float] | None = None
