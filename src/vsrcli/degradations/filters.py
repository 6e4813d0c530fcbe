"""What lenses, sensors, film and players do to frames: blur, noise, grain, halos, ringing and interlacing.

Frames are float32 (H, W, 3) in 8-bit codes, not clipped. Every kernel is symmetric, so no filter shifts the
picture, and sums to one, so none changes its brightness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RINGING_SIZE = 21  # of the kernel of a sinc filter (Wang et al., ICCVW 2021, section 3.3)
_FFT_MULTIPLE = 24  # of the sides that a frame is extended to: transforms of other lengths are slow
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def blur_kernel(kind: str, radius: float, ratio: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """Return a blur kernel, float64 of odd sides, sum 1.

    Args:
        kind: ``gaussian``, ``box``, ``defocus`` (a disc) or ``motion`` (a straight line).
        radius: standard deviation of the Gaussian, half the side of the box, radius of the disc or half the
            length of the line, in pixels.
        ratio: the Gaussian's standard deviation across ``angle`` over that along it, at most 1.
        angle: direction of the longer axis of a Gaussian, or of a line, in radians.

    Raises:
        ValueError: another kind.
    """
    margin = int(np.ceil(3 * radius if kind == "gaussian" else radius + 0.5))
    offsets = np.arange(-margin, margin + 1)
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    along = np.abs(x * np.cos(angle) + y * np.sin(angle))
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    if kind == "gaussian":
        kernel = np.exp(-0.5 * ((along / radius) ** 2 + (across / (ratio * radius)) ** 2))
    elif kind == "box":
        kernel = _coverage(np.abs(x), radius) * _coverage(np.abs(y), radius)
    elif kind == "defocus":
        kernel = _coverage(np.hypot(x, y), radius)
    elif kind == "motion":
        kernel = _coverage(along, radius) * np.clip(1 - across, 0, 1)
    else:
        raise ValueError(f"no blur named {kind!r}")
    return kernel / kernel.sum()


def ringing_kernel(cutoff: float) -> np.ndarray:
    """Return a circular low-pass with a sharp edge, cut to ``RINGING_SIZE``: it rings along contours.

    Args:
        cutoff: the highest frequency that passes, in cycles per pixel, below 0.5.
    """
    size = 256  # of the grid on which the ideal filter is computed
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    ideal = np.fft.fftshift(np.fft.ifft2(frequency <= cutoff).real)
    first = size // 2 - RINGING_SIZE // 2
    kernel = ideal[first : first + RINGING_SIZE, first : first + RINGING_SIZE]
    return kernel / kernel.sum()


def convolve(frame: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve a frame with a kernel of odd sides; border pixels are repeated."""
    margin, (height, width) = kernel.shape[0] // 2, frame.shape[:2]
    planes = np.moveaxis(frame, -1, 0)
    padded = np.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    size = [-(-side // _FFT_MULTIPLE) * _FFT_MULTIPLE for side in padded.shape[1:]]
    spectrum = np.fft.rfft2(padded, size) * np.fft.rfft2(kernel.astype(np.float32), size)
    result = np.fft.irfft2(spectrum, size)[
        :, 2 * margin : 2 * margin + height, 2 * margin : 2 * margin + width
    ]
    return np.ascontiguousarray(np.moveaxis(result, 0, -1), np.float32)


def sharpened(frame: np.ndarray, radius: float, amount: float) -> np.ndarray:
    """Sharpen as cameras and players do, by an unsharp mask, which leaves halos along contours."""
    return frame + amount * (frame - convolve(frame, blur_kernel("gaussian", radius)))


def sensor_noise(
    frame: np.ndarray, shot: float, read: float, chroma: bool, rng: np.random.Generator
) -> np.ndarray:
    """Add the noise of a sensor, whose variance is the signal's share of photons plus a constant.

    Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", 2008.

    Args:
        frame: see the module.
        shot: standard deviation that white has from photons, in codes.
        read: standard deviation of black, in codes.
        chroma: every channel has its own noise, else all have the same.
        rng: source of the noise.
    """
    deviation = np.sqrt(shot**2 * np.clip(frame, 0, 255) / 255 + read**2)
    return frame + deviation * rng.standard_normal((*frame.shape[:2], 3 if chroma else 1), np.float32)


def film_grain(frame: np.ndarray, strength: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Add grain: the same in all channels, soft, strongest in the mid-tones, new in every frame.

    Args:
        frame: see the module.
        strength: standard deviation in the mid-tones, in codes.
        size: standard deviation of the blur that makes the grain soft, in pixels.
        rng: source of the grain.
    """
    grain = rng.standard_normal((*frame.shape[:2], 1), np.float32)
    kernel = blur_kernel("gaussian", size)
    grain = convolve(grain, kernel) / np.float32(np.sqrt(np.sum(kernel**2)))
    luma = np.clip(frame @ _LUMA, 0, 255)[..., None] / 255
    return frame + strength * 4 * luma * (1 - luma) * grain


def interlacing_remains(frames: Sequence[np.ndarray], kind: str, share: float) -> list[np.ndarray]:
    """Return frames as they are left when interlaced video was made progressive badly.

    Every second line of frame t comes from frame t + 1, the other field.

    Args:
        frames: a clip; its last frame stays as it is.
        kind: ``comb`` (both fields woven), ``blend`` (each line mixed with its neighbour of the other field),
            or ``bob`` (one field, its missing lines interpolated).
        share: how much of the other field is seen, 0 to 1; for ``bob``, how much of the interpolated lines.

    Raises:
        ValueError: another kind.
    """
    result = []
    for frame, following in zip(frames, [*frames[1:], frames[-1]], strict=True):
        woven = frame.copy()
        if kind == "comb":
            woven[1::2] += share * (following[1::2] - frame[1::2])
        elif kind == "blend":
            woven += 0.5 * share * (following - frame)
        elif kind == "bob":
            padded = np.pad(frame, ((0, 2), (0, 0), (0, 0)), mode="edge")
            lines = (padded[:-2] + padded[2:])[: len(frame)] / 2  # of line i and line i + 2, for line i + 1
            woven[1::2] += share * (lines[0::2][: len(woven[1::2])] - frame[1::2])
        else:
            raise ValueError(f"no remains of interlacing named {kind!r}")
        result.append(woven)
    return result


def _coverage(distance: np.ndarray, radius: float) -> np.ndarray:
    return np.clip(radius + 0.5 - distance, 0, 1)
