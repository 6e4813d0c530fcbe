"""Films made from photographs: a smooth random camera and a foreground that moves by itself.

Exact motion without limit, from pictures that no codec has touched. Films are not always sharp, and truth
that always is teaches a network to sharpen what should stay soft; so some takes are blurred by motion or
focus, and some stand still.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FRAMES = 16
WIDTH, HEIGHT = 384, 288
TIMES = np.arange(FRAMES) - (FRAMES - 1) / 2  # of the frames, in frames from the middle of the take
INSTANTS = 12  # of one exposure
GAMMA = 2.2  # light adds up, codes do not


def camera_move(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A short film from one photograph, half of the time with a patch of another one passing in front.

    Args:
        photo: the scene, at least ``WIDTH`` x ``HEIGHT``.
        other: where the foreground patch is taken from.
        rng: source of every random choice.

    Returns:
        uint8 (FRAMES, HEIGHT, WIDTH, 3).
    """
    return _film(photo, other, rng, (0.5, 2.0, 5.0), TIMES)


def static_camera(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """As :func:`camera_move` from a tripod: the scene stands still, though not what passes in front.

    Only noise and codecs tell its frames apart once it is degraded.
    """
    return _film(photo, other, rng, (0.0,), TIMES)


def motion_blurred(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """As :func:`camera_move`, with a shutter that stays open for 30 to 100 % of each frame's time: every
    frame is the mean light of ``INSTANTS`` moments along the path."""
    shutter = rng.uniform(0.3, 1.0)
    instants = TIMES[:, None] + shutter * (np.arange(INSTANTS) / (INSTANTS - 1) - 0.5)
    light = _light(_film(photo, other, rng, (3.0, 6.0, 12.0), instants.ravel()))
    return _codes(light.reshape(FRAMES, INSTANTS, HEIGHT, WIDTH, 3).mean(axis=1))


def defocused(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """As :func:`camera_move`, out of focus: a Gaussian, or the disc of a lens, of 1 to 6 pixels; half of the
    time the focus is pulled from one size to another."""
    sizes = np.exp(rng.uniform(np.log(1.0), np.log(6.0), 2))
    sizes = np.geomspace(sizes[0], sizes[1] if rng.random() < 0.5 else sizes[0], FRAMES)
    point = _disc if rng.random() < 0.5 else _gaussian
    sharp = _light(camera_move(photo, other, rng))
    return _codes(np.stack([_spread(frame, point, size) for frame, size in zip(sharp, sizes, strict=True)]))


def _film(
    photo: Image.Image,
    other: Image.Image,
    rng: np.random.Generator,
    speeds: tuple[float, ...],
    times: np.ndarray,
) -> np.ndarray:
    """The scene at each of ``times``; its speed in pixels a frame is one of ``speeds``."""
    scene = _path(photo.size, rng, rng.choice(speeds), times)
    frames = [_look(photo, move) for move in scene]
    if rng.random() < 0.5:
        mask = _blob(rng)
        patch = _path(other.size, rng, 0.7, times)
        drift = rng.uniform(-7, 7, 2)
        for index, (time, move) in enumerate(zip(times, patch, strict=True)):
            right, down = (int(v) for v in np.rint(drift * (time - 0.5)))
            moved = Image.new("L", mask.size)
            moved.paste(mask, (right, down))
            frames[index] = Image.composite(_look(other, move), frames[index], moved)
    return np.stack([np.asarray(frame) for frame in frames])


def _path(
    size: tuple[int, int], rng: np.random.Generator, speed: float, times: np.ndarray
) -> list[tuple[float, ...]]:
    """Affine coefficients (output to input pixels) of a smooth path that stays inside the picture if it
    can."""
    velocity = rng.normal(0, speed, 2)
    wobble = rng.uniform(0, speed, 2)[:, None] * np.sin(
        times * rng.uniform(0.1, 0.7) + rng.uniform(0, 2 * np.pi, (2, 1))
    )
    offset = velocity[:, None] * times + wobble  # 2, times
    angle = np.deg2rad(rng.normal(0, 8) + rng.normal(0, 0.25) * speed * times / 2)
    zoom = rng.uniform(0.85, 1.15) * np.exp(rng.normal(0, 0.002) * speed * times)
    reach_x, reach_y = (np.abs(axis).max() for axis in offset)
    centre_x = _between(rng, WIDTH * 0.65 + reach_x, size[0] - WIDTH * 0.65 - reach_x)
    centre_y = _between(rng, HEIGHT * 0.65 + reach_y, size[1] - HEIGHT * 0.65 - reach_y)
    moves = []
    for a, z, dx, dy in zip(angle, zoom, *offset, strict=True):
        cos, sin = z * np.cos(a), z * np.sin(a)
        x = centre_x + dx - cos * WIDTH / 2 + sin * HEIGHT / 2
        y = centre_y + dy - sin * WIDTH / 2 - cos * HEIGHT / 2
        moves.append((cos, -sin, x, sin, cos, y))
    return moves


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high)) if low < high else (low + high) / 2


def _look(photo: Image.Image, move: tuple[float, ...]) -> Image.Image:
    return photo.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, move, Image.Resampling.BICUBIC)


def _blob(rng: np.random.Generator) -> Image.Image:
    """A soft-edged polygon, the silhouette of the foreground."""
    count = int(rng.integers(5, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(40, 120, count)
    x = WIDTH * rng.uniform(0.25, 0.75) + radii * np.cos(angles)
    y = HEIGHT * rng.uniform(0.25, 0.75) + radii * np.sin(angles)
    mask = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(mask).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.5))))


def _light(codes: np.ndarray) -> np.ndarray:
    table = (np.arange(256, dtype=np.float32) / 255) ** GAMMA
    return table[codes]


def _codes(light: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)


def _disc(distance: np.ndarray, radius: float) -> np.ndarray:
    return np.clip(radius + 0.5 - distance, 0, 1)


def _gaussian(distance: np.ndarray, radius: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / (radius / 1.5)) ** 2)


def _spread(light: np.ndarray, point, radius: float) -> np.ndarray:
    """A picture (H, W, 3) whose every point has become ``point(distance, radius)``; borders repeat."""
    reach = int(np.ceil(3 * radius))
    offsets = np.arange(-reach, reach + 1)
    spot = point(np.hypot(offsets[:, None], offsets[None]), radius)
    padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = padded.shape[:2]
    spectrum = np.fft.rfft2(spot / spot.sum(), (height, width))[..., None]
    blurred = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, (height, width), axes=(0, 1))
    return blurred[2 * reach :, 2 * reach :]
