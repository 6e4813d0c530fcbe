"""The presets by name, and how a clip is degraded by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsrcli.degradations.compression import recompress
from vsrcli.degradations.second_order import SecondOrder, degrade_twice
from vsrcli.frames.resample import downsample_bd, gaussian_kernel_1d, resize


@dataclass(frozen=True)
class Degradation:
    """A preset: a distribution of degradations.

    Attributes:
        name: as on the command line.
        phase: ``centre`` or ``zero``: positions of LR pixels on the HR grid, see
            :mod:`vsrcli.frames.resample`.
        summary: one line for people and model cards.
        kernel_shares: kernels and their probabilities; ``bd``, a resampling kernel, or ``gauss`` (blur of
            random sigma, then area).
        max_noise: largest standard deviation of white noise, in 8-bit codes; half of the variants get some.
        compressed_share: share of variants that are compressed.
        crf_range: smallest and largest constant rate factor.
        variant_count: different degradations of a clip that training uses.
        second_order: the history of all variants but the first, which takes the place of the fields on noise
            and compression; None: there is none.
    """

    name: str
    phase: str
    summary: str
    kernel_shares: tuple[tuple[str, float], ...]
    max_noise: float = 0.0
    compressed_share: float = 0.0
    crf_range: tuple[int, int] = (18, 35)
    variant_count: int = 1
    second_order: SecondOrder | None = None

    @property
    def uncompressed_count(self) -> int:
        """Number of variants, the first ones, that are not compressed; with ``second_order``, all count."""
        return max(1, round(self.variant_count * (1 - self.compressed_share)))


PRESETS = {
    preset.name: preset
    for preset in (
        Degradation(
            "bd",
            "zero",
            "Gaussian blur 13x13 (sigma 0.8/1.2/1.6 for x2/x3/x4), every s-th pixel from pixel 0",
            (("bd", 1.0),),
        ),
        Degradation("bi", "centre", "centred bicubic with antialiasing (a = -0.5)", (("bicubic", 1.0),)),
        Degradation("pairs", "centre", "low resolution that the data set brings", (("bicubic", 1.0),)),
        Degradation(
            "video",
            "centre",
            "centred bicubic, Lanczos, area or Gaussian; noise up to 3 codes; 60 % H.264/H.265 at crf 18-35",
            (("bicubic", 0.45), ("lanczos3", 0.15), ("area", 0.15), ("gauss", 0.25)),
            max_noise=3.0,
            compressed_share=0.6,
            variant_count=5,
        ),
        Degradation(
            "footage",
            "centre",
            "second order: lens blur, sensor noise and a first encoder on some, then blur, resizing, grain, "
            "sharpening, ringing, interlacing and MPEG-2/H.264/H.265 on most; 1 in 6 plain bicubic",
            (("bicubic", 1.0),),
            compressed_share=SecondOrder().compressed_share,
            variant_count=6,
            second_order=SecondOrder(),
        ),
    )
}


def degrade(
    clip: np.ndarray, scale: int, preset: Degradation, variant: int, rng: np.random.Generator
) -> np.ndarray:
    """Degrade a clip to low resolution.

    Args:
        clip: uint8 (T, H, W, 3), H and W multiples of ``scale``.
        scale: 2, 3 or 4.
        preset: distribution of degradations.
        variant: number of the variant; the first ``round(variant_count * (1 - compressed_share))`` stay
            uncompressed, and variant 0 of every preset is its plain first kernel, so that there are always
            clean pairs.
        rng: source of every random choice.

    Returns:
        uint8 (T, H/scale, W/scale, 3).
    """
    if variant and preset.second_order is not None:
        return degrade_twice(clip, scale, preset.second_order, rng)
    names, shares = zip(*preset.kernel_shares, strict=True)
    kernel = names[0] if variant == 0 else str(rng.choice(names, p=shares))
    sigma = rng.uniform(0.3, 0.4) * scale
    low = np.stack([_downsample(frame, scale, kernel, sigma) for frame in clip])
    if variant and preset.max_noise and rng.random() < 0.5:
        low = low + rng.normal(0, rng.uniform(0.3, preset.max_noise), low.shape).astype(np.float32)
    low = np.clip(np.rint(low), 0, 255).astype(np.uint8)
    if variant and variant >= preset.uncompressed_count:
        for _ in range(2 if rng.random() < 0.15 else 1):
            low = recompress(
                low,
                codec="h264" if rng.random() < 0.75 else "hevc",
                crf=int(rng.integers(preset.crf_range[0], preset.crf_range[1] + 1)),
                preset=str(rng.choice(["veryfast", "medium"])),
            )
    return low


def _downsample(frame: np.ndarray, scale: int, kernel: str, sigma: float) -> np.ndarray:
    height, width = frame.shape[0] // scale, frame.shape[1] // scale
    if kernel == "bd":
        return downsample_bd(frame, scale)
    if kernel == "gauss":
        return resize(_blur(frame, sigma), height, width, "area")
    return resize(frame, height, width, kernel)


def _blur(frame: np.ndarray, sigma: float) -> np.ndarray:
    kernel = gaussian_kernel_1d(sigma, 13).astype(np.float32)
    blurred = frame.astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (6, 6)
        padded = np.pad(blurred, pad, mode="reflect")
        length = blurred.shape[axis]
        window = [padded.take(range(i, i + length), axis) * kernel[i] for i in range(13) if kernel[i] > 1e-6]
        blurred = np.sum(window, axis=0)
    return blurred
