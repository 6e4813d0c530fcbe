"""What mattered for a pixel: which frames, which pixels around it, which earlier frames.

All of it by looking at how the result changes in a small region around the pixel. *Occlusion* replaces a
frame and computes the result anew (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
ECCV 2014, section 4.2); a *gradient* is what an infinitely small change would do (Simonyan et al., "Deep
Inside Convolutional Networks", ICLR Workshops 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.evaluate.crops import DetailCrop
from vsrcli.explain.moment import Moment
from vsrcli.explain.networks import Examined
from vsrcli.explain.pixels import Pixel

REGION = 4  # source pixels on each side of a pixel, in which a change of the result is measured
STEPS = 255.0  # changes are in steps of 8 bits
_CELLS = 15  # along each side of a map of influence that is found by altering cells
_NEARLY_ALL = 0.995  # of the influence that a map shows
_LEAST_REACH = 5  # source pixels that it shows on each side, at least
_LUMA = (0.299, 0.587, 0.114)
Region = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True, eq=False)
class Influence:
    """What mattered for one pixel.

    Attributes:
        offsets: of the frames of the window, the one in question at 0.
        neighbour: mean change of the result, in steps of 8 bits, when a frame is replaced by its neighbour on
            the side of the one in question (that one by its predecessor); NaN where there is none.
        blank: the same, when a frame is replaced by its mean colour.
        gradient: sums of absolute derivatives of the region's mean brightness, for each frame, as shares of
            their total; None without gradients.
        around: influence of the pixels of the frame in question on the pixel's own s*s pixels of the result
            alone, in [0, 1], the largest at 1; as far as nearly all of it reaches.
        around_crop: where they lie in the source.
        by_gradient: whether ``around`` is made of derivatives; otherwise of the changes when a cell of pixels
            is replaced by the crop's mean colour.
        memory: mean change of the result, in steps of 8 bits, when the frame k before is replaced by its mean
            colour, k = 1, 2, ...; empty unless the network is recurrent.
    """

    offsets: tuple[int, ...]
    neighbour: tuple[float, ...]
    blank: tuple[float, ...]
    gradient: tuple[float, ...] | None
    around: np.ndarray
    around_crop: DetailCrop
    by_gradient: bool
    memory: tuple[float, ...]


def find_influence(examined: Examined, moment: Moment, pixel: Pixel, history: int) -> Influence:
    """Measure what mattered for a pixel; all runs begin ``history`` frames before, or where the shot does.

    Only a crop around the pixel is computed, with as much context as the network sees, up to
    :data:`~vsrcli.explain.networks.CONTEXT_LIMIT` pixels.
    """
    width, height = moment.size
    context = min(examined.radius + REGION, (examined.max_side - 1) // 2)
    crop = _crop_around(pixel, width, height, context)
    left, top = crop.left, crop.top
    first = max(moment.centre - (history if examined.is_recurrent else examined.levels), 0)
    last = min(moment.centre + examined.levels, len(moment.frames) - 1)
    sequence = moment.frames[first : last + 1, top : top + crop.height, left : left + crop.width]
    regions = (_region(pixel, crop, examined.scale, reach) for reach in (REGION, 0))
    run = _Runs(examined, sequence, moment.centre - first, *regions)
    offsets = tuple(
        number - run.centre for number in range(len(sequence)) if abs(number - run.centre) <= examined.levels
    )
    back = [run.centre - k for k in range(1, run.centre + 1)] if examined.is_recurrent else []
    neighbours = [run.with_neighbour(run.centre + offset) for offset in offsets]
    blanked = sorted({*back, *(run.centre + offset for offset in offsets)})
    altered = [each for each in neighbours if each is not None]
    changes = iter(run.changes([*altered, *map(run.blanked, blanked)]))
    neighbour = tuple(float("nan") if each is None else next(changes) for each in neighbours)
    by_frame = dict(zip(blanked, changes, strict=True))
    blank = tuple(by_frame[run.centre + offset] for offset in offsets)
    memory = tuple(by_frame[number] for number in back)
    gradient, derivatives = None, run.derivatives()
    if derivatives is not None:
        of_region, of_own = derivatives
        sums = np.abs(of_region).sum(axis=(1, 2, 3))
        parts = np.array([sums[run.centre + offset] for offset in offsets])
        gradient = tuple((parts / max(parts.sum(), 1e-20)).tolist())
        around, cell = np.abs(of_own[run.centre]).sum(axis=2), 1
    else:
        cell = _cell_side(crop)
        around = run.around(pixel.y - crop.top, pixel.x - crop.left, cell)
    around, crop = _trim(around / max(float(around.max()), 1e-20), crop, pixel, cell)
    return Influence(
        offsets, neighbour, blank, gradient, around.astype(np.float32), crop, derivatives is not None, memory
    )


def _cell_side(crop: DetailCrop) -> int:
    """Return the side of the cells of a map, odd, so that a pixel can lie in the middle of one."""
    side = -(-max(crop.width, crop.height) // _CELLS)
    return side + 1 - side % 2


def _cells(position: int, side: int, cell: int) -> list[slice]:
    """Return cells that cover a side, with the position in the middle of one; those at the ends are cut."""
    first = (position - cell // 2) % cell
    starts = [*([0] if first else []), *range(first, side, cell)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], side], strict=True)]


def _trim(around: np.ndarray, crop: DetailCrop, pixel: Pixel, cell: int) -> tuple[np.ndarray, DetailCrop]:
    """Return the part of a map around the pixel, of whole cells, that has nearly all of the influence, and
    where it lies."""
    total = float(around.sum())
    for reach in range(cell // 2, max(crop.width, crop.height), cell):
        if reach < _LEAST_REACH:
            continue
        left, top = max(pixel.x - reach, crop.left), max(pixel.y - reach, crop.top)
        right = min(pixel.x + reach + 1, crop.left + crop.width)
        bottom = min(pixel.y + reach + 1, crop.top + crop.height)
        part = around[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
        if float(part.sum()) >= _NEARLY_ALL * total:
            return part, DetailCrop(left, top, right - left, bottom - top)
    return around, crop


def _crop_around(pixel: Pixel, width: int, height: int, context: int) -> DetailCrop:
    """Return the same size for every pixel of a frame; it touches the frame's edges where they are near."""
    columns, rows = min(2 * context + 1, width), min(2 * context + 1, height)
    left = min(max(pixel.x - context, 0), width - columns)
    top = min(max(pixel.y - context, 0), height - rows)
    return DetailCrop(left, top, columns, rows)


