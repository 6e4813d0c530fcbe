"""Configuration of a training run, its progress report, and how frame sequences fit each kind of network.

Imports neither Keras nor a network, so that ``vsr train --help`` and wrong usage answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.errors import UsageError
from vsrcli.frames.flow import align_window, require_flow
from vsrcli.models.architectures import Architecture, architecture

CHECKPOINT_NAME = "checkpoint.npz"  # in the folder of a run
LOSSES = ("charbonnier", "mse", "mae", "huber", "psnr", "rmse", "features")
SCHEDULES = ("cosine", "cosine-restarts", "step", "constant")
METRICS = ("mse", "mae", "huber", "charbonnier")  # that validation can add to PSNR and SSIM
OPTIMIZERS = ("adam", "muon")
JUDGES = ("brightness", "rgb")
PRECISIONS = ("fp32", "bf16", "fp16")
DATA_PLACEMENTS = ("auto", "host", "device")
# Options that may differ when a run is resumed: length, reporting intervals and hardware.
RESUMABLE_CHANGES = {"steps", "validate_every", "save_every", "keep", "data", "gpus"}
LONG_MEMORY = 16  # results of a sequence from which on a recurrent network was seen to keep what it gained
# Values of options that older checkpoints do not record, since the options did not exist.
_LEGACY_DEFAULTS = {
    "sizes": {},
    "temporal_weight": 0.0,
    "optimizer": "adam",
    "ema": 0.0,
    "precision": "fp32",
    "blur": False,
    "compressed_share": None,
    "adversarial": None,
    "huber_delta": 0.01,
    "schedule": "cosine",
    "decay_steps": 1000,
    "period_factor": 2.0,
    "restart_factor": 1.0,
    "step_factor": 0.1,
}


@dataclass(frozen=True)
class AdversarialConfig:
    """Configuration of adversarial training, which makes PSNR-trained weights sharp; see ``adversarial``.

    Attributes:
        pixel_weight: weight of the loss on pixels, ``TrainConfig.loss``.
        color_weight: weight of the loss on the mean colours of small blocks; 0: none.
        grid_weight: weight of the loss on the mean of each sub-pixel position; 0: none.
        evenness_weight: weight of the loss on detail that prefers some sub-pixel positions; 0: none.
        feature_weight: weight of the feature distance; 0: none.
        adversarial_weight: weight of the adversarial loss; 0: neither loss nor discriminator.
        ping_pong_weight: weight of the loss between a sequence and its way back; 0: it is not played back,
            which halves the cost of the network.
        feature_blocks: blocks of the feature network, 1 to 5.
        feature_frames: frames of each sequence that the feature distance is taken on.
        judge: what features and discriminator compare, one of ``JUDGES``: brightness alone, or colours.
        discriminator_clips: triples of consecutive frames of each sequence that the discriminator sees.
        discriminator_width: its channels at full size.
        discriminator_rate: its peak learning rate; it falls as the network's does.
    """

    pixel_weight: float = 1.0
    color_weight: float = 1.0
    grid_weight: float = 5.0
    evenness_weight: float = 30.0
    feature_weight: float = 1.0
    adversarial_weight: float = 0.01
    ping_pong_weight: float = 0.3
    feature_blocks: int = 5
    feature_frames: int = 1
    judge: str = "brightness"
    discriminator_clips: int = 1
    discriminator_width: int = 24
    discriminator_rate: float = 1e-4


# What adversarial training starts with where the command line says nothing: as the shipped weights were made.
ADVERSARIAL_DEFAULTS: Mapping[str, Any] = {
    "steps": 1500,
    "temporal_weight": 0.3,
    "learning_rate": 2e-4,
    "batch": 2,
    "frames": 18,
    "validate_every": 250,
}


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a training run: model, data, optimization and hardware.

    Attributes:
        model: name of a trainable architecture.
        scale: 2, 3 or 4.
        degradation: preset of low resolution, a key of ``PRESETS``.
        sizes: sizes of the network that differ from the architecture's defaults.
        loss: one of ``LOSSES``.
        huber_delta: of the loss ``huber``: errors below it count squared; of values in [0, 1].
        temporal_weight: weight of the loss on frame differences; 0: none.
        steps: length of the run; the schedule ``cosine`` ends with it.
        batch: sequences per batch.
        frames: low-resolution frames per sequence. Networks with a window of seven train ``frames - 6``
            windows at once; recurrent ones are trained on every frame.
        crop: side of the low-resolution crop in pixels.
        optimizer: one of ``OPTIMIZERS``.
        learning_rate, final_rate: peak and final learning rate.
        schedule: one of ``SCHEDULES``, see :func:`~vsrcli.train.schedules.make_rate`.
        decay_steps: steps of the first period of ``cosine-restarts``, and between two falls of ``step``.
        period_factor, restart_factor: of ``cosine-restarts``: each period's length and peak by the last's.
        step_factor: of ``step``: the rate after a fall by that before.
        warmup: steps over which the rate rises from zero.
        clip_norm: maximum global norm of the gradient.
        ema: decay of the moving average of weights, which is validated and exported; 0: no average.
        precision: one of ``PRECISIONS``, for features; weights stay in float32.
        blur: also train on blurred and on static camera moves; the footage must be prepared with the same
            value.
        compressed_share: share of sequences from compressed variants of the footage; None: the preset's.
        data: one of ``DATA_PLACEMENTS``: memory that holds the footage; ``auto``: the GPU's if it fits.
        gpus: number of GPUs that share a batch; 0: all that the backend can use.
        seed: seed of the initial weights and of every batch.
        validate_every, save_every: intervals in steps.
        keep: number of validated states, the last ones, whose weights are kept in ``RUN/states``: their mean
            can be better than the last (docs/experiments.md).
        adversarial: configuration of adversarial training; None: the loss is on pixels alone.
    """

    model: str = "duf-s"
    scale: int = 4
    degradation: str = "video"
    sizes: Mapping[str, int] = field(default_factory=dict)
    loss: str = "charbonnier"
    huber_delta: float = 0.01
    temporal_weight: float = 0.0
    steps: int = 6000
    batch: int = 8
    frames: int = 9
    crop: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    final_rate: float = 1e-5
    schedule: str = "cosine"
    decay_steps: int = 1000
    period_factor: float = 2.0
    restart_factor: float = 1.0
    step_factor: float = 0.1
    warmup: int = 50
    clip_norm: float = 1.0
    ema: float = 0.999
    precision: str = "fp32"
    blur: bool = True
    compressed_share: float | None = None
    data: str = "auto"
    gpus: int = 0
    seed: int = 1
    validate_every: int = 1000
    save_every: int = 100
    keep: int = 4
    adversarial: AdversarialConfig | None = None

    @property
    def look(self) -> str:
        """``sharp`` for weights of adversarial training, else ``natural``; stated in the model card."""
        return "natural" if self.adversarial is None else "sharp"

    @property
    def architecture(self) -> Architecture:
        """The architecture, with ``sizes`` applied.

        Raises:
            ModelError: there is no such architecture, or it does not have these sizes.
        """
        return architecture(self.model).with_sizes(self.sizes)


