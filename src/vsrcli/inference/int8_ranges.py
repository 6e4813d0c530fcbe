"""What a network needs to compute in eight bits: a file beside its weights, measured on real footage.

``python -m vsrcli.evaluate.calibration`` writes ``NAME.int8.json`` beside ``NAME.weights.h5``::

    {"sha256": ...,           of the weight file
     "ranges": {...},         of each convolution's input, a `Range` each; null: it stays in float32
     "method": ...,           how ranges were chosen, for people
     "loss": {"bi x4": {...}, "bi x4 crf 23": {...}}}   what it costs on validation clips, a `Loss` each
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.errors import EngineError
from vsrcli.inference.openvino_passes import layer_of
from vsrcli.models.weights import Weights

SUFFIX = ".int8.json"
COMMAND = "python -m vsrcli.evaluate.calibration"
MAX_MEAN_LOSS, MAX_CLIP_LOSS = 0.05, 0.1  # dB
MAX_FLICKER = 0.02  # codes more: a hundredth of what Lanczos has on the validation clips
LEVELS = 256


@dataclass(frozen=True)
class Range:
    """The values of a tensor that eight bits distinguish.

    Attributes:
        signed: whether they lie on both sides of zero, symmetrically; else from zero on.
        limits: the largest, above zero, of each channel, or one for all; what is beyond is clipped.
    """

    signed: bool
    limits: tuple[float, ...]

    @property
    def least(self) -> tuple[float, ...]:
        """The least of them: there is one more code below zero than above."""
        return tuple(-128 / 127 * limit if self.signed else 0.0 for limit in self.limits)


Ranges = Mapping[str, Range | None]


@dataclass(frozen=True)
class Loss:
    """What eight bits cost against float32, by the measures of ``vsr evaluate``.

    Attributes:
        mean_db: of PSNR-Y, mean over clips.
        worst_db: on the clip that loses most.
        worst_clip: its name.
        steady_db: of the PSNR of changes from frame to frame, mean over clips.
        flicker_codes: more flicker, mean over the clips where something stands still.
    """

    mean_db: float
    worst_db: float
    worst_clip: str
    steady_db: float
    flicker_codes: float

    @property
    def is_small(self) -> bool:
        """Whether ``--precision auto`` may choose eight bits."""
        return (
            self.mean_db <= MAX_MEAN_LOSS
            and self.worst_db <= MAX_CLIP_LOSS
            and self.flicker_codes <= MAX_FLICKER
        )


@dataclass(frozen=True)
class Calibration:
    """Content of the file.

    Attributes:
        ranges: of each convolution's input, by the convolution's name; None: it stays in float32.
        losses: by protocol; may be empty.
    """

    ranges: Ranges
    losses: Mapping[str, Loss]

    @property
    def is_good(self) -> bool:
        """Whether ``--precision auto`` may choose eight bits: measured, and every loss is small."""
        return bool(self.losses) and all(loss.is_small for loss in self.losses.values())

    @property
    def is_whole(self) -> bool:
        """Whether no layer stays in float32 but the first, which reads frames."""
        return len({layer_of(name) for name, found in self.ranges.items() if found is None}) <= 1


def calibration_path(weights: Weights) -> Path:
    return weights.path.with_name(weights.name + SUFFIX)


def read_calibration(weights: Weights) -> Calibration:
    """Return what was measured of a weight file.

    Raises:
        EngineError: nothing was, or of other weights, or the file is damaged.
    """
    path = calibration_path(weights)
    remedy = f"use --precision fp32, or `{COMMAND}` with footage and these weights"
    if not path.is_file():
        raise EngineError(f"--precision int8: {weights.name} has no file {path.name!r} beside it; {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        is_its_own = content["sha256"] == weights.card["sha256"]
        calibration = _parse(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"--precision int8: {str(path)!r} is damaged ({error!r}); {remedy}") from error
    if not is_its_own:
        raise EngineError(f"--precision int8: {str(path)!r} belongs to other weights; {remedy}")
    return calibration


def find_good_calibration(weights: Any) -> Calibration | None:
    """Return what was measured of weights if ``--precision auto`` may take eight bits, on a processor that
    gains by it; else None."""
    try:
        calibration = read_calibration(weights) if isinstance(weights, Weights) else None
    except EngineError:
        return None
    return calibration if calibration and calibration.is_good else None


def _parse(content: Mapping[str, Any]) -> Calibration:
    ranges: dict[str, Range | None] = {}
    for name, found in content["ranges"].items():
        ranges[name] = None
        if found is not None:
            limits = tuple(map(float, found["limits"] if "limits" in found else [found["limit"]]))
            if not limits or not all(math.isfinite(limit) and limit > 0 for limit in limits):
                raise ValueError(f"limits {limits} of {name!r}")
            ranges[name] = Range(bool(found["signed"]), limits)
    return Calibration(ranges, {name: Loss(**found) for name, found in content["loss"].items()})
