"""Films made from photographs: a smooth random camera and a foreground that moves by itself.

Exact motion without limit, from pictures that no codec has touched.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FRAMES = 16
WIDTH, HEIGHT = 384, 288


def camera_move(photo: Image.Image, other: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A short film from one photograph, half of the time with a patch of another one passing in front.

    Args:
        photo: the scene, at least ``WIDTH`` x ``HEIGHT``.
        other: where the foreground patch is taken from.
        rng: source of every random choice.

    Returns:
        uint8 (FRAMES, HEIGHT, WIDTH, 3).
    """
    scene = _path(photo.size, rng, speed=rng.choice([0.5, 2.0, 5.0]))
    frames = [_look(photo, move) for move in scene]
    if rng.random() < 0.5:
        mask = _blob(rng)
        patch = _path(other.size, rng, speed=0.7)
        drift = rng.uniform(-7, 7, 2)
        for index, move in enumerate(patch):
            right, down = (int(v) for v in np.rint(drift * (index - FRAMES / 2)))
            moved = Image.new("L", mask.size)
            moved.paste(mask, (right, down))
            frames[index] = Image.composite(_look(other, move), frames[index], moved)
    return np.stack([np.asarray(frame) for frame in frames])


def _path(size: tuple[int, int], rng: np.random.Generator, speed: float) -> list[tuple[float, ...]]:
    """Affine coefficients (output to input pixels) of a smooth path that stays inside the picture if it
    can."""
    time = np.arange(FRAMES) - (FRAMES - 1) / 2
    velocity = rng.normal(0, speed, 2)
    wobble = rng.uniform(0, speed, 2)[:, None] * np.sin(
        time * rng.uniform(0.1, 0.7) + rng.uniform(0, 2 * np.pi, (2, 1))
    )
    offset = velocity[:, None] * time + wobble  # 2, FRAMES
    angle = np.deg2rad(rng.normal(0, 8) + rng.normal(0, 0.25) * speed * time / 2)
    zoom = rng.uniform(0.85, 1.15) * np.exp(rng.normal(0, 0.002) * speed * time)
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
