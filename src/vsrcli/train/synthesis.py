"""Clips rendered from photographs: a smooth random camera, and a foreground with its own motion.

They provide unlimited exact motion from images without compression artefacts. Real footage is not always
sharp, and truth that always is teaches a network to sharpen what should stay soft; so some clips are blurred
by motion or focus, and some are static.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FRAMES = 16
WIDTH, HEIGHT = 384, 288
FRAME_TIMES = np.arange(FRAMES) - (FRAMES - 1) / 2  # in frames from the middle of the clip
EXPOSURE_SAMPLES = 12  # averaged into one motion-blurred frame
GAMMA = 2.2  # light is additive, code values are not


def camera_move(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Render a short clip from one photograph; with probability 1/2, a patch of another passes in front.

    Args:
        photo: the scene, at least ``WIDTH`` x ``HEIGHT``.
        other: the photograph that the foreground patch is cut from.
        rng: source of all random choices.

    Returns:
        uint8 (FRAMES, HEIGHT, WIDTH, 3).
    """
    return _render_clip(photo, other, rng, (0.5, 2.0, 5.0), FRAME_TIMES)


def static_camera(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Render a clip as :func:`camera_move` does, with a static camera; the foreground may still move.

    Once degraded, frames of the static scene differ by noise and compression only.
    """
    return _render_clip(photo, other, rng, (0.0,), FRAME_TIMES)


def motion_blurred(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Render a clip as :func:`camera_move` does, with motion blur.

    The shutter is open for 30 to 100 % of each frame's duration; every frame is the mean of
    ``EXPOSURE_SAMPLES`` views along the path, in linear light.
    """
    shutter = rng.uniform(0.3, 1.0)
    instants = FRAME_TIMES[:, None] + shutter * (np.arange(EXPOSURE_SAMPLES) / (EXPOSURE_SAMPLES - 1) - 0.5)
    light = _to_linear(_render_clip(photo, other, rng, (3.0, 6.0, 12.0), instants.ravel()))
    return _to_codes(light.reshape(FRAMES, EXPOSURE_SAMPLES, HEIGHT, WIDTH, 3).mean(axis=1))


def defocused(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Render a clip as :func:`camera_move` does, out of focus.

    The blur is a Gaussian or a disc of 1 to 6 pixels; with probability 1/2, its size changes over the clip.
    """
    sizes = np.exp(rng.uniform(np.log(1.0), np.log(6.0), 2))
    sizes = np.geomspace(sizes[0], sizes[1] if rng.random() < 0.5 else sizes[0], FRAMES)
    point = _disc if rng.random() < 0.5 else _gaussian
    sharp = _to_linear(camera_move(photo, other, rng))
    return _to_codes(
        np.stack([_convolve(frame, point, size) for frame, size in zip(sharp, sizes, strict=True)])
    )


def _render_clip(
    photo: Image.Image,
    other: Image.Image,
    rng: np.random.Generator,
    speeds: tuple[float, ...],
    times: np.ndarray,
) -> np.ndarray:
    """Render the scene at each of ``times``; its speed in pixels per frame is one of ``speeds``."""
    scene = _camera_path(photo.size, rng, rng.choice(speeds), times)
    frames = [_render_view(photo, move) for move in scene]
    if rng.random() < 0.5:
        mask = _foreground_mask(rng)
        patch = _camera_path(other.size, rng, 0.7, times)
        drift = rng.uniform(-7, 7, 2)
        for index, (time, move) in enumerate(zip(times, patch, strict=True)):
            right, down = (int(v) for v in np.rint(drift * (time - 0.5)))
            moved = Image.new("L", mask.size)
            moved.paste(mask, (right, down))
            frames[index] = Image.composite(_render_view(other, move), frames[index], moved)
    return np.stack([np.asarray(frame) for frame in frames])


def _camera_path(
    size: tuple[int, int], rng: np.random.Generator, speed: float, times: np.ndarray
) -> list[tuple[float, ...]]:
    """Return affine coefficients (output to input pixels) at each of ``times``, along a smooth path.

    The path stays inside the photograph if possible.
    """
    velocity = rng.normal(0, speed, 2)
    wobble = rng.uniform(0, speed, 2)[:, None] * np.sin(
        times * rng.uniform(0.1, 0.7) + rng.uniform(0, 2 * np.pi, (2, 1))
    )
    offset = velocity[:, None] * times + wobble  # 2, times
    angle = np.deg2rad(rng.normal(0, 8) + rng.normal(0, 0.25) * speed * times / 2)
    zoom = rng.uniform(0.85, 1.15) * np.exp(rng.normal(0, 0.002) * speed * times)
    extent_x, extent_y = (np.abs(axis).max() for axis in offset)
    centre_x = _uniform_or_middle(rng, WIDTH * 0.65 + extent_x, size[0] - WIDTH * 0.65 - extent_x)
    centre_y = _uniform_or_middle(rng, HEIGHT * 0.65 + extent_y, size[1] - HEIGHT * 0.65 - extent_y)
    moves = []
    for a, z, dx, dy in zip(angle, zoom, *offset, strict=True):
        cos, sin = z * np.cos(a), z * np.sin(a)
        x = centre_x + dx - cos * WIDTH / 2 + sin * HEIGHT / 2
        y = centre_y + dy - sin * WIDTH / 2 - cos * HEIGHT / 2
        moves.append((cos, -sin, x, sin, cos, y))
    return moves


def _uniform_or_middle(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high)) if low < high else (low + high) / 2


def _render_view(photo: Image.Image, move: tuple[float, ...]) -> Image.Image:
    return photo.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, move, Image.Resampling.BICUBIC)


def _foreground_mask(rng: np.random.Generator) -> Image.Image:
    """Return the mask of the foreground, a soft-edged polygon."""
    count = int(rng.integers(5, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(40, 120, count)
    x = WIDTH * rng.uniform(0.25, 0.75) + radii * np.cos(angles)
    y = HEIGHT * rng.uniform(0.25, 0.75) + radii * np.sin(angles)
    mask = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(mask).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.5))))


def _to_linear(codes: np.ndarray) -> np.ndarray:
    table = (np.arange(256, dtype=np.float32) / 255) ** GAMMA
    return table[codes]


def _to_codes(light: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)


def _disc(distance: np.ndarray, radius: float) -> np.ndarray:
    return np.clip(radius + 0.5 - distance, 0, 1)


def _gaussian(distance: np.ndarray, radius: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / (radius / 1.5)) ** 2)


def _convolve(light: np.ndarray, point_spread, radius: float) -> np.ndarray:
    """Convolve (H, W, 3) with ``point_spread(distance, radius)``, normalized; border pixels are repeated."""
    margin = int(np.ceil(3 * radius))
    offsets = np.arange(-margin, margin + 1)
    kernel = point_spread(np.hypot(offsets[:, None], offsets[None]), radius)
    padded = np.pad(light, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    height, width = padded.shape[:2]
    spectrum = np.fft.rfft2(kernel / kernel.sum(), (height, width))[..., None]
    blurred = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, (height, width), axes=(0, 1))
    return blurred[2 * margin :, 2 * margin :]