def config_differences(config: TrainConfig, saved: Mapping[str, Any]) -> list[str]:
    """Return the names, sorted, of options that differ from a checkpoint's and forbid resuming it."""
    recorded = {**_LEGACY_DEFAULTS, **saved}
    return sorted(k for k, v in asdict(config).items() if k not in RESUMABLE_CHANGES and recorded.get(k) != v)


@dataclass(frozen=True)
class StepReport:
    """Progress of a run, reported after every step.

    Attributes:
        step, steps: this step, counted from 1, and the length of the run.
        loss: loss of this step's batch.
        learning_rate: rate that the step used.
        seconds: duration of the step.
        wait_seconds: part of ``seconds`` spent waiting for data.
        validation: mean scores of this step's validation, or None.
        parts: losses of adversarial training by name, each before its weight; the discriminator's own loss
            is not part of ``loss``.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    wait_seconds: float
    validation: dict[str, float] | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


def temporal_margin(architecture: Architecture) -> int:
    """Return the number of frames at each end of a sequence that have no output frame."""
    return architecture.frames // 2


def check_sequences(config: TrainConfig, architecture: Architecture) -> None:
    """Refuse sequences that the network cannot be trained on.

    Raises:
        ModelError: the network does not enlarge by this factor.
        EngineError: the network needs OpenCV, which is not installed.
        UsageError: too few frames for the network, for a loss on changes, or for a discriminator; or fp16; or
            footage in the device's memory for a network whose frames are aligned on the host; or a final rate
            above the peak; or a second feature distance; or a share of what the degradation does not have.
    """
    if config.final_rate > config.learning_rate:
        raise UsageError(
            f"--final-rate {config.final_rate:g} is more than --learning-rate {config.learning_rate:g}: "
            "use a smaller one"
        )
    if config.adversarial and config.loss == "features":
        raise UsageError(
            "--adversarial has a feature distance of its own, --feature-weight: use another --loss"
        )
    if config.compressed_share is not None and not PRESETS[config.degradation].compressed_share:
        raise UsageError(
            f"--degradation {config.degradation} has no share of compressed variants: "
            "--compressed-share goes with --degradation video"
        )
    architecture.check_scale(config.scale)
    if architecture.aligned:
        require_flow(architecture.name)
        if config.data == "device":
            raise UsageError(f"{architecture.name} aligns its frames on the host: use --data host")
    min_frames = max(architecture.frames, 2 * temporal_margin(architecture) + 1)
    if config.frames < min_frames:
        raise UsageError(
            f"--frames {config.frames} is shorter than the window of {architecture.name}: "
            f"use {min_frames} or more"
        )
    if config.temporal_weight and config.frames - 2 * temporal_margin(architecture) < 2:
        raise UsageError(
            f"--temporal-weight needs two output frames per sequence: use --frames {min_frames + 1} or more"
        )
    if config.adversarial is None:
        return
    if config.frames - 2 * temporal_margin(architecture) < 3:
        raise UsageError(
            f"--adversarial needs three output frames per sequence: use --frames {min_frames + 2} or more"
        )
    if config.precision == "fp16":
        raise UsageError("--adversarial does not scale its losses for fp16: use --precision bf16 or fp32")


def memory_notice(config: TrainConfig) -> str:
    """Return a line for people about a recurrent network whose sequences are short; else an empty string."""
    architecture = config.architecture
    results = config.frames - 2 * temporal_margin(architecture)
    if architecture.kind != "recurrent" or results >= LONG_MEMORY:
        return ""
    return (
        f"{architecture.name} learns to use its memory over {results} frames only, and may lose by it in "
        "longer, compressed videos: --frames 30 --batch 2 teaches it for long"
    )


def require_initial_weights(config: TrainConfig, init: Path | None, checkpoint: Path) -> None:
    """Refuse adversarial training from random weights.

    Raises:
        UsageError: there are neither initial weights nor a checkpoint.
    """
    if config.adversarial and init is None and not checkpoint.exists():
        raise UsageError("--adversarial makes trained weights sharp: name them by --init FILE")


def shape_batch(
    low: Any, high: Any, architecture: Architecture, concatenate: Callable[..., Any] = np.concatenate
) -> tuple[Any, Any]:
    """Shape a batch of sequences as the network expects it.

    Args:
        low: (B, T, H, W, 3).
        high: (B, outputs, sH, sW, 3).
        architecture: networks of kind ``window`` get single windows, ordered by time and then by sequence;
            the others get sequences unchanged. The frames of an ``aligned`` one's windows are aligned.
        concatenate: function of the arrays' own library.

    Returns:
        ``(low, high)`` unchanged, or (outputs*B, window, H, W, 3) and (outputs*B, sH, sW, 3).
    """
    if architecture.kind != "window":
        return low, high
    outputs = range(high.shape[1])
    windows = concatenate([low[:, i : i + architecture.frames] for i in outputs], axis=0)
    if architecture.aligned:
        windows = np.stack([align_window(window) for window in windows])
    return windows, concatenate([high[:, i] for i in outputs], axis=0)
