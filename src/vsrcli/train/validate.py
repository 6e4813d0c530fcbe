"""Validation inside a run: PSNR-Y and SSIM-Y of a few windows of every validation clip, beside interpolation.

A quick look with the scoring of ``evaluate`` (BT.601 luma, 8 bits, 8 pixels cropped); whole clips are for
``vsr evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from vsrcli.evaluate.metrics import psnr_y, ssim_y
from vsrcli.frames.resample import upscale
from vsrcli.media.recode import recode
from vsrcli.models.registry import Architecture
from vsrcli.train.clips import find_footage, prepare_pairs
from vsrcli.train.degrade import PRESETS, Degradation

if TYPE_CHECKING:
    import keras

WINDOW, WINDOWS = 7, 3  # of each clip: three windows from its start
CRF = 23
KERNELS = ("bicubic", "lanczos3")


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
        DataError: no usable clip.
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
        frames, middle = WINDOW + WINDOWS - 1, slice(WINDOW // 2, WINDOW // 2 + WINDOWS)
        self.cases: list[tuple[str, np.ndarray, np.ndarray, float]] = []
        for pair in pairs:
            low, truth = np.array(pair.low[0][:frames]), np.array(pair.high[middle])
            versions = {protocol.name: low}
            if degradation.compressed:
                versions[f"{protocol.name}+crf{CRF}"] = recode(low, crf=CRF)
            for name, version in versions.items():
                scores = [_interpolated(version[middle], truth, scale, k, protocol) for k in KERNELS]
                self.cases.append((name, version, truth, max(scores)))

    def __call__(self, model: keras.Model, chosen: Architecture) -> dict[str, float]:
        gains: dict[str, list[float]] = {}
        psnrs: dict[str, list[float]] = {}
        ssims: dict[str, list[float]] = {}
        for name, low, truth, baseline in self.cases:
            frames = low.astype(np.float32)[None] / 255
            if chosen.kind == "cached":
                output = ops.convert_to_numpy(model(frames, training=False))[0]
            else:
                windows = [frames[:, i : i + WINDOW] for i in range(WINDOWS)]
                output = np.concatenate([ops.convert_to_numpy(model(w, training=False)) for w in windows])
            pictures = np.clip(np.rint(output * 255), 0, 255).astype(np.uint8)
            psnr = [psnr_y(a, b) for a, b in zip(pictures, truth, strict=True)]
            psnrs.setdefault(name, []).append(float(np.mean(psnr)))
            ssims.setdefault(name, []).append(
                float(np.mean([ssim_y(a, b) for a, b in zip(pictures, truth, strict=True)]))
            )
            gains.setdefault(name, []).append(float(np.mean(psnr) - baseline))
        result = {}
        for name in gains:
            result[f"{name} psnr_y"] = round(float(np.mean(psnrs[name])), 3)
            result[f"{name} ssim_y"] = round(float(np.mean(ssims[name])), 4)
            result[f"{name} gain_db"] = round(float(np.mean(gains[name])), 3)
            result[f"{name} worst_gain_db"] = round(min(gains[name]), 3)
        return result


def _interpolated(
    low: np.ndarray, truth: np.ndarray, scale: int, kernel: str, protocol: Degradation
) -> float:
    """Mean PSNR-Y of an interpolation, on the grid of the protocol."""
    pictures = np.clip(np.rint(upscale(low, scale, kernel, protocol.phase)), 0, 255).astype(np.uint8)  # type: ignore[arg-type]
    return float(np.mean([psnr_y(a, b) for a, b in zip(pictures, truth, strict=True)]))