def _region(pixel: Pixel, crop: DetailCrop, scale: int, reach: int) -> Region:
    """Return rows and columns of the result, from ``reach`` source pixels before a pixel to as many after."""
    y, x = pixel.y - crop.top, pixel.x - crop.left
    return tuple(  # type: ignore[return-value]
        slice(scale * max(position - reach, 0), scale * min(position + reach + 1, side))
        for position, side in ((y, crop.height), (x, crop.width))
    )


class _Runs:
    """Results of one sequence and of altered ones.

    Args:
        examined: the network.
        sequence: (T, H, W, 3).
        centre: which frame is in question.
        region: of the result around the pixel, which counts.
        own: the pixel's own part of the result.
    """

    def __init__(
        self, examined: Examined, sequence: np.ndarray, centre: int, region: Region, own: Region
    ) -> None:
        self.centre = centre
        self._examined, self._sequence, self._region, self._own = examined, sequence, region, own
        self._following = len(sequence) - 1 - centre
        self._plain = examined.fastest.results(sequence[None], self._following)[0]

    def changes(self, altered: list[np.ndarray], *, own: bool = False) -> list[float]:
        """Return the mean absolute change that each altered sequence makes, in steps of 8 bits."""
        part = self._own if own else self._region
        results = self._examined.fastest.results(np.stack(altered), self._following)
        return [STEPS * float(np.abs(result[part] - self._plain[part]).mean()) for result in results]

    def blanked(self, number: int) -> np.ndarray:
        """Return the sequence with one frame replaced by its mean colour."""
        altered = self._sequence.copy()
        altered[number] = altered[number].mean(axis=(0, 1))
        return altered

    def with_neighbour(self, number: int) -> np.ndarray | None:
        """Return the sequence with one frame replaced by the next one towards the centre, or None."""
        other = number + (1 if number < self.centre else -1)
        if number == self.centre == 0:
            other = 1
        if not 0 <= other < len(self._sequence):
            return None
        altered = self._sequence.copy()
        altered[number] = altered[other]
        return altered

    def derivatives(self) -> list[np.ndarray] | None:
        """Return the derivatives of the mean brightness of the region, and of the pixel's own part of it,
        (T, H, W, 3) each, where there are any."""
        network = self._examined.keras
        if network is None:
            return None

        def brightness(result: Any) -> list[Any]:
            from keras import ops

            luma = ops.matmul(result, np.array(_LUMA, np.float32)[:, None])
            return [ops.mean(luma[rows, columns]) for rows, columns in (self._region, self._own)]

        return network.gradients(self._sequence, self._following, brightness)

    def around(self, y: int, x: int, cell: int) -> np.ndarray:
        """Return changes by cell of the frame in question, enlarged to its pixels.

        Args:
            y, x: of the pixel in the sequence's frames; it lies in the middle of a cell.
            cell: side of a cell, odd.
        """
        height, width = self._sequence.shape[1:3]
        colour = self._sequence[self.centre].mean(axis=(0, 1))
        found = np.zeros((height, width), np.float32)
        rows, columns = _cells(y, height, cell), _cells(x, width, cell)
        for row in rows:
            altered = []
            for column in columns:
                sequence = self._sequence.copy()
                sequence[self.centre, row, column] = colour
                altered.append(sequence)
            for column, change in zip(columns, self.changes(altered, own=True), strict=True):
                found[row, column] = change
        return found
