"""Which parts are kept, and which areas of them: all thresholds, and the reason for everything that is
dropped.

A part is dropped for the first of these that applies: ``hdr``, ``interlaced``, ``bars`` (if they are not
cropped), ``small``, ``dark``, ``repeated``, ``still``, ``blurred``, ``duplicate``, ``enough`` (its shot has
given enough parts). An area has *enough motion* if a large enough share of its cells moves fast enough
(:mod:`vsrcli.datasets.motion`); among such areas that are sharp, the one with the most motion is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vsrcli.datasets.measures import Box, bit_distances, blur
from vsrcli.datasets.survey import Part, Survey
from vsrcli.errors import UsageError

REASONS = {
    "hdr": "HDR, which 8-bit clips cannot hold",
    "interlaced": "interlaced",
    "bars": "letterboxed",
    "small": "smaller than a useful area",
    "dark": "dark",
    "repeated": "repeated frames",
    "still": "no area with enough motion",
    "blurred": "blurred where it moves",
    "duplicate": "shows what is kept already",
    "enough": "enough of this shot",
}
MAX_FLOW = 8.0  # pixels per frame that count as most motion: beyond, it is mostly blur and occlusion
MIN_SIDE = 96  # of an area, in pixels
_ALIGNMENT = 4  # of corners and sides: chroma is stored at half resolution, and scales are 2 to 4


@dataclass(frozen=True)
class Criteria:
    """Thresholds of a build.

    Attributes:
        width, height: of the areas in pixels; less where the picture is smaller.
        areas: most areas of a part; they do not overlap.
        per_shot: most parts of a shot.
        place: ``motion``: areas with the most motion; ``centre``: the middle of the picture, whether it moves
            or not, for comparison.
        min_motion: normal flow from which a cell moves, pixels per frame.
        min_coverage: share of an area's cells that must move, 0 to 1.
        max_blur: 0 (sharp) to 1.
        min_brightness: mean luma, 0 to 255.
        max_repeated: largest share of frames that repeat the one before.
        duplicate_bits: hashes of 64 bits that differ in no more than these are of the same picture.
        bars: ``crop`` or ``drop`` letterboxed parts.
    """

    width: int = 384
    height: int = 384
    areas: int = 2
    per_shot: int = 2
    place: str = "motion"
    min_motion: float = 0.25
    min_coverage: float = 0.4
    max_blur: float = 0.55
    min_brightness: float = 24.0
    max_repeated: float = 0.1
    duplicate_bits: int = 6
    bars: str = "crop"


@dataclass(frozen=True)
class Area:
    """A rectangle of a part with its measures.

    Attributes:
        box: in the frame, in pixels; sides and corners are multiples of 4.
        motion: mean normal flow of its cells, pixels per frame.
        coverage: share of its cells that move.
        blur: 0 (sharp) to 1.
    """

    box: Box
    motion: float
    coverage: float
    blur: float


@dataclass(frozen=True)
class Verdict:
    """What becomes of a part.

    Attributes:
        part: the part.
        areas: to be written; empty if it is dropped.
        reason: key of ``REASONS``; empty if it is kept.
        best: the area with the most motion, whether it is enough or not; None if it was not looked at.
        twin: number of the video whose kept part a duplicate repeats, and that part's first frame.
    """

    part: Part
    areas: tuple[Area, ...] = ()
    reason: str = ""
    best: Area | None = None
    twin: tuple[int, int] | None = None


@dataclass
class Selector:
    """Decides on one video after the other, and remembers what earlier ones show.

    Args:
        criteria: thresholds.
    """

    criteria: Criteria
    _hashes: list[np.ndarray] = field(default_factory=list)
    _owners: list[tuple[int, int, int]] = field(default_factory=list)  # video, shot, first frame; one a part
    _videos: int = 0

    def decide(self, survey: Survey) -> list[Verdict]:
        """Return what becomes of each part of the next video, in order.

        Within a shot, parts with more motion come first.
        """
        video, self._videos = self._videos, self._videos + 1
        verdicts = {part.first: judge(part, self.criteria) for part in survey.parts}
        shots: dict[int, list[Verdict]] = {}
        for verdict in verdicts.values():
            shots.setdefault(verdict.part.shot, []).append(verdict)
        for shot, those in shots.items():
            kept: list[Part] = []
            for verdict in sorted(those, key=_rank):
                part = verdict.part
                if verdict.reason:
                    continue
                if len(kept) >= self.criteria.per_shot:
                    verdicts[part.first] = Verdict(part, reason="enough", best=verdict.best)
                elif twin := self._twin(part):
                    verdicts[part.first] = Verdict(part, reason="duplicate", best=verdict.best, twin=twin)
                else:
                    kept.append(part)
            if kept:  # all that the shot shows, since a copy may begin at another frame
                for verdict in those:
                    self._hashes.append(verdict.part.hashes)
                    self._owners.append((video, shot, verdict.part.first))
        return [verdicts[part.first] for part in survey.parts]

    def _twin(self, part: Part) -> tuple[int, int] | None:
        """Return video and first frame of a part that shows the same in at least half of the frames."""
        if not self._hashes:
            return None
        lengths = [len(each) for each in self._hashes]
        distances = bit_distances(part.hashes, np.concatenate(self._hashes))
        if np.mean(distances.min(axis=1) <= self.criteria.duplicate_bits) < 0.5:
            return None
        nearest = int(distances.min(axis=0).argmin())
        owner = int(np.searchsorted(np.cumsum(lengths), nearest, side="right"))
        video, _, first = self._owners[owner]
        return video, first


def judge(part: Part, criteria: Criteria) -> Verdict:
    """Return what becomes of a part by itself: its areas, or why it is dropped."""
    box = part.box
    if part.hdr:
        return Verdict(part, reason="hdr")
    if part.interlaced:
        return Verdict(part, reason="interlaced")
    if criteria.bars == "drop" and (box.width, box.height) != (part.width, part.height):
        return Verdict(part, reason="bars")
    if min(box.width, box.height) < MIN_SIDE:
        return Verdict(part, reason="small")
    if part.brightness < criteria.min_brightness:
        return Verdict(part, reason="dark")
    candidates = list(_candidates(part, criteria))
    best = max(candidates, key=lambda area: area.motion)
    if part.repeated > criteria.max_repeated and best.coverage >= criteria.min_coverage:
        return Verdict(part, reason="repeated", best=best)
    if criteria.place == "motion":
        candidates = [area for area in candidates if area.coverage >= criteria.min_coverage]
        if not candidates:
            return Verdict(part, reason="still", best=best)
    candidates = [area for area in candidates if area.blur <= criteria.max_blur]
    if not candidates:
        return Verdict(part, reason="blurred", best=best)
    return Verdict(part, _choose(candidates, criteria.areas), best=best)


def _rank(verdict: Verdict) -> tuple[float, int]:
    return (-sum(area.motion for area in verdict.areas), verdict.part.first)


def _choose(candidates: Sequence[Area], count: int) -> tuple[Area, ...]:
    """Return the areas with the most motion that do not overlap."""
    chosen: list[Area] = []
    for area in sorted(candidates, key=lambda area: (-area.motion, area.box.top, area.box.left)):
        if len(chosen) < count and not any(area.box.overlaps(other.box) for other in chosen):
            chosen.append(area)
    return tuple(chosen)


def _candidates(part: Part, criteria: Criteria) -> Iterator[Area]:
    """Yield the areas that are looked at, half a cell apart, or the one in the middle."""
    box = part.box
    width, height = (
        min(wanted, side) // _ALIGNMENT * _ALIGNMENT
        for wanted, side in ((criteria.width, box.width), (criteria.height, box.height))
    )
    if criteria.place == "centre":
        lefts, tops = [(2 * box.left + box.width - width) // 2], [(2 * box.top + box.height - height) // 2]
    else:
        step = max(_ALIGNMENT, part.cell // 2)
        lefts, tops = _starts(box.left, box.right - width, step), _starts(box.top, box.bottom - height, step)
    flow = np.minimum(part.flow, MAX_FLOW)
    totals = [_integral(cells) for cells in (flow, part.flow >= criteria.min_motion, *part.blur)]
    for top in tops:
        for left in lefts:
            area = Box(
                min(_up(left), _down(box.right) - width),
                min(_up(top), _down(box.bottom) - height),
                width,
                height,
            )
            if area.left < 0 or area.top < 0:
                continue
            rows = _cell_range(area.top, area.bottom, part.cell, part.flow.shape[0])
            columns = _cell_range(area.left, area.right, part.cell, part.flow.shape[1])
            count = (rows[1] - rows[0]) * (columns[1] - columns[0])
            motion, moving, *blur_parts = (_sum(total, rows, columns) for total in totals)
            yield Area(area, motion / count, moving / count, float(blur(np.array(blur_parts))))


def _up(value: int) -> int:
    return -(-value // _ALIGNMENT) * _ALIGNMENT


def _down(value: int) -> int:
    return value // _ALIGNMENT * _ALIGNMENT


def _starts(first: int, last: int, step: int) -> list[int]:
    return [*range(first, last, step), last] if last > first else [first]


def _cell_range(start: int, end: int, cell: int, count: int) -> tuple[int, int]:
    """Return the cells whose middle lies in an area; at least one."""
    first = min(max(0, (start + cell // 2) // cell), count - 1)
    return first, max(first + 1, min(count, (end + cell // 2) // cell))


def _integral(cells: np.ndarray) -> np.ndarray:
    return np.pad(np.cumsum(np.cumsum(cells, axis=0, dtype=np.float64), axis=1), ((1, 0), (1, 0)))


def _sum(total: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> float:
    (top, bottom), (left, right) = rows, columns
    return float(total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left])


def check_area(width: int, height: int) -> None:
    """Refuse areas that no training can use.

    Raises:
        UsageError: a side is shorter than ``MIN_SIDE``, or no multiple of 4.
    """
    if min(width, height) < MIN_SIDE or width % _ALIGNMENT or height % _ALIGNMENT:
        raise UsageError(
            f"--area {width}x{height}: give sides of {MIN_SIDE} pixels or more, multiples of {_ALIGNMENT}"
        )
