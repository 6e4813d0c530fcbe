"""Training batches: crops in space and time out of mapped pairs.

The batch of a step depends on (seed, step) alone, so a resumed run sees exactly what an unbroken one sees.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from vsrcli.train.clips import Pair

STRIDES = (1, -1, 1, -1, 2, -2, 3, -3, 0)  # temporal augmentation (Jo et al., section 4.1); 0 is a still


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
    """

    batch: int
    frames: int
    margin: int
    crop: int
    scale: int
    clip_share: float = 0.6


def make_batch(pairs: Sequence[Pair], plan: BatchPlan, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The batch of one step.

    Returns:
        ``(low, high)``: float32 in [0, 1], (batch, frames, crop, crop, 3) and
        (batch, frames - 2*margin, scale*crop, scale*crop, 3).
    """
    rng = np.random.default_rng([seed, step])
    by_kind = [[pair for pair in pairs if pair.kind == kind] for kind in ("clip", "photo")]
    lows, highs = [], []
    for _ in range(plan.batch):
        group = by_kind[0] if rng.random() < plan.clip_share else by_kind[1]
        group = group or by_kind[0] or by_kind[1]
        low, high = _sequence(group[rng.integers(len(group))], plan, rng)
        lows.append(low)
        highs.append(high)
    return np.stack(lows).astype(np.float32) / 255, np.stack(highs).astype(np.float32) / 255


def _sequence(pair: Pair, plan: BatchPlan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    variant = rng.integers(pair.low.shape[0])
    _, count, height, width, _ = pair.low.shape
    strides = [s for s in STRIDES if abs(s) * (plan.frames - 1) < count] or [0]
    stride = int(rng.choice(strides))
    reach = abs(stride) * (plan.frames - 1)
    start = int(rng.integers(count - reach)) + (reach if stride < 0 else 0)
    times = start + stride * np.arange(plan.frames)
    top, left = (int(rng.integers(max(side - plan.crop, 0) + 1)) for side in (height, width))
    low = pair.low[variant][times, top : top + plan.crop, left : left + plan.crop]
    s, centre = plan.scale, times[plan.margin : plan.frames - plan.margin]
    high = pair.high[centre, s * top : s * (top + plan.crop), s * left : s * (left + plan.crop)]
    for axis in (2, 1):
        if rng.random() < 0.5:
            low, high = np.flip(low, axis), np.flip(high, axis)
    if rng.random() < 0.5:
        low, high = low.swapaxes(1, 2), high.swapaxes(1, 2)
    return low, high


def batches(
    pairs: Sequence[Pair], plan: BatchPlan, seed: int, first: int, last: int
) -> Generator[tuple[np.ndarray, np.ndarray]]:
    """Batches of steps ``first`` .. ``last - 1``, made ahead by one thread while the network works."""
    ready: queue.Queue[tuple[np.ndarray, np.ndarray] | BaseException] = queue.Queue(maxsize=4)
    stopped = threading.Event()

    def put(item: tuple[np.ndarray, np.ndarray] | BaseException) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.2)
                break

    def produce() -> None:
        try:
            for step in range(first, last):
                if stopped.is_set():
                    return
                put(make_batch(pairs, plan, seed, step))
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=produce, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
