"""ffmpeg's coders of pictures, called by name and given bytes: no container, no file, no choice of reader."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.media.safety import MAX_PIXELS


def decode_image(content: bytes, codec: str, options: dict[str, str] | None = None) -> Any:
    """The one frame in a file's bytes.

    Raises:
        ValueError, av.FFmpegError: there is none, or not all of it.
    """
    import av

    context: Any = av.CodecContext.create(codec, "r")
    context.options = {"max_pixels": str(MAX_PIXELS), **(options or {})}
    frames = context.decode(av.Packet(content))
    if not frames:
        frames = context.decode(None)
    if len(frames) != 1 or frames[0].is_corrupt:
        raise ValueError("its pixels are incomplete")
    return frames[0]


def frame_to_array(frame: Any) -> np.ndarray:
    """Integer pixels of one plane: (H, W, channels) in this machine's byte order."""
    bits, name = frame.format.components[0].bits, frame.format.name
    order = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if name.endswith("be") else "<u2")
    channels = len(frame.format.components)
    if len(frame.planes) != 1 or bits not in (8, 16):
        raise ValueError(f"ffmpeg decodes it as {name}, which is not taken")
    rows = np.frombuffer(frame.planes[0], order).reshape(frame.height, -1)
    pixels = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return pixels.astype(order.newbyteorder("="))


def encode_image(codec: str, name: str, planes: list[np.ndarray], options: dict[str, str]) -> bytes:
    """A file's bytes.

    Args:
        codec: the encoder.
        name: of the pixel format.
        planes: its planes, (H, W) or (H, W, channels).
        options: of the encoder.

    Raises:
        av.FFmpegError: it refused.
    """
    import av

    height, width = planes[0].shape[:2]
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, name
    context.time_base, context.options = Fraction(1, 25), options
    context.thread_count = 1
    frame = av.VideoFrame(width, height, name)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(values).reshape(height, -1).view(np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
