"""Generate clips of moving textures."""

from fractions import Fraction

import av
import numpy as np
from PIL import Image


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Return a smooth random image, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def write_clip(path, seed: int, frames: int = 12, height: int = 48, width: int = 60) -> None:
    """Write a texture that moves by one or two pixels per frame, losslessly encoded."""
    scene = texture(seed, height + 40, width + 40)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(25), options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        for t in range(frames):
            pixels = np.ascontiguousarray(scene[t : t + height, 2 * t : 2 * t + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
