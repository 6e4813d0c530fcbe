"""Clips for scoring: a moving texture, as a video or as a folder of images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT, COUNT = 98, 66, 12  # no multiples of 3 or 4


def frames(seed: int = 0, count: int = COUNT, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a smooth texture that moves two pixels a frame, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: height + 4 * count, : width + 4 * count]
    waves = [(rng.uniform(-0.9, 0.9, 2), rng.uniform(0, 6, 3)) for _ in range(12)]
    texture = sum(np.sin(a[0] * y[..., None] + a[1] * x[..., None] + shift) for a, shift in waves)
    texture = np.clip(127 + 22 * np.asarray(texture), 0, 255).astype(np.uint8)
    return np.stack([texture[2 * t : 2 * t + height, t : t + width] for t in range(count)])


def write_video(path: Path, seed: int = 0, **size: int) -> Path:
    """Write :func:`frames` as a video, encoded nearly without loss."""
    return encode_video(path, frames(seed, **size), "libx264", "yuv444p", crf="6", preset="veryfast")


def write_lossless_video(path: Path, images: np.ndarray) -> Path:
    """Write images as a lossless video."""
    return encode_video(path, images, "ffv1", "bgr0")


def encode_video(path: Path, images: np.ndarray, codec: str, pix_fmt: str, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], pix_fmt
        for pixels in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def write_image_folder(folder: Path, images: np.ndarray, name: str = "Frame {:03d}.png") -> Path:
    """Write images as files, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(images, start=1):
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder


def write_16bit_png(path: Path, image: np.ndarray) -> Path:
    """Write uint16 (H, W, 3) as a PNG of 16 bits."""
    with av.open(str(path), "w", format="image2") as container:
        stream: Any = container.add_stream("png", rate=1, options={"update": "1"})
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "rgb48be"
        frame = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(format="rgb48be")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
