"""Degradations: named presets that turn high-resolution clips into low-resolution ones.

``bd`` and ``bi`` are the protocols of the literature. ``video`` models real footage: any scaler, a little
noise, H.264 or H.265 at any quality over the full clip, sometimes twice. A weight file states the preset that
it was trained on.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from vsrcli.frames.resample import downsample_bd, gaussian_kernel_1d, resize

_ENCODERS = {"h264": "libx264", "hevc": "libx265"}


def recompress(
    frames: np.ndarray, *, codec: str = "h264", crf: int = 23, preset: str = "medium"
) -> np.ndarray:
    """Encode and decode a clip in memory: one generation of lossy compression, with artefacts consistent in
    time.

    Args:
        frames: uint8 R'G'B' (T, H, W, 3). Odd sizes are padded by their last row or column for 4:2:0.
        codec: ``h264`` or ``hevc``.
        crf: constant rate factor of libx264 or libx265.
        preset: the encoder's preset.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        RuntimeError: the codec returns another number of frames.
    """
    count, height, width, _ = frames.shape
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    options = {"crf": str(crf), "preset": preset}
    if codec == "hevc":
        options["x265-params"] = "log-level=none:pools=1"
    with av.open(buffer, "w", format="nut") as container:
        stream = container.add_stream(_ENCODERS[codec], rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = even.shape[2], even.shape[1], "yuv420p"  # type: ignore[attr-defined]
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for index, pixels in enumerate(even):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation="BICUBIC")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]
    buffer.seek(0)
    with av.open(buffer, "r", format="nut") as container:
        decoded = [
            frame.reformat(format="rgb24", src_colorspace="ITU709", interpolation="BICUBIC").to_ndarray()
            for frame in container.decode(video=0)
        ]
    if len(decoded) != count:
        raise RuntimeError(f"{codec} gave {len(decoded)} frames back for {count}")
    return np.stack(decoded)[:, :height, :width]


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
    """

    name: str
    phase: str
    summary: str
    kernel_shares: tuple[tuple[str, float], ...]
    max_noise: float = 0.0
    compressed_share: float = 0.0
    crf_range: tuple[int, int] = (18, 35)
    variant_count: int = 1


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
        Degradation(
            "video",
            "centre",
            "centred bicubic, Lanczos, area or Gaussian; noise up to 3 codes; 60 % H.264/H.265 at crf 18-35",
            (("bicubic", 0.45), ("lanczos3", 0.15), ("area", 0.15), ("gauss", 0.25)),
            max_noise=3.0,
            compressed_share=0.6,
            variant_count=5,
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
    names, shares = zip(*preset.kernel_shares, strict=True)
    kernel = names[0] if variant == 0 else str(rng.choice(names, p=shares))
    sigma = rng.uniform(0.3, 0.4) * scale
    low = np.stack([_downsample(frame, scale, kernel, sigma) for frame in clip])
    if variant and preset.max_noise and rng.random() < 0.5:
        low = low + rng.normal(0, rng.uniform(0.3, preset.max_noise), low.shape).astype(np.float32)
    low = np.clip(np.rint(low), 0, 255).astype(np.uint8)
    if variant >= round(preset.variant_count * (1 - preset.compressed_share)):
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
