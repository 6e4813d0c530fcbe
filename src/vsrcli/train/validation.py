"""Validation during a run: PSNR-Y and SSIM-Y on a part of every validation clip, against interpolation.

A quick estimate by the protocol of ``evaluate`` (BT.601 luma, 8 bits, 8 border pixels left out) on the first
32 frames but three at each end (more, if the network sees more); ``vsr evaluate`` scores whole clips. So
many, because the memory of a recurrent network goes wrong late, if it does: on compressed video, a network
that is as good as another after twelve frames can be 0.05 dB worse after 32 (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from vsrcli.degradations import PRESETS, Degradation, recompress
from vsrcli.errors import DataError
from vsrcli.evaluate.metrics import PSNR_CAP, ClipScorer, psnr_y
from vsrcli.frames.flow import align_window
from vsrcli.frames.resample import interpolate
from vsrcli.models.architectures import Architecture
from vsrcli.train.config import temporal_margin
from vsrcli.train.footage import find_footage
from vsrcli.train.losses import HUBER_DELTA, frame_loss
from vsrcli.train.pairs import TrainingPair, prepare_pairs

if TYPE_CHECKING:
    from vsrcli.evaluate.features import EdgeFeatures
    from vsrcli.frames.resample import Phase

MARGIN, SCORED_FRAMES = 3, 26  # frames before and after, at least; scored frames
MAX_HEIGHT, MAX_WIDTH = 90, 120  # of the scored region, in low-resolution pixels
BORDER, MIN_SCORED_SIDE = 8, 11  # pixels left out at each side; SSIM's window needs as many between them
CRF = 23
KERNELS = ("bicubic", "lanczos3")


@dataclass(frozen=True)
class ValidationCase:
    """A part of a clip in one degradation.

    Attributes:
        name: name of the degradation.
        low: uint8 (frames, H, W, 3): the scored frames and ``margin`` frames at both ends.
        truth: uint8 (frames - 2*margin, sH, sW, 3).
        baseline: PSNR-Y of the better interpolation, dB.
    """

    name: str
    low: np.ndarray
    truth: np.ndarray
    baseline: float


class Validation:
    """Score a network on validation clips; call the object with the network.

    Gains are in dB over the better of phase-matched bicubic and Lanczos on each clip.

    Args:
        folder: validation clips.
        cache: folder for decoded arrays.
        scale: upscaling factor.
        degradation: ``bd`` and ``bi`` are scored on themselves, ``video`` on ``bi`` and on ``bi`` compressed
            with H.264 crf 23.
        on_progress: called with (done, total) clips while the folder is decoded.
        features: also score the feature distance, of the middle frame of each clip; None: do not.
        metrics: also score these, of ``METRICS``, on R'G'B' in [0, 1], rounded to 8 bits.
        huber_delta: of the metric ``huber``.
        margin: frames that the networks to be scored see before and after an output, as
            ``temporal_margin(architecture)`` says. Below ``MARGIN`` it makes no difference, so that networks
            with smaller windows are scored on the same frames.

    Raises:
        DataError: no usable clip, or one that is too short or too small.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        scale: int,
        degradation: Degradation,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        features: EdgeFeatures | None = None,
        metrics: Sequence[str] = (),
        huber_delta: float = HUBER_DELTA,
        margin: int = MARGIN,
    ) -> None:
        self._margin = max(MARGIN, margin)
        self._features = features
        self._metrics = {name: frame_loss(name, huber_delta) for name in metrics}
        protocol = PRESETS["bd" if degradation.name == "bd" else "bi"]
        pairs = prepare_pairs(
            find_footage(folder, split="val"), cache, scale, protocol, on_progress=on_progress
        )
        self.cases: list[ValidationCase] = []
        for pair in pairs:
            low, truth = _select_region(pair, scale, self._margin)
            versions = {protocol.name: low}
            if degradation.compressed_share:
                versions[f"{protocol.name}+crf{CRF}"] = recompress(low, crf=CRF)
            for name, version in versions.items():
                scored = version[self._margin : -self._margin]
                scores = [_interpolation_psnr(scored, truth, scale, k, protocol.phase) for k in KERNELS]  # type: ignore[arg-type]
                self.cases.append(ValidationCase(name, version, truth, max(scores)))

    def __call__(self, model: keras.Model, architecture: Architecture) -> dict[str, float]:
        """Return mean scores over clips, by name.

        For each degradation: ``NAME psnr_y``, ``NAME ssim_y``, ``NAME temporal_db`` (PSNR between the luma
        differences of successive frames, in the output and in the truth), ``NAME gain_db``,
        ``NAME worst_gain_db`` and, if wanted, ``NAME features`` and metrics such as ``NAME mse`` (lower is
        better).
        """
        distances: dict[str, list[float]] = {}
        errors: dict[str, list[float]] = {}
        scores_by_case: dict[str, list[tuple[float, float, float, float]]] = {}
        for case in self.cases:
            frames = case.low.astype(np.float32)[None] / 255
            outputs = np.clip(
                np.rint(_upscale(model, architecture, frames, self._margin) * 255), 0, 255
            ).astype(np.uint8)
            scorer = ClipScorer(BORDER)
            for output, truth in zip(outputs, case.truth, strict=True):
                scorer.add(output, truth)
            psnr, ssim, temporal = (
                float(np.mean(values)) for values in (scorer.psnr, scorer.ssim, scorer.steady or 0.0)
            )
            scores = (psnr, ssim, temporal, psnr - case.baseline)
            scores_by_case.setdefault(case.name, []).append(scores)
            for name, metric in self._metrics.items():
                value = float(metric(np.float32(case.truth) / 255, np.float32(outputs) / 255))
                errors.setdefault(f"{case.name} {name}", []).append(value)
            if self._features is not None:
                middle = len(outputs) // 2
                pictures = (np.float32(clip[middle : middle + 1]) / 255 for clip in (case.truth, outputs))
                distance = float(keras.ops.convert_to_numpy(self._features.distance(*pictures)))
                distances.setdefault(case.name, []).append(distance)
        result = {}
        for name, scores in scores_by_case.items():
            psnr, ssim, temporal, gain = (float(np.mean(values)) for values in zip(*scores, strict=True))
            result[f"{name} psnr_y"] = round(psnr, 3)
            result[f"{name} ssim_y"] = round(ssim, 4)
            result[f"{name} temporal_db"] = round(temporal, 3)
            result[f"{name} gain_db"] = round(gain, 3)
            result[f"{name} worst_gain_db"] = round(min(values[-1] for values in scores), 3)
            if name in distances:
                result[f"{name} features"] = round(float(np.mean(distances[name])), 4)
        result |= {name: float(f"{np.mean(values):.4g}") for name, values in errors.items()}
        return result


