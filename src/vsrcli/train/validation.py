"""Validation inside a run: PSNR-Y and SSIM-Y of a part of every validation clip, beside interpolation.

A quick look with the scoring of ``evaluate`` (BT.601 luma, 8 bits, 8 pixels cropped): twelve frames from the
middle of the picture. Whole clips are for ``vsr evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from vsrcli.degradations import PRESETS, Degradation, recompress
from vsrcli.errors import DataError
from vsrcli.evaluate.metrics import PSNR_CAP, luma, psnr_y, ssim_y
from vsrcli.frames.resample import interpolate
from vsrcli.models.architectures import Architecture
from vsrcli.train.config import temporal_margin
from vsrcli.train.footage import TrainingPair, find_footage, prepare_pairs

if TYPE_CHECKING:
    from vsrcli.frames.resample import Phase

MARGIN, SCORED = 3, 12  # frames before and after; frames scored
HEIGHT, WIDTH = 90, 120  # largest part of the low-resolution picture
CROP = 8
CRF = 23
KERNELS = ("bicubic", "lanczos3")


@dataclass(frozen=True)
class ValidationCase:
    """A part of a clip in one degradation.

    Attributes:
        name: of the degradation.
        low: uint8 (frames, H, W, 3): the scored ones with ``MARGIN`` at both ends.
        truth: uint8 (frames - 2*MARGIN, sH, sW, 3).
        baseline: PSNR-Y of the better interpolation, dB.
    """

    name: str
    low: np.ndarray
    truth: np.ndarray
    baseline: float


class Validation:
    """Call it with a model: mean scores, and the mean and worst gain in dB over the better of
    phase-matched bicubic and Lanczos on each clip.

    Args:
        folder: validation clips.
        cache: where decoded arrays are kept.
        scale: upscaling factor.
        degradation: ``bd`` is scored on itself; ``bi`` on itself; ``video`` on ``bi`` and on the same
            compressed with H.264 crf 23.

    Raises:
        DataError: no usable clip, or one that is too short.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        scale: int,
        degradation: Degradation,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        protocol = PRESETS["bd" if degradation.name == "bd" else "bi"]
        pairs = prepare_pairs(find_footage(folder), cache, scale, protocol, on_progress=on_progress)
        self.cases: list[ValidationCase] = []
        for pair in pairs:
            low, truth = _part(pair, scale)
            versions = {protocol.name: low}
            if degradation.compressed_share:
                versions[f"{protocol.name}+crf{CRF}"] = recompress(low, crf=CRF)
            for name, version in versions.items():
                scored = version[MARGIN:-MARGIN]
                scores = [_interpolated(scored, truth, scale, k, protocol.phase) for k in KERNELS]  # type: ignore[arg-type]
                self.cases.append(ValidationCase(name, version, truth, max(scores)))

    def __call__(self, model: keras.Model, chosen: Architecture) -> dict[str, float]:
        """Scores by name: ``PROTOCOL psnr_y``, ``ssim_y``, ``temporal_db`` (PSNR between the changes of luma
        from frame to frame, in the output and in the truth), ``gain_db``, ``worst_gain_db``."""
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for case in self.cases:
            frames = case.low.astype(np.float32)[None] / 255
            pictures = np.clip(np.rint(_upscaled(model, chosen, frames) * 255), 0, 255).astype(np.uint8)
            psnr = float(np.mean([psnr_y(a, b, CROP) for a, b in zip(pictures, case.truth, strict=True)]))
            ssim = float(np.mean([ssim_y(a, b, CROP) for a, b in zip(pictures, case.truth, strict=True)]))
            scores = (psnr, ssim, _temporal(pictures, case.truth), psnr - case.baseline)
            found.setdefault(case.name, []).append(scores)
        result = {}
        for name, scores in found.items():
            psnr, ssim, temporal, gain = (float(np.mean(values)) for values in zip(*scores, strict=True))
            result[f"{name} psnr_y"] = round(psnr, 3)
            result[f"{name} ssim_y"] = round(ssim, 4)
            result[f"{name} temporal_db"] = round(temporal, 3)
            result[f"{name} gain_db"] = round(gain, 3)
            result[f"{name} worst_gain_db"] = round(min(values[-1] for values in scores), 3)
        return result


def _part(pair: TrainingPair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames and the middle of the picture that are scored, with their truth."""
    _, count, height, width, _ = pair.low.shape
    count = min(count, SCORED + 2 * MARGIN)
    if count <= 2 * MARGIN:
        raise DataError(
            f"{pair.name!r} is too short to validate on: clips need {2 * MARGIN + 1} frames; "
            "take it out of the folder"
        )
    tall, wide = min(height, HEIGHT), min(width, WIDTH)
    top, left = (height - tall) // 2, (width - wide) // 2
    low = np.array(pair.low[0][:count, top : top + tall, left : left + wide])
    rows, columns = (slice(scale * a, scale * (a + b)) for a, b in ((top, tall), (left, wide)))
    return low, np.array(pair.high[MARGIN : count - MARGIN, rows, columns])


def _upscaled(model: keras.Model, chosen: Architecture, frames: np.ndarray) -> np.ndarray:
    """Pictures of all but ``MARGIN`` frames at each end: (1, T, H, W, 3) -> (T - 2*MARGIN, sH, sW, 3)."""
    if chosen.kind == "window":
        windows = [frames[:, i : i + chosen.frames] for i in range(frames.shape[1] - chosen.frames + 1)]
        pictures = np.concatenate([_run(model, window) for window in windows])
    else:
        pictures = _run(model, frames)[0]
    spare = MARGIN - temporal_margin(chosen)  # a smaller window gives pictures of more frames
    return pictures[spare : len(pictures) - spare]


def _run(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    if keras.backend.backend() == "tensorflow":  # predict_on_batch would hide the sizes from the network
        return keras.ops.convert_to_numpy(model(frames, training=False))
    return model.predict_on_batch(frames)  # type: ignore[return-value]


def _interpolated(low: np.ndarray, truth: np.ndarray, scale: int, kernel: str, phase: Phase) -> float:
    """Mean PSNR-Y of an interpolation, on the grid of the protocol."""
    pictures = np.clip(np.rint(interpolate(low, scale, kernel, phase)), 0, 255).astype(np.uint8)
    return float(np.mean([psnr_y(a, b, CROP) for a, b in zip(pictures, truth, strict=True)]))


def _temporal(pictures: np.ndarray, truth: np.ndarray) -> float:
    """How faithfully luma changes from frame to frame, dB; ``evaluate`` has the same figure."""
    inner = (slice(None), slice(CROP, -CROP), slice(CROP, -CROP))
    errors = np.diff(luma(pictures[inner]), axis=0) - np.diff(luma(truth[inner]), axis=0)
    means = [float(np.mean(error**2)) for error in errors]
    return float(np.mean([min(10 * np.log10(255**2 / m), PSNR_CAP) if m else PSNR_CAP for m in means] or 0.0))
