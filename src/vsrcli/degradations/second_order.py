"""Degradations of second order: a clip is recorded, and the recording is processed again.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCVW 2021,
apply blur, resizing, noise and compression twice, for images on the web have more than one generation. So
has video: a lens, a sensor and a camera's encoder come first, then a scaler, a restorer, a broadcaster or a
web site, each with its own encoder. Here encoders work on whole clips, so that their artefacts last and jump
from frame to frame as real ones do, and all other parameters are constant over a clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsrcli.degradations.compression import recompress
from vsrcli.degradations.filters import (
    blur_kernel,
    convolve,
    film_grain,
    interlacing_remains,
    ringing_kernel,
    sensor_noise,
    sharpened,
)
from vsrcli.frames.resample import resize


@dataclass(frozen=True)
class SecondOrder:
    """A distribution of histories. A *share* is a probability; ranges are drawn from uniformly.

    Attributes:
        lens_shares: kinds of the first blur and their probabilities; ``anisotropic`` is a Gaussian.
        lens_radius: range of its radius, in pixels of the final low resolution; drawn twice, the smaller
            counts.
        kernel_shares: kernels of every resizing.
        noisy_share, shot_noise, read_noise: noise of the sensor, see ``filters.sensor_noise``.
        recorded_share: share of clips that the camera compresses.
        blurred_share, blur_radius: a second blur, a Gaussian.
        chain_share, chain_factor: share of clips that are made smaller than the low resolution and enlarged
            again, and their size on the way.
        grainy_share, grain: film grain.
        halo_share, halo: sharpening by an unsharp mask, and its amount.
        ringing_share, ringing_cutoff: a sinc filter, and its cutoff in cycles per pixel.
        interlaced_share: remains of interlacing.
        compressed_share: share of clips whose final form is compressed.
        twice_share: share of these that are compressed once more.
        codec_shares: codecs and their probabilities.
        crf_range: smallest and largest constant rate factor of H.264; H.265 has 2 more.
        quantizer_range: smallest and largest scale of the quantizer of MPEG-2.
    """

    lens_shares: tuple[tuple[str, float], ...] = (
        ("none", 0.2),
        ("gaussian", 0.25),
        ("anisotropic", 0.2),
        ("defocus", 0.15),
        ("box", 0.1),
        ("motion", 0.1),
    )
    lens_radius: tuple[float, float] = (0.1, 0.9)
    kernel_shares: tuple[tuple[str, float], ...] = (
        ("bicubic", 0.35),
        ("area", 0.25),
        ("linear", 0.2),
        ("lanczos3", 0.2),
    )
    noisy_share: float = 0.5
    shot_noise: tuple[float, float] = (0.5, 9.0)
    read_noise: tuple[float, float] = (0.2, 4.0)
    recorded_share: float = 0.35
    blurred_share: float = 0.3
    blur_radius: tuple[float, float] = (0.2, 0.6)
    chain_share: float = 0.3
    chain_factor: tuple[float, float] = (0.55, 0.95)
    grainy_share: float = 0.2
    grain: tuple[float, float] = (1.0, 6.0)
    halo_share: float = 0.2
    halo: tuple[float, float] = (0.2, 1.0)
    ringing_share: float = 0.2
    ringing_cutoff: tuple[float, float] = (0.25, 0.48)
    interlaced_share: float = 0.1
    compressed_share: float = 0.85
    twice_share: float = 0.2
    codec_shares: tuple[tuple[str, float], ...] = (("h264", 0.6), ("hevc", 0.2), ("mpeg2", 0.2))
    crf_range: tuple[int, int] = (18, 36)
    quantizer_range: tuple[int, int] = (2, 14)


def degrade_twice(clip: np.ndarray, scale: int, history: SecondOrder, rng: np.random.Generator) -> np.ndarray:
    """Degrade a clip to low resolution by one history.

    Args:
        clip: uint8 (T, H, W, 3), H and W multiples of ``scale``.
        scale: 2, 3 or 4.
        history: what may happen.
        rng: source of every random choice.

    Returns:
        uint8 (T, H/scale, W/scale, 3), on the centred grid.
    """
    height, width = clip.shape[1] // scale, clip.shape[2] // scale
    frames = _record(clip, scale, history, rng)
    frames = _process(frames, height, width, history, rng)
    if rng.random() >= history.compressed_share:
        return _to_codes(frames)
    for _ in range(2 if rng.random() < history.twice_share else 1):
        frames = _compress(frames, history, rng)
    return np.stack(frames)


def _record(clip: np.ndarray, scale: int, history: SecondOrder, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the frames of the recording, between the low resolution and the clip's own in size."""
    lens = _lens(scale, history, rng)
    size = np.exp(rng.uniform(0, np.log(scale))) / scale  # of the clip's
    height, width = (max(8, round(size * side)) for side in clip.shape[1:3])
    kernel = _draw(history.kernel_shares, rng)
    frames = [
        resize(frame if lens is None else convolve(frame, lens), height, width, kernel) for frame in clip
    ]
    if rng.random() < history.noisy_share:
        shot, read, chroma = rng.uniform(*history.shot_noise), rng.uniform(*history.read_noise), rng.random()
        frames = [sensor_noise(frame, shot, read, chroma < 0.6, rng) for frame in frames]
    return _compress(frames, history, rng) if rng.random() < history.recorded_share else frames


