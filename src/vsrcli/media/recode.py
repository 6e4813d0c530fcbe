"""Compress frames and decode them again, in memory: what a real low-resolution film has been through."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

_CODECS = {"h264": "libx264", "hevc": "libx265"}


def recompress(
    frames: np.ndarray, *, codec: str = "h264", crf: int = 23, preset: str = "medium"
) -> np.ndarray:
    """One generation of lossy compression over a whole clip, so that artefacts are consistent in time.

    Args:
        frames: uint8 R'G'B' (T, H, W, 3). Odd sizes are extended by their last row or column for 4:2:0.
        codec: ``h264`` or ``hevc``.
        crf: constant rate factor of libx264 or libx265.
        preset: the encoder's preset.

    Returns:
        uint8 (T, H, W, 3): as many frames, as decoded.
    """
    count, height, width, _ = frames.shape
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    options = {"crf": str(crf), "preset": preset}
    if codec == "hevc":
        options["x265-params"] = "log-level=none:pools=1"
    with av.open(buffer, "w", format="nut") as container:
        stream = container.add_stream(_CODECS[codec], rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = even.shape[2], even.shape[1], "yuv420p"  # type: ignore[attr-defined]
        stream.codec_context.thread_count = 1  # the same bytes on every machine, and threads for others
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