def _select_region(pair: TrainingPair, scale: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the low-resolution region in the middle of the scored frames, and its truth."""
    _, count, height, width, _ = pair.low.shape
    count = min(count, SCORED_FRAMES + 2 * margin)
    if count <= 2 * margin:
        raise DataError(
            f"{pair.name!r} is too short to validate on: clips need {2 * margin + 1} frames; "
            "remove it from the folder"
        )
    if scale * min(height, width) - 2 * BORDER < MIN_SCORED_SIDE:
        raise DataError(
            f"{pair.name!r} is too small to validate on ({scale * width}x{scale * height}): clips need "
            f"{2 * BORDER + MIN_SCORED_SIDE} pixels a side; remove it from the folder"
        )
    region_height, region_width = min(height, MAX_HEIGHT), min(width, MAX_WIDTH)
    top, left = (height - region_height) // 2, (width - region_width) // 2
    low = np.array(pair.low[0][:count, top : top + region_height, left : left + region_width])
    rows, columns = (
        slice(scale * a, scale * (a + b)) for a, b in ((top, region_height), (left, region_width))
    )
    return low, np.array(pair.high[margin : count - margin, rows, columns])


def _upscale(model: keras.Model, architecture: Architecture, frames: np.ndarray, margin: int) -> np.ndarray:
    """Upscale all but ``margin`` frames at each end: (1, T, H, W, 3) -> (T - 2*margin, sH, sW, 3)."""
    if architecture.kind == "window":
        windows = [
            frames[:, i : i + architecture.frames] for i in range(frames.shape[1] - architecture.frames + 1)
        ]
        if architecture.aligned:
            windows = [align_window(window[0])[None] for window in windows]
        outputs = np.concatenate([_run_network(model, window) for window in windows])
    else:
        outputs = _run_network(model, frames)[0]
    trim = margin - temporal_margin(architecture)  # a smaller window has more outputs
    return outputs[trim : len(outputs) - trim]


def _run_network(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    if keras.backend.backend() == "tensorflow":  # predict_on_batch would hide the frame size from the network
        return keras.ops.convert_to_numpy(model(frames, training=False))
    return model.predict_on_batch(frames)  # type: ignore[return-value]


def _interpolation_psnr(low: np.ndarray, truth: np.ndarray, scale: int, kernel: str, phase: Phase) -> float:
    """Return the mean PSNR-Y of an interpolation on the pixel grid ``phase``."""
    outputs = np.clip(np.rint(interpolate(low, scale, kernel, phase)), 0, 255).astype(np.uint8)
    return float(np.mean([min(psnr_y(a, b, BORDER), PSNR_CAP) for a, b in zip(outputs, truth, strict=True)]))