def _process(
    frames: list[np.ndarray], height: int, width: int, history: SecondOrder, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the frames in low resolution, after everything but the last encoder."""
    if rng.random() < history.blurred_share:
        radius = rng.uniform(*history.blur_radius) * frames[0].shape[0] / height
        frames = [convolve(frame, blur_kernel("gaussian", radius)) for frame in frames]
    if rng.random() < history.chain_share:
        factor, kernel = rng.uniform(*history.chain_factor), _draw(history.kernel_shares, rng)
        low, narrow = (max(8, round(factor * side)) for side in (height, width))
        frames = [resize(frame, low, narrow, kernel) for frame in frames]
    kernel = _draw(history.kernel_shares, rng)
    frames = [resize(frame, height, width, kernel) for frame in frames]
    if rng.random() < history.grainy_share:
        strength, size = rng.uniform(*history.grain), rng.uniform(0.3, 0.9)
        frames = [film_grain(frame, strength, size, rng) for frame in frames]
    if rng.random() < history.interlaced_share:
        kind, share = str(rng.choice(["comb", "blend", "bob"])), rng.uniform(0.3, 1.0)
        frames = interlacing_remains(frames, kind, share)
    if rng.random() < history.halo_share:
        radius, amount = rng.uniform(0.6, 1.5), rng.uniform(*history.halo)
        frames = [sharpened(frame, radius, amount) for frame in frames]
    if rng.random() < history.ringing_share:
        kernel = ringing_kernel(rng.uniform(*history.ringing_cutoff))
        frames = [convolve(frame, kernel) for frame in frames]
    return frames


def _lens(scale: int, history: SecondOrder, rng: np.random.Generator) -> np.ndarray | None:
    """Return the kernel of the lens on the clip's own grid; None for a perfect one."""
    kind = _draw(history.lens_shares, rng)
    radius = scale * min(rng.uniform(*history.lens_radius, 2))
    ratio, angle = rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    if kind == "none":
        return None
    if kind == "anisotropic":
        return blur_kernel("gaussian", radius, max(ratio, 0.2 / radius), angle)
    # A disc, a box and a line have half to three quarters of the deviation of a Gaussian of their radius.
    return blur_kernel(kind, radius if kind == "gaussian" else 1.7 * radius, angle=angle)


def _compress(frames: list[np.ndarray], history: SecondOrder, rng: np.random.Generator) -> list[np.ndarray]:
    codec = _draw(history.codec_shares, rng)
    low, high = history.quantizer_range if codec == "mpeg2" else history.crf_range
    quality = int(rng.integers(low, high + 1)) + 2 * (codec == "hevc")
    preset = str(rng.choice(["veryfast", "medium"]))
    return list(recompress(_to_codes(frames), codec=codec, crf=quality, preset=preset))


def _to_codes(frames: list[np.ndarray]) -> np.ndarray:
    return np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.uint8)


def _draw(shares: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    names, probabilities = zip(*shares, strict=True)
    return str(rng.choice(names, p=probabilities))
