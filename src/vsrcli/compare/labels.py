"""Words on pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vsrcli.compare.font import pick_font

_PAPER, _INK = (24, 26, 30), (240, 242, 245)
_SMALLEST, _LARGEST = 11, 44
_THROUGH = 190  # opacity of a chip's ground, of 255: the picture is seen below it


def font_size(height: int) -> int:
    """Pixels that suit a picture of so many rows."""
    return max(_SMALLEST, min(_LARGEST, round(height / 26)))


def head_height(height: int) -> int:
    """Rows of a strip above a picture of so many rows; even."""
    return 2 * font_size(height)


@lru_cache(maxsize=256)
def label_badge(text: str, width: int, size: int) -> np.ndarray:
    """Words on a dark ground with round corners, to lie on a picture.

    Args:
        text: one line; its middle is left out if it is too wide.
        width: pixels that there are at most.
        size: of the font.

    Returns:
        uint8 (rows, columns, 4), straight alpha; no columns where there is no room for a letter.
    """
    text, font = pick_font(text, size)
    pad = round(size * 0.6)
    shown = shortened(text, width - 2 * pad, font)
    if not shown:
        return np.zeros((0, 0, 4), np.uint8)
    columns, rows = round(font.getlength(shown)) + 2 * pad, round(size * 1.7)
    image = Image.new("RGBA", (columns, rows))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, columns - 1, rows - 1), radius=rows // 4, fill=(*_PAPER, _THROUGH))
    draw.text((columns / 2, rows / 2), shown, fill=(*_INK, 255), font=font, anchor="mm")
    return np.asarray(image)


@lru_cache(maxsize=256)
def label_strip(text: str, width: int, height: int, size: int) -> np.ndarray:
    """Words in the middle of an opaque strip: uint8 (height, width, 3)."""
    image = Image.new("RGB", (width, height), _PAPER)
    text, font = pick_font(text, size)
    shown = shortened(text, width - size, font)
    ImageDraw.Draw(image).text((width / 2, height / 2), shown, fill=_INK, font=font, anchor="mm")
    return np.asarray(image)


def shortened(text: str, width: float, font: Any) -> str:
    """The text, or as much of its beginning and end as fits into ``width`` pixels; empty if nothing does."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        cut = f"{text[: (kept + 1) // 2]}...{text[-(kept // 2) :]}"
        if font.getlength(cut) <= width:
            return cut
    return ""


def blend_patch(picture: np.ndarray, patch: np.ndarray, left: int, top: int) -> None:
    """Blend a patch into a picture, in place; what lies outside is cut off.

    Args:
        picture: (H, W, 3), uint8 or uint16.
        patch: from :func:`chip`.
        left, top: where its corner comes to lie.
    """
    patch = patch[: max(picture.shape[0] - top, 0), : max(picture.shape[1] - left, 0)]
    rows, columns = patch.shape[:2]
    if not rows or not columns:
        return
    scale = np.iinfo(picture.dtype).max / 255
    below = picture[top : top + rows, left : left + columns]
    opacity = patch[..., 3:].astype(np.float32) / 255
    blended = below * (1 - opacity) + patch[..., :3] * np.float32(scale) * opacity
    below[...] = np.rint(blended).astype(picture.dtype)


def blank_canvas(height: int, width: int, dtype: np.dtype) -> np.ndarray:
    """An empty canvas: (height, width, 3)."""
    scale = np.iinfo(dtype).max // 255
    return np.tile(np.array(_PAPER, dtype) * np.array(scale, dtype), (height, width, 1))
