"""Training batches: crops in space and time, cut from memory-mapped pairs.

The batch of a step depends on (seed, step) alone, so a resumed run gets exactly the batches of an
uninterrupted one. :func:`sample_crops` makes all random choices; the crops are then cut here from
memory-mapped arrays, or in ``device_data`` from the accelerator's own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vsrcli.system.threads import Prefetcher
from vsrcli.train.pairs import TrainingPair

STRIDES = (1, -1, 1, -1, 2, -2, 3, -3, 0)  # temporal augmentation (Jo et al., section 4.1); 0 repeats a frame
PREFETCHED = 4  # batches
T = TypeVar("T")


@dataclass(frozen=True)
class BatchPlan:
    """Shape of a batch.

    Attributes:
        batch: number of sequences.
        frames: low-resolution frames per sequence.
        margin: frames at each end without truth (3 for a window of 7).
        crop: side of the low-resolution crop in pixels.
        scale: upscaling factor.
        clip_share: share of sequences from real clips; the rest come from animated photographs.
        phase: pixel grid of the low resolution, ``centre`` or ``zero``.
        uncompressed: number of a pair's variants, the first ones, that are not compressed.
        compressed_share: share of sequences that are compressed; None: as many as there are variants.
    """

    batch: int
    frames: int
    margin: int
    crop: int
    scale: int
    clip_share: float = 0.6
    phase: str = "centre"
    uncompressed: int = 0
    compressed_share: float | None = None

    def truth_start(self, low_start: int, flipped: bool) -> int:
        """Return the first truth line of a crop that starts at low-resolution line ``low_start``.

        A flipped crop must stay on its pixel grid. In phase zero, low-resolution line i lies on line
        ``scale*i`` of the truth, the first of its ``scale`` lines; for that to hold after flipping, the truth
        starts ``scale - 1`` lines earlier. Otherwise half of the batch would teach a grid that is
        ``scale - 1`` lines off, and the network would learn the mean of both: a blur.
        """
        return self.scale * low_start - (self.scale - 1) * (flipped and self.phase == "zero")


@dataclass(frozen=True, eq=False)
class CropSpec:
    """One sequence of a batch: clip, frames, position and orientation.

    Attributes:
        pair, variant: the clip and the index of its degradation.
        frame_indices: int (frames,), in the order of the sequence.
        top, left: corner of the low-resolution crop.
        flipped_horizontally, flipped_vertically: columns, rows are reversed.
        transposed: rows and columns are swapped, after flipping.
    """

    pair: TrainingPair
    variant: int
    frame_indices: np.ndarray
    top: int
    left: int
    flipped_horizontally: bool
    flipped_vertically: bool
    transposed: bool


def make_batch(
    pairs: Sequence[TrainingPair], plan: BatchPlan, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the batch of one step on the host.

    Returns:
        ``(low, high)``: float32 in [0, 1], (batch, frames, crop, crop, 3) and
        (batch, frames - 2*margin, scale*crop, scale*crop, 3).
    """
    crops = [_extract_crop(crop, plan) for crop in sample_crops(pairs, plan, seed, step)]
    low, high = (np.stack(sequences).astype(np.float32) / 255 for sequences in zip(*crops, strict=True))
    return low, high


def sample_crops(pairs: Sequence[TrainingPair], plan: BatchPlan, seed: int, step: int) -> list[CropSpec]:
    """Draw the crops of one step's batch; deterministic in ``seed`` and ``step``."""
    rng = np.random.default_rng([seed, step])
    by_kind = [[pair for pair in pairs if pair.kind == kind] for kind in ("clip", "photo")]
    crops = []
    for _ in range(plan.batch):
        group = by_kind[0] if rng.random() < plan.clip_share else by_kind[1]
        group = group or by_kind[0] or by_kind[1]
        crops.append(_sample_crop(group[rng.integers(len(group))], plan, rng))
    return crops


def prefetch(make_item: Callable[[int], T], first_step: int, end_step: int) -> Generator[T]:
    """Yield ``make_item(step)`` for steps ``first_step`` .. ``end_step - 1``, made in advance by a thread."""
    items = Prefetcher((make_item(step) for step in range(first_step, end_step)), PREFETCHED, lambda: None)
    try:
        yield from items
    finally:
        items.close()


def _sample_variant(count: int, plan: BatchPlan, rng: np.random.Generator) -> int:
    if plan.compressed_share is None or not 0 < plan.uncompressed < count:
        return int(rng.integers(count))
    compressed = rng.random() < plan.compressed_share
    return int(rng.integers(plan.uncompressed, count) if compressed else rng.integers(plan.uncompressed))


def _sample_crop(pair: TrainingPair, plan: BatchPlan, rng: np.random.Generator) -> CropSpec:
    variants, count, height, width, _ = pair.low.shape
    variant = _sample_variant(variants, plan, rng)
    frame_indices = _sample_frames(count, plan.frames, rng)
    top, left = (int(rng.integers(max(side - plan.crop, 0) + 1)) for side in (height, width))
    flipped_horizontally, flipped_vertically, transposed = (bool(rng.random() < 0.5) for _ in range(3))
    left, flipped_horizontally = _shift_into_truth(left, flipped_horizontally, width, plan)
    top, flipped_vertically = _shift_into_truth(top, flipped_vertically, height, plan)
    return CropSpec(
        pair, variant, frame_indices, top, left, flipped_horizontally, flipped_vertically, transposed
    )


def _sample_frames(count: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``frames`` of a clip's ``count`` frames, in the order of the sequence.

    A sequence that is longer than the clip turns round at its ends. Clips are short, but the memory of a
    recurrent network has to be taught for longer than that: see docs/experiments.md.
    """
    strides = [s for s in STRIDES if abs(s) * (frames - 1) < count]
    longer = not any(strides) and count > 1
    stride = int(rng.choice([s for s in STRIDES if abs(s) <= longer] if longer else strides or [0]))
    if longer and stride:
        period = 2 * (count - 1)
        positions = (int(rng.integers(period)) + stride * np.arange(frames)) % period
        return np.minimum(positions, period - positions)
    span = abs(stride) * (frames - 1)
    start = int(rng.integers(count - span)) + (span if stride < 0 else 0)
    return start + stride * np.arange(frames)


def _shift_into_truth(start: int, flipped: bool, side: int, plan: BatchPlan) -> tuple[int, bool]:
    """Return the nearest crop whose truth lies inside the frame; unflipped if there is none."""
    if plan.truth_start(start, flipped) >= 0:
        return start, flipped
    return (start + 1, flipped) if start + plan.crop < side else (start, False)


def _extract_crop(crop: CropSpec, plan: BatchPlan) -> tuple[np.ndarray, np.ndarray]:
    side, top, left = plan.crop, crop.top, crop.left
    low = crop.pair.low[crop.variant][crop.frame_indices, top : top + side, left : left + side]
    truth_indices = crop.frame_indices[plan.margin : plan.frames - plan.margin]
    top, left, side = (
        plan.truth_start(top, crop.flipped_vertically),
        plan.truth_start(left, crop.flipped_horizontally),
        plan.scale * side,
    )
    high = crop.pair.high[truth_indices, top : top + side, left : left + side]
    for axis, flipped in ((2, crop.flipped_horizontally), (1, crop.flipped_vertically)):
        if flipped:
            low, high = np.flip(low, axis), np.flip(high, axis)
    if crop.transposed:
        low, high = low.swapaxes(1, 2), high.swapaxes(1, 2)
    return low, high
