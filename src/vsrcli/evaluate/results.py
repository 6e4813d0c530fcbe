"""Results of an evaluation: scores and times of clips, their means, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from vsrcli.evaluate.metrics import PSNR_CAP
from vsrcli.evaluate.protocol import Protocol

CROP = 8  # border pixels left out on each side
SKIP_ENDS = 2  # frames left out at the start and at the end
SCORING = (
    f"BT.601 luma of 8-bit images, {CROP} pixels cropped at each border, "
    f"first and last {SKIP_ENDS} frames left out; mean over frames, then over clips"
)
INTERPOLATIONS = ("bicubic", "lanczos")
METHODS = (*INTERPOLATIONS, "model")
WARMUP_FRAMES = 2  # outputs of each shot that are not timed
TIMING = (
    "in the network alone (tiles and copies to and from the device included; decoding, shot detection and "
    f"scoring not), from each shot's {WARMUP_FRAMES}nd output on: frames before it fill windows and compile"
)


@dataclass(frozen=True)
class Quality:
    """Scores of one method on one clip, or their means over clips.

    Attributes:
        psnr: dB on luma, mean over the scored frames; a frame without error counts ``PSNR_CAP``.
        ssim: on luma, at most 1.
        steady: dB; PSNR between the *changes* of luma from one scored frame to the next, in the output and
            in the truth. Flicker and swimming lower it; a constant error does not.
        psnr_all_frames, ssim_all_frames: including the first and last frames, where windows are incomplete.
        flicker: codes; see :meth:`~vsrcli.evaluate.metrics.ClipScorer.flicker`.
        vmaf_v1, vmaf_neg: 0 to 100.
        features: VGG16-edge distance, from 0 on; see :mod:`vsrcli.evaluate.features`.

    The last four are None where they were not measured; their means are over the clips that have them.
    """

    psnr: float
    ssim: float
    steady: float
    psnr_all_frames: float
    ssim_all_frames: float
    flicker: float | None = None
    vmaf_v1: float | None = None
    vmaf_neg: float | None = None
    features: float | None = None


@dataclass(frozen=True)
class Look:
    """What results keep of the low resolution, as with ``vsr upscale``.

    Attributes:
        strength: share of the model's picture, 0 to 1; the rest is Lanczos interpolation.
        keep_color: whether low frequencies of colour come from the low resolution.
    """

    strength: float = 1.0
    keep_color: bool = False

    def __str__(self) -> str:
        """Return text such as ``0.6 of the network, the rest Lanczos; colours of the source``."""
        share = f"{self.strength:.3g} of the network, the rest Lanczos" if self.strength < 1 else ""
        return "; ".join(filter(None, (share, "colours of the source" if self.keep_color else "")))


DEFAULT_LOOK = Look()


@dataclass(frozen=True)
class Cost:
    """Time that a method took, see ``TIMING``. Costs can be added.

    Attributes:
        seconds: for all timed frames.
        frames: number of timed frames; 0 for clips that are too short.
        pixels: total number of low-resolution pixels of these frames.
    """

    seconds: float = 0.0
    frames: int = 0
    pixels: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.frames + other.frames, self.pixels + other.pixels)

    @property
    def ms_per_frame(self) -> float | None:
        """Milliseconds; None if nothing was timed."""
        return 1e3 * self.seconds / self.frames if self.frames else None

    @property
    def us_per_pixel(self) -> float | None:
        """Microseconds per low-resolution pixel; None if nothing was timed."""
        return 1e6 * self.seconds / self.pixels if self.pixels else None

    def as_dict(self) -> dict[str, Any]:
        """Return the cost for JSON."""
        return {"ms_per_frame": self.ms_per_frame, "us_per_lr_pixel": self.us_per_pixel, **asdict(self)}


@dataclass(frozen=True)
class ClipResult:
    """Measurements of one clip, or their means over clips.

    Attributes:
        name: of the clip.
        width, height: of the truth, in pixels; 0 for the mean.
        frames: number of frames; ``SKIP_ENDS`` at each end are not in the main scores.
        bicubic, lanczos, model: scores of the methods.
        costs: by method; those of the mean are sums over clips.
        variant: of the training preset, with protocol ``video``; else None.
    """

    name: str
    width: int
    height: int
    frames: int
    bicubic: Quality
    lanczos: Quality
    model: Quality
    costs: Mapping[str, Cost] = field(default_factory=dict)
    variant: int | None = None

    @property
    def baseline(self) -> Quality:
        """The interpolation with the better PSNR."""
        return max(self.bicubic, self.lanczos, key=lambda quality: quality.psnr)

    @property
    def gain(self) -> float:
        """PSNR over that of the better interpolation, in dB."""
        return self.model.psnr - self.baseline.psnr

    def as_dict(self) -> dict[str, Any]:
        """Return the measurements for JSON."""
        costs = {method: cost.as_dict() for method, cost in self.costs.items()}
        return {**asdict(self), "gain": self.gain, "time": costs}


@dataclass(frozen=True)
class Evaluation:
    """Measurements of one model with one protocol.

    Attributes:
        model: display name.
        engine: description of the engine, its device and precision.
        protocol: how low resolution was made.
        clips: results in order.
        look: what results keep of the low resolution.
        folder: of the frames, if another tool has made them; else None.
        omitted: keys of the measures that were left out, each with the reason.
    """

    model: str
    engine: str
    protocol: Protocol
    clips: tuple[ClipResult, ...]
    look: Look = DEFAULT_LOOK
    folder: str | None = None
    omitted: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The model's name, with the strength unless that is 1."""
        return self.model if self.look.strength == 1 else f"{self.model}, strength {self.look.strength:.3g}"

    @property
    def mean(self) -> ClipResult:
        """Means over clips; their gain is over the interpolation whose *mean* is better."""
        means = (_mean([getattr(clip, method) for clip in self.clips]) for method in METHODS)
        costs = {
            method: sum((clip.costs.get(method, Cost()) for clip in self.clips), Cost()) for method in METHODS
        }
        return ClipResult("mean", 0, 0, sum(clip.frames for clip in self.clips), *means, costs=costs)

    @property
    def worst(self) -> ClipResult:
        """The clip with the smallest gain."""
        return min(self.clips, key=lambda clip: clip.gain)

    @property
    def gain_error(self) -> float | None:
        """Standard error over clips of the mean gain, in dB; None for a single clip.

        It is that of the paired differences: how hard a clip is does not count.
        """
        mean = self.mean
        baseline = next(name for name in INTERPOLATIONS if getattr(mean, name) is mean.baseline)
        gains = [clip.model.psnr - getattr(clip, baseline).psnr for clip in self.clips]
        return float(np.std(gains, ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation for JSON; dB and SSIM are not rounded."""
        return {
            "model": self.model,
            "engine": self.engine,
            "folder": self.folder,
            **asdict(self.look),
            "protocol": {
                **asdict(self.protocol),
                "phase": self.protocol.phase,
                "summary": self.protocol.summary,
            },
            "scoring": {"crop": CROP, "skip_ends": SKIP_ENDS, "psnr_cap": PSNR_CAP, "summary": SCORING},
            "timing": TIMING,
            "omitted": dict(self.omitted),
            "clips": [
                {key: value for key, value in clip.as_dict().items() if key != "costs"} for clip in self.clips
            ],
            "mean": {
                **{key: self.mean.as_dict()[key] for key in (*METHODS, "gain", "time")},
                "gain_standard_error": self.gain_error,
            },
            "worst": {"name": self.worst.name, "gain": self.worst.gain},
        }


def card_scores(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return the ``measured`` entry of a model card: means over clips, and the gain of the worst clip in dB.

    Time is left out: it depends on the machine, not only on the weights.
    """
    measured: dict[str, float] = {}
    for evaluation in evaluations:
        label, mean = evaluation.protocol.label, evaluation.mean
        measured |= {
            f"{label} psnr_y": round(mean.model.psnr, 3),
            f"{label} ssim_y": round(mean.model.ssim, 4),
            f"{label} gain_db": round(mean.gain, 3),
            f"{label} worst_gain_db": round(evaluation.worst.gain, 3),
            f"{label} steady": round(mean.model.steady, 3),
        }
    return measured


def _mean(qualities: Sequence[Quality]) -> Quality:
    """Return means of each score over those that have it."""
    means: dict[str, Any] = {}
    for each in fields(Quality):
        values = [value for quality in qualities if (value := getattr(quality, each.name)) is not None]
        means[each.name] = float(np.mean(values)) if values else None
    return Quality(**means)
