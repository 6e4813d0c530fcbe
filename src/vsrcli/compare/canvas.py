"""Compose images on one canvas (split screen, side by side, stacked), with text labels.

Labels use Pillow's own font, or a system font for characters that it lacks.
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
from vsrcli.evaluate.crops import DetailCrop, enlarge

LAYOUTS = ("split", "wipe", "side", "stack")
WIPE_PERIOD = Fraction(6)  # seconds for the dividing line to move across and back
_GAP = 4  # pixels between panels; even
_LINE_LIGHT, _LINE_DARK = 245, 20  # of the dividing line: visible on any background
_BACKGROUND, _FOREGROUND = (24, 26, 30), (240, 242, 245)
_MIN_FONT_SIZE, _MAX_FONT_SIZE = 11, 44
_BADGE_OPACITY = 190  # of a badge's background, of 255: the image shines through
# Names by which Pillow finds a font on Linux, macOS and Windows; the first with all characters is used.
_SYSTEM_FONTS = (
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
_ASCII_SUBSTITUTES = str.maketrans(
    {"×": "x", "·": "-", "–": "-", "—": "-", "…": "...", "ß": "ss", "ø": "o", "æ": "ae", "ł": "l"}
)
_UNASSIGNED = "\U0010ffff"  # in no font: it is drawn like every missing character


@dataclass(frozen=True)
class Layout:
    """Arrangement of images of one size on a canvas.

    Attributes:
        kind: one of ``LAYOUTS``; ``split`` and ``wipe`` need two images.
        width, height: size of each image in pixels.
        count: number of images.
        crop: the part of each image to show; None: all of it.
        zoom: integer factor by which the part is enlarged, repeating pixels.
        has_labels: whether labels are drawn.

    Raises:
        UsageError: ``kind`` does not support ``count`` images, or the crop is not inside the image.
    """

    kind: str
    width: int
    height: int
    count: int
    crop: DetailCrop | None = None
    zoom: int = 1
    has_labels: bool = True

    def __post_init__(self) -> None:
        if self.kind in ("split", "wipe") and self.count != 2:
            raise UsageError(f"--layout {self.kind} shows two videos, not {self.count}: use side or stack")
        if self.crop is not None:
            self.crop.extract(np.empty((self.height, self.width, 1), np.uint8))

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of one image on the canvas."""
        shown = self.crop or self
        return shown.width * self.zoom, shown.height * self.zoom

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the canvas; even for ``side`` and ``stack``, else those of one image."""
        width, height = self.panel_size
        if self.kind in ("split", "wipe"):
            return width, height
        columns, rows = (self.count, 1) if self.kind == "side" else (1, self.count)
        width = columns * width + (columns - 1) * _GAP
        height = rows * (self._strip_height + height) + (rows - 1) * _GAP
        return width + width % 2, height + height % 2

    def compose(
        self, images: Sequence[np.ndarray], labels: Sequence[str], time: Fraction = Fraction(0)
    ) -> np.ndarray:
        """Draw the canvas.

        Args:
            images: ``count`` of shape (height, width, 3), uint8 or uint16.
            labels: one for each.
            time: seconds since the beginning, for ``wipe``.

        Returns:
            A new array (rows, columns, 3) of ``canvas_size`` and the images' type.
        """
        parts = images if self.crop is None else [self.crop.extract(image) for image in images]
        panels = parts if self.zoom == 1 else [enlarge(part, self.zoom) for part in parts]
        if self.kind not in ("split", "wipe"):
            return self._compose_panels(panels, labels)
        phase = 0.0 if self.kind == "split" else float(time % WIPE_PERIOD / WIPE_PERIOD)
        return self._compose_divided(panels, labels, 0.5 + 0.5 * math.sin(2 * math.pi * phase))

    @property
    def _strip_height(self) -> int:
        return 2 * font_size(self.panel_size[1]) if self.has_labels else 0

    def _compose_divided(
        self, panels: Sequence[np.ndarray], labels: Sequence[str], share: float
    ) -> np.ndarray:
        left, right = (np.array(part) for part in panels)
        height, width = left.shape[:2]
        if self.has_labels:
            font_pixels = font_size(height)
            edge, max_width = font_pixels // 2, width // 2 - font_pixels
            first, second = (label_badge(label, max_width, font_pixels) for label in labels)
            blend_patch(left, first, edge, edge)
            blend_patch(right, second, width - edge - second.shape[1], edge)
        line = round(share * width)
        right[:, :line] = left[:, :line]
        code = np.iinfo(right.dtype).max // 255
        thick = max(1, width // 640)
        right[:, max(line - 2 * thick, 0) : line + 2 * thick] = _LINE_DARK * code
        right[:, max(line - thick, 0) : line + thick] = _LINE_LIGHT * code
        return right

    def _compose_panels(self, panels: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
        (width, height), (panel_width, panel_height) = self.canvas_size, self.panel_size
        strip_height, dtype = self._strip_height, panels[0].dtype
        code = np.array(np.iinfo(dtype).max // 255, dtype)
        canvas = np.tile(np.array(_BACKGROUND, dtype) * code, (height, width, 1))
        for number, (panel, label) in enumerate(zip(panels, labels, strict=True)):
            left = number * (panel_width + _GAP) if self.kind == "side" else 0
            top = 0 if self.kind == "side" else number * (strip_height + panel_height + _GAP)
            columns, below = slice(left, left + panel_width), top + strip_height
            if self.has_labels:
                strip = label_strip(label, panel_width, strip_height, font_size(panel_height))
                canvas[top:below, columns] = strip.astype(dtype) * code
            canvas[below : below + panel_height, columns] = panel
        return canvas


@lru_cache(maxsize=256)
def label_badge(text: str, max_width: int, font_pixels: int) -> np.ndarray:
    """Draw a label on a dark, rounded background, to blend over an image.

    Args:
        text: one line; its middle is left out if it is too wide.
        max_width: largest width in pixels.
        font_pixels: font size.

    Returns:
        uint8 (rows, columns, 4), straight alpha; of size 0 if not even one character fits.
    """
    text, font = pick_font(text, font_pixels)
    pad = round(font_pixels * 0.6)
    label = shorten(text, max_width - 2 * pad, font)
    if not label:
        return np.zeros((0, 0, 4), np.uint8)
    columns, rows = round(font.getlength(label)) + 2 * pad, round(font_pixels * 1.7)
    image = Image.new("RGBA", (columns, rows))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(
        (0, 0, columns - 1, rows - 1), radius=rows // 4, fill=(*_BACKGROUND, _BADGE_OPACITY)
    )
    draw.text((columns / 2, rows / 2), label, fill=(*_FOREGROUND, 255), font=font, anchor="mm")
    return np.asarray(image)


@lru_cache(maxsize=256)
def label_strip(text: str, width: int, height: int, font_pixels: int) -> np.ndarray:
    """Draw a label centred on an opaque strip: uint8 (height, width, 3)."""
    image = Image.new("RGB", (width, height), _BACKGROUND)
    text, font = pick_font(text, font_pixels)
    label = shorten(text, width - font_pixels, font)
    ImageDraw.Draw(image).text((width / 2, height / 2), label, fill=_FOREGROUND, font=font, anchor="mm")
    return np.asarray(image)


def shorten(text: str, max_width: float, font: Any) -> str:
    """Return the text, shortened in its middle to ``max_width`` pixels; empty if nothing fits."""
    if font.getlength(text) <= max_width:
        return text
    for length in range(len(text) - 1, 1, -1):
        candidate = f"{text[: (length + 1) // 2]}...{text[-(length // 2) :]}"
        if font.getlength(candidate) <= max_width:
            return candidate
    return ""


def blend_patch(image: np.ndarray, patch: np.ndarray, left: int, top: int) -> None:
    """Blend a patch into an image, in place; parts outside the image are clipped.

    Args:
        image: (H, W, 3), uint8 or uint16.
        patch: from :func:`label_badge`.
        left, top: position of the patch's corner.
    """
    patch = patch[: max(image.shape[0] - top, 0), : max(image.shape[1] - left, 0)]
    rows, columns = patch.shape[:2]
    if not rows or not columns:
        return
    scale = np.iinfo(image.dtype).max / 255
    region = image[top : top + rows, left : left + columns]
    opacity = patch[..., 3:].astype(np.float32) / 255
    blended = region * (1 - opacity) + patch[..., :3] * np.float32(scale) * opacity
    region[...] = np.rint(blended).astype(image.dtype)


def font_size(height: int) -> int:
    """Return the font size in pixels for an image of ``height`` pixels."""
    return max(_MIN_FONT_SIZE, min(_MAX_FONT_SIZE, round(height / 26)))


def pick_font(text: str, size: int) -> tuple[str, Any]:
    """Choose a font that has all characters of a text.

    If there is none, characters lose their diacritics, or become ``?`` where that does not help.

    Args:
        text: one line.
        size: font size in pixels.

    Returns:
        The text, mostly unchanged, and a Pillow font.
    """
    for name in (None, *_SYSTEM_FONTS):
        font = _load_font(name, size)
        if font is not None and all(_has_glyph(name, character) for character in text):
            return text, font
    decomposed = unicodedata.normalize("NFKD", text.translate(_ASCII_SUBSTITUTES))
    base = "".join(character for character in decomposed if not unicodedata.combining(character))
    drawable = "".join(character if _has_glyph(None, character) else "?" for character in base)
    return drawable, _load_font(None, size)


@lru_cache(maxsize=64)
def _load_font(name: str | None, size: int) -> Any:
    if name is None:
        return ImageFont.load_default(size=size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has_glyph(name: str | None, character: str) -> bool:
    font = _load_font(name, 16)
    if character.isspace():
        return True
    drawn, missing = font.getmask(character), font.getmask(_UNASSIGNED)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
