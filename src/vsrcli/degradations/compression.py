"""Lossy video compression of a clip in memory."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

from vsrcli.media.conversion import EXACT

_MIN_HEVC_SIDE = 64  # libx265 writes outside its memory where a frame is smaller than its largest block
_ENCODERS = {"h264": "libx264", "hevc": "libx265", "mpeg2": "mpeg2video"}


def recompress(
    frames: np.ndarray, *, codec: str = "h264", crf: int = 23, preset: str = "medium"
) -> np.ndarray:
    """Encode and decode a clip in memory: one generation of lossy compression, with artefacts consistent in
    time.

    Args:
        frames: uint8 R'G'B' (T, H, W, 3). Odd sizes are padded by their last row or column for 4:2:0, small
            ones for H.265.
        codec: ``h264``, ``hevc`` or ``mpeg2``.
        crf: constant rate factor of libx264 or libx265; for ``mpeg2``, the quantizer's scale, 2 to 31.
        preset: the encoder's preset; ``mpeg2`` has none.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        RuntimeError: the codec returns another number of frames.
    """
    count, height, width, _ = frames.shape
    least = _MIN_HEVC_SIDE if codec == "hevc" else 2
    bottom, right = (max(side % 2, least - side) for side in (height, width))
    even = np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="nut") as container:
        stream = container.add_stream(
            _ENCODERS[codec], rate=Fraction(25), options=_encoder_options(codec, crf, preset)
        )
        stream.width, stream.height, stream.pix_fmt = even.shape[2], even.shape[1], "yuv420p"  # type: ignore[attr-defined]
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for index, pixels in enumerate(even):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation=EXACT)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]
    buffer.seek(0)
    with av.open(buffer, "r", format="nut") as container:
        decoded = [
            frame.reformat(format="rgb24", src_colorspace="ITU709", interpolation=EXACT).to_ndarray()
            for frame in container.decode(video=0)
        ]
    if len(decoded) != count:
        raise RuntimeError(f"{codec} gave {len(decoded)} frames back for {count}")
    return np.stack(decoded)[:, :height, :width]


def _encoder_options(codec: str, crf: int, preset: str) -> dict[str, str]:
    if codec == "mpeg2":  # groups of 15 with two B frames, as on DVDs and in broadcasts
        return {"qmin": str(crf), "qmax": str(crf), "g": "15", "bf": "2", "b": "100M"}
    options = {"crf": str(crf), "preset": preset}
    if codec == "hevc":
        options["x265-params"] = "log-level=none:pools=1"
    return options
