"""Training batches: crops in space and time out of mapped pairs.

The batch of a step depends on (seed, step) alone, so a resumed run sees exactly what an unbroken one sees.
What is random is decided first (:func:`choose`), and then cut: here out of memory-mapped arrays, in
``device`` out of the accelerator's own memory.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vsrcli.train.footage import TrainingPair

STRIDES = (1, -1, 1, -1, 2, -2, 3, -3, 0)  # temporal augmentation (Jo et al., section 4.1); 0 is a still

T = TypeVar("T")


@dataclass(frozen=True)
class BatchPlan:
    """Shape of a batch.

    Attributes:
        batch: sequences in a batch.
        frames: low-resolution frames of a sequence.
        margin: frames at each end that have no truth (3 for a window of 7).
        crop: side of the low-resolution crop in pixels.
        scale: upsampling factor.
        clip_share: share of real clips; the rest are moved photographs.
        phase: of the low resolution, ``centre`` or ``zero``.
    """

    batch: int
    frames: int
    margin: int
    crop: int
    scale: int
    clip_share: float = 0.6
    phase: str = "centre"

    def truth(self, first: int, flipped: bool) -> int:
        """The first line of the truth of a crop that begins at low-resolution line ``first``.

        Turned round, a crop must lie on its grid still. In phase zero, low-resolution line i lies on line
        ``scale*i`` of the truth, the first of its ``scale`` lines; for that to hold the other way round, the
        truth begins ``scale - 1`` lines earlier. Otherwise half of the batch would teach a grid that is
        ``scale - 1`` lines off, and the network would learn the mean of both: a blur.
        """
        return self.scale * first - (self.scale - 1) * (flipped and self.phase == "zero")


@dataclass(frozen=True, eq=False)
class CropSpec:
    """One sequence of a batch: which, when, where, and which way round.

    Attributes:
        pair, variant: which clip in which degradation.
        times: int (frames,), numbers of its frames in the order of the sequence.
        top, left: of the low-resolution crop.
        mirrored, upturned: left and right, top and bottom are exchanged.
        transposed: then rows and columns are.
    """

    pair: TrainingPair
    variant: int
    times: np.ndarray
    top: int
    left: int
    mirrored: bool
    flipped_vertically: bool
    transposed: bool


def sample_crops(pairs: Sequence[TrainingPair], plan: BatchPlan, seed: int, step: int) -> list[CropSpec]:
    """The sequences of one step's batch."""
    rng = np.random.default_rng([seed, step])
    by_kind = [[pair for pair in pairs if pair.kind == kind] for kind in ("clip", "photo")]
    crops = []
    for _ in range(plan.batch):
        group = by_kind[0] if rng.random() < plan.clip_share else by_kind[1]
        group = group or by_kind[0] or by_kind[1]
        crops.append(_crop(group[rng.integers(len(group))], plan, rng))
    return crops


def _crop(pair: TrainingPair, plan: BatchPlan, rng: np.random.Generator) -> CropSpec:
    variants, count, height, width, _ = pair.low.shape
    variant = int(rng.integers(variants))
    strides = [s for s in STRIDES if abs(s) * (plan.frames - 1) < count] or [0]
    stride = int(rng.choice(strides))
    reach = abs(stride) * (plan.frames - 1)
    start = int(rng.integers(count - reach)) + (reach if stride < 0 else 0)
    times = start + stride * np.arange(plan.frames)
    top, left = (int(rng.integers(max(side - plan.crop, 0) + 1)) for side in (height, width))
    mirrored, upturned, transposed = (bool(rng.random() < 0.5) for _ in range(3))
    left, mirrored = _with_truth(left, mirrored, width, plan)
    top, upturned = _with_truth(top, upturned, height, plan)
    return CropSpec(pair, variant, times, top, left, mirrored, upturned, transposed)


def _with_truth(first: int, flipped: bool, side: int, plan: BatchPlan) -> tuple[int, bool]:
    """The nearest place whose truth lies within the picture; unflipped where there is none."""
    if plan.truth(first, flipped) >= 0:
        return first, flipped
    return (first + 1, flipped) if first + plan.crop < side else (first, False)


def make_batch(
    pairs: Sequence[TrainingPair], plan: BatchPlan, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The batch of one step.

    Returns:
        ``(low, high)``: float32 in [0, 1], (batch, frames, crop, crop, 3) and
        (batch, frames - 2*margin, scale*crop, scale*crop, 3).
    """
    cuts = [_cut(crop, plan) for crop in sample_crops(pairs, plan, seed, step)]
    low, high = (np.stack(sequences).astype(np.float32) / 255 for sequences in zip(*cuts, strict=True))
    return low, high


def _cut(crop: CropSpec, plan: BatchPlan) -> tuple[np.ndarray, np.ndarray]:
    side, top, left = plan.crop, crop.top, crop.left
    low = crop.pair.low[crop.variant][crop.times, top : top + side, left : left + side]
    scored = crop.times[plan.margin : plan.frames - plan.margin]
    top, left, side = (
        plan.truth(top, crop.flipped_vertically),
        plan.truth(left, crop.mirrored),
        plan.scale * side,
    )
    high = crop.pair.high[scored, top : top + side, left : left + side]
    for axis, flipped in ((2, crop.mirrored), (1, crop.flipped_vertically)):
        if flipped:
            low, high = np.flip(low, axis), np.flip(high, axis)
    if crop.transposed:
        low, high = low.swapaxes(1, 2), high.swapaxes(1, 2)
    return low, high


def batches(
    pairs: Sequence[TrainingPair], plan: BatchPlan, seed: int, first: int, last: int
) -> Generator[tuple[np.ndarray, np.ndarray]]:
    """Batches of steps ``first`` .. ``last - 1``, made ahead by one thread while the network works."""
    return prefetch(lambda step: make_batch(pairs, plan, seed, step), first, last)


def prefetch(make: Callable[[int], T], first: int, last: int) -> Generator[T]:
    """``make(step)`` of steps ``first`` .. ``last - 1`` in order, made up to four ahead by a thread."""
    ready: queue.Queue[tuple[T] | BaseException] = queue.Queue(maxsize=4)
    stopped = threading.Event()

    def put(item: tuple[T] | BaseException) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.2)
                break

    def produce() -> None:
        try:
            for step in range(first, last):
                if stopped.is_set():
                    return
                put((make(step),))
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=produce, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stopped.set()
        thread.join()
