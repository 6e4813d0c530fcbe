"""Conversion of PyAV's frames to 8-bit R'G'B', as exact as that of ``vsr upscale``, and their colour tags."""

from __future__ import annotations

from typing import Any

import numpy as np

from vsrcli.media.color import MATRICES, PRIMARIES, RANGES, TRANSFERS, is_rgb, resolve_color
from vsrcli.media.types import Color

# swscale's fast conversion to R'G'B', PyAV's default, is 1.2 codes too dark on average, and repeats chroma.
# Its exact one has these flags: BICUBIC, FULL_CHR_H_INT, FULL_CHR_H_INP and ACCURATE_RND.
EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000

# Numbers of swscale; matrices that it lacks (ycgco, ictcp) are taken for BT.709, as `vsr upscale` does.
_BT709 = 1
_SWSCALE_MATRICES = {
    "bt709": _BT709,
    "fcc": 4,
    "bt470bg": 5,
    "smpte170m": 5,
    "smpte240m": 7,
    "bt2020nc": 9,
    "bt2020c": 9,
}
_SWSCALE_RANGES = {"tv": 1, "pc": 2}


def color_of_frame(frame: Any) -> Color:
    """Return the colour of an ``av.VideoFrame``: its tags, and what players assume for missing ones."""
    tags = Color(
        range=RANGES.get(frame.color_range),
        matrix=MATRICES.get(frame.colorspace),
        primaries=PRIMARIES.get(frame.color_primaries),
        transfer=TRANSFERS.get(frame.color_trc),
        chroma_location=None,
    )
    return resolve_color(tags, frame.format.name, frame.width, frame.height)


def to_rgb(frame: Any) -> np.ndarray:
    """Convert an ``av.VideoFrame`` exactly: uint8 R'G'B' (H, W, 3).

    Raises:
        OSError: swscale cannot convert its format.
    """
    if is_rgb(frame.format.name):
        return frame.reformat(format="rgb24", interpolation=EXACT).to_ndarray()
    color = color_of_frame(frame)
    matrix = _SWSCALE_MATRICES.get(str(color.matrix), _BT709)
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=_SWSCALE_RANGES[str(color.range)],
        interpolation=EXACT,
    )
    return converted.to_ndarray()
