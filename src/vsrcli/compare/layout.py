"""Several pictures on one canvas: a split screen, side by side, one below the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vsrcli.compare.labels import blank_canvas, blend_patch, font_size, head_height, label_badge, label_strip
from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop

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
            self.crop.of(np.empty((self.height, self.width, 1), np.uint8))

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
        part = picture if self.crop is None else self.crop.of(picture)
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
