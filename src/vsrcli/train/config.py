"""What a training run is told, with all defaults, and what it tells. Imports no network.

How sequences of frames meet the kinds of networks. Imports no Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vsrcli.errors import UsageError
from vsrcli.models.architectures import Architecture, architecture

OPTIMIZERS = ("adam", "muon")
PRECISIONS = ("fp32", "bf16", "fp16")
DATA_PLACEMENTS = ("auto", "host", "device")


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, and how.

    Attributes:
        model: name of an architecture with a network.
        scale: 2, 3 or 4.
        degradation: preset of low resolution, a key of ``PRESETS``.
        sizes: of the network, where they differ from its own.
        loss: a key of ``LOSSES``.
        temporal_weight: weight of the loss on changes from frame to frame; 0 for none.
        steps: length of the run; the learning rate falls over it along a cosine.
        batch: sequences in a batch.
        frames: low-resolution frames of a sequence. Networks that look through a window of seven train
            ``frames - 6`` windows at once; a recurrent one is trained on every frame.
        crop: side of the low-resolution crop.
        optimizer: one of ``OPTIMIZERS``.
        learning_rate, final_rate: at the peak and at the end.
        warmup: steps over which the rate rises from zero.
        clip_norm: largest norm of the whole gradient.
        ema: decay of the average of the weights, which is what is validated and exported; 0 for none.
        precision: one of ``PRECISIONS``: of the features; weights stay in float32.
        blur: train on blurred and on still camera moves, too: what the footage was prepared with.
        data: one of ``DATA_PLACEMENTS``: where the footage is kept; ``auto`` is the GPU's memory if it fits there.
        gpus: how many share a batch; 0 for all that the backend can use.
        seed: of the network's start and of every batch.
        validate_every, save_every: in steps.
    """

    model: str = "duf-s"
    scale: int = 4
    degradation: str = "video"
    sizes: Mapping[str, int] = field(default_factory=dict)
    loss: str = "charbonnier"
    temporal_weight: float = 0.0
    steps: int = 6000
    batch: int = 8
    frames: int = 9
    crop: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    final_rate: float = 1e-5
    warmup: int = 50
    clip_norm: float = 1.0
    ema: float = 0.999
    precision: str = "fp32"
    blur: bool = True
    data: str = "auto"
    gpus: int = 0
    seed: int = 1
    validate_every: int = 1000
    save_every: int = 100

    @property
    def architecture(self) -> Architecture:
        """What is trained.

        Raises:
            ModelError: there is no such architecture, or it has not these sizes.
        """
        return architecture(self.model).with_sizes(self.sizes)


# Options that may differ when a run is continued: the length, how often it reports, and what it runs on.
RESUMABLE_CHANGES = {"steps", "validate_every", "save_every", "data", "gpus"}
# What runs did before they could choose: their checkpoints do not say.
_BEFORE = {
    "sizes": {},
    "temporal_weight": 0.0,
    "optimizer": "adam",
    "ema": 0.0,
    "precision": "fp32",
    "blur": False,
}


def config_differences(config: TrainConfig, earlier: Mapping[str, Any]) -> list[str]:
    """Options, sorted by name, that forbid going on with a run whose checkpoint says ``earlier``."""
    then = {**_BEFORE, **earlier}
    return sorted(k for k, v in asdict(config).items() if k not in RESUMABLE_CHANGES and then.get(k) != v)


@dataclass(frozen=True)
class StepReport:
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


def temporal_margin(chosen: Architecture) -> int:
    """Frames at each end of a sequence that the network gives no picture for."""
    return chosen.frames // 2


def check_sequences(config: TrainConfig, chosen: Architecture) -> None:
    """Refuse sequences that the network cannot be trained on.

    Raises:
        UsageError: too few frames for the network, or for a loss on changes.
    """
    least = max(chosen.frames, 2 * temporal_margin(chosen) + 1)
    if config.frames < least:
        raise UsageError(
            f"--frames {config.frames} is shorter than what {chosen.name} looks at: take {least} or more"
        )
    if config.temporal_weight and config.frames - 2 * temporal_margin(chosen) < 2:
        raise UsageError(
            f"--temporal-weight needs two pictures of a sequence: take --frames {least + 1} or more"
        )


def shape_batch(
    low: Any, high: Any, chosen: Architecture, concatenate: Callable[..., Any] = np.concatenate
) -> tuple[Any, Any]:
    """A batch as the network takes it.

    Args:
        low: (B, T, H, W, 3).
        high: (B, outputs, sH, sW, 3).
        chosen: networks of kind ``window`` get single windows, those of one time after those of the time
            before; the others take sequences as they are.
        concatenate: of the library that the arrays belong to.

    Returns:
        The same, or (outputs*B, window, H, W, 3) and (outputs*B, sH, sW, 3).
    """
    if chosen.kind != "window":
        return low, high
    outputs = range(high.shape[1])
    windows = concatenate([low[:, i : i + chosen.frames] for i in outputs], axis=0)
    return windows, concatenate([high[:, i] for i in outputs], axis=0)
