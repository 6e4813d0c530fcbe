"""A font for words on pictures: Pillow's own, and for letters that it lacks one of the system's."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from PIL import ImageFont

# Names by which Pillow finds a font on Linux, macOS and Windows; the first that has all letters is taken.
_SYSTEM = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "arial.ttf",
    "segoeui.ttf",
    "msyh.ttc",
)
_PLAIN = str.maketrans(
    {"×": "x", "·": "-", "–": "-", "—": "-", "…": "...", "ß": "ss", "ø": "o", "æ": "ae", "ł": "l"}
)
_NOTHING = "\U0010ffff"  # no font has it: what is drawn instead is drawn for every missing letter


def pick_font(text: str, size: int) -> tuple[str, Any]:
    """Text and a font that has its letters.

    Letters that no font here has lose their marks, and become ``?`` where even that does not help.

    Args:
        text: one line.
        size: in pixels.

    Returns:
        The text, mostly as it is, and a Pillow font.
    """
    for name in (None, *_SYSTEM):
        font = _font(name, size)
        if font is not None and all(_has(name, mark) for mark in text):
            return text, font
    apart = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(mark for mark in apart if not unicodedata.combining(mark))
    return "".join(mark if _has(None, mark) else "?" for mark in bare), _font(None, size)


@lru_cache(maxsize=64)
def _font(name: str | None, size: int) -> Any:
    if name is None:
        return ImageFont.load_default(size=size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(name: str | None, mark: str) -> bool:
    font = _font(name, 16)
    if mark.isspace():
        return True
    drawn, missing = font.getmask(mark), font.getmask(_NOTHING)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
