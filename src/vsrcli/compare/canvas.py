"""Several pictures on one canvas: a split screen, side by side, one below the other.

Words on pictures.

A font for words on pictures: Pillow's own, and for letters that it lacks one of the system's.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop

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


LAYOUTS = ("split", "wipe", "side", "stack")
PERIOD = Fraction(6)  # seconds in which a wipe goes once to and fro
_GAP = 4  # pixels between pictures; even
_LIGHT, _DARK = 245, 20  # of the dividing line: seen on any ground


@dataclass(frozen=True)
class Layout:
    """How pictures of one size come together.

    Attributes:
        kind: one of ``LAYOUTS``; ``split`` and ``wipe`` take two pictures.
        width, height: pixels of each picture as it comes.
        count: how many there are.
        crop: the part of each that is shown; None: all of it.
        zoom: whole factor by which it is enlarged; pixels stay squares.
        named: whether there are labels.

    Raises:
        UsageError: a kind that does not take so many, or a crop that is not inside.
    """

    kind: str
    width: int
    height: int
    count: int
    crop: DetailCrop | None = None
    zoom: int = 1
    named: bool = True

    def __post_init__(self) -> None:
        if self.kind in ("split", "wipe") and self.count != 2:
            raise UsageError(f"--layout {self.kind} shows two films, not {self.count}: use side or stack")
        if self.crop is not None:
            self.crop.extract(np.empty((self.height, self.width, 1), np.uint8))

    @property
    def panel(self) -> tuple[int, int]:
        """Width and height of one picture on the canvas."""
        width, height = (
            (self.width, self.height) if self.crop is None else (self.crop.width, self.crop.height)
        )
        return width * self.zoom, height * self.zoom

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas. Both are even, but for one picture's own."""
        width, height = self.panel
        if self.kind in ("split", "wipe"):
            return width, height
        head = self._head
        if self.kind == "side":
            width = self.count * width + (self.count - 1) * _GAP
            return width + width % 2, head + height + height % 2
        height = self.count * (head + height) + (self.count - 1) * _GAP
        return width + width % 2, height + height % 2

    def compose(
        self, pictures: Sequence[np.ndarray], labels: Sequence[str], time: Fraction = Fraction(0)
    ) -> np.ndarray:
        """The canvas.

        Args:
            pictures: ``count`` of shape (height, width, 3), uint8 or uint16.
            labels: one for each.
            time: seconds since the beginning, for what moves.

        Returns:
            (rows, columns, 3) as in ``size``, a new array of the pictures' type.
        """
        parts = [self._part(picture) for picture in pictures]
        if self.kind in ("split", "wipe"):
            return self._divided(parts, labels, self._share(time))
        return self._apart(parts, labels)

    @property
    def _head(self) -> int:
        return head_height(self.panel[1]) if self.named else 0

    def _share(self, time: Fraction) -> float:
        """Of the width, what the left film has."""
        if self.kind == "split":
            return 0.5
        return 0.5 + 0.5 * math.sin(2 * math.pi * float(time % PERIOD / PERIOD))

    def _part(self, picture: np.ndarray) -> np.ndarray:
        part = picture if self.crop is None else self.crop.extract(picture)
        return part if self.zoom == 1 else part.repeat(self.zoom, axis=0).repeat(self.zoom, axis=1)

    def _divided(self, parts: list[np.ndarray], labels: Sequence[str], share: float) -> np.ndarray:
        left, right = (np.array(part) for part in parts)
        height, width = left.shape[:2]
        if self.named:
            size = font_size(height)
            edge, room = size // 2, width // 2 - size
            first, second = (label_badge(label, room, size) for label in labels)
            blend_patch(left, first, edge, edge)
            blend_patch(right, second, width - edge - second.shape[1], edge)
        line = round(share * width)
        right[:, :line] = left[:, :line]
        code = np.iinfo(right.dtype).max // 255
        thick = max(1, width // 640)
        right[:, max(line - 2 * thick, 0) : line + 2 * thick] = _DARK * code
        right[:, max(line - thick, 0) : line + thick] = _LIGHT * code
        return right

    def _apart(self, parts: list[np.ndarray], labels: Sequence[str]) -> np.ndarray:
        width, height = self.size
        across, down = self.panel
        canvas = blank_canvas(height, width, parts[0].dtype)
        code = np.iinfo(canvas.dtype).max // 255
        size = font_size(down)
        step = (across + _GAP, 0) if self.kind == "side" else (0, self._head + down + _GAP)
        for number, (part, label) in enumerate(zip(parts, labels, strict=True)):
            left, top = number * step[0], number * step[1]
            if self.named:
                head = label_strip(label, across, self._head, size)
                canvas[top : top + self._head, left : left + across] = head.astype(canvas.dtype) * code
            canvas[top + self._head : top + self._head + down, left : left + across] = part
        return canvas
