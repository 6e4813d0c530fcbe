"""Footage in the accelerator's own memory: crops are cut, and simple degradations made, where they are used.

All pictures lie as one long list of pixels. A crop is three short lists of offsets (of its frames, its rows,
its columns), whose sums are pixel numbers; mirrored, transposed or continued beyond a border, it is only
another list. So a step sends a few kilobytes, and gets what :func:`~vsrcli.train.batches.make_batch` would
have made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vsrcli.degradations import Degradation
from vsrcli.errors import DataError
from vsrcli.frames.resample import BD_SIGMA, BD_SIZE, gaussian_kernel_1d, resize_matrix
from vsrcli.models.architectures import Architecture
from vsrcli.train.batches import BatchPlan, CropSpec, make_batch, prefetch, sample_crops
from vsrcli.train.config import shape_batch
from vsrcli.train.footage import TrainingPair

SHARE = 0.5  # of the device's memory; the rest is for the network
MOST_PIXELS = 2**31 - 1  # their numbers are int32


class HostDataset:
    """The footage of a run in mapped files: batches are cut by a thread and sent, see ``batches``."""

    def __init__(self, pairs: Sequence[TrainingPair], plan: BatchPlan, chosen: Architecture) -> None:
        self._pairs, self._plan, self._chosen = pairs, plan, chosen

    def batches(self, seed: int, first: int, last: int) -> Generator[tuple[Any, Any]]:
        """``(low, high)`` of steps ``first`` .. ``last - 1``, shaped for the network."""
        pairs, plan, chosen = self._pairs, self._plan, self._chosen
        return prefetch(lambda step: shape_batch(*make_batch(pairs, plan, seed, step), chosen), first, last)


class DeviceDataset:
    """The footage of a run on the device.

    Args:
        pairs: training footage.
        plan: shape of a batch.
        degradation: what the pairs' low resolution was made by. ``bd`` and ``bi`` are made anew from the
            truth, of others the pairs' own variants are kept on the device, too.
        chosen: the network, for the shape that it wants.

    Raises:
        DataError: more pixels than can be counted.
    """

    def __init__(
        self, pairs: Sequence[TrainingPair], plan: BatchPlan, degradation: Degradation, chosen: Architecture
    ) -> None:
        self._pairs, self._plan = pairs, plan
        self._blur = None if _keeps_low(degradation) else SeparableDegradation(degradation, plan)
        highs = [pair.high for pair in pairs]
        lows = [] if self._blur else [pair.low for pair in pairs]
        if max(_pixels(highs), _pixels(lows)) > MOST_PIXELS:
            raise DataError("the footage has too many pixels for --data device: take --data host")
        self._stores = [_on_device(arrays) for arrays in (highs, lows) if arrays]
        self._starts = [dict(zip(pairs, _starts(arrays), strict=True)) for arrays in (highs, lows) if arrays]
        weights = None if self._blur is None else self._blur.weights

        def cut(*arguments):
            stores, offsets = arguments[: len(self._stores)], arguments[len(self._stores) :]
            high = _gathered(stores[0], *offsets[:3])
            low = _gathered(stores[-1], *offsets[3:])
            if weights is not None:
                low = ops.einsum("ir,btrcx->bticx", weights, low)
                low = ops.einsum("jc,bticx->btijx", weights, low)
                low = ops.clip(ops.round(low), 0, 255)
            return shape_batch(low / 255, high / 255, chosen, ops.concatenate)

        self._cut = _compiled(cut)

    def batches(self, seed: int, first: int, last: int) -> Generator[tuple[Any, Any]]:
        """``(low, high)`` of steps ``first`` .. ``last - 1`` as tensors, shaped for the network."""
        offsets = prefetch(
            lambda step: self._offsets(sample_crops(self._pairs, self._plan, seed, step)), first, last
        )
        with contextlib.closing(offsets):
            for lists in offsets:
                yield self._cut(*self._stores, *lists)

    def _offsets(self, crops: Sequence[CropSpec]) -> list[np.ndarray]:
        """Six int32 arrays: frames, rows and columns of the truth, then of the low resolution."""
        lists = [(*self._truth(crop), *self._low(crop)) for crop in crops]
        return [np.stack(offsets).astype(np.int32) for offsets in zip(*lists, strict=True)]

    def _truth(self, crop: CropSpec) -> tuple[np.ndarray, ...]:
        plan, (height, width) = self._plan, crop.pair.high.shape[1:3]
        times = crop.times[plan.margin : len(crop.times) - plan.margin]
        along = np.arange(plan.scale * plan.crop)
        rows, columns = plan.truth(crop.top, crop.flipped_vertically), plan.truth(crop.left, crop.mirrored)
        frames = self._starts[0][crop.pair] + height * width * times
        return frames, *_turned(crop, rows + along, columns + along, width)

    def _low(self, crop: CropSpec) -> tuple[np.ndarray, ...]:
        if self._blur is not None:
            height, width = crop.pair.high.shape[1:3]
            frames = self._starts[0][crop.pair] + height * width * crop.times
            rows, columns = self._blur.radius(crop.top, height), self._blur.radius(crop.left, width)
            return frames, *_turned(crop, rows, columns, width)
        _, count, height, width, _ = crop.pair.low.shape
        along = np.arange(self._plan.crop)
        frames = self._starts[1][crop.pair] + height * width * (crop.variant * count + crop.times)
        return frames, *_turned(crop, crop.top + along, crop.left + along, width)


class SeparableDegradation:
    """A separable degradation of crops, equal to that of whole pictures.

    Attributes:
        weights: float32 (crop, n): what each low-resolution line takes of n lines of the truth. The same read
            backwards, so mirrored crops need no other.
    """

    def __init__(self, degradation: Degradation, plan: BatchPlan) -> None:
        s, crop = plan.scale, plan.crop
        self._scale, self._reflects = s, degradation.name == "bd"
        if self._reflects:
            self._before, lines = BD_SIZE // 2, s * (crop - 1) + BD_SIZE
            self.weights = np.zeros((crop, lines), np.float32)
            for line in range(crop):
                self.weights[line, s * line : s * line + BD_SIZE] = gaussian_kernel_1d(BD_SIGMA[s])
        else:  # the middle of a picture that is large enough for its borders not to matter
            self._before = 2 * s
            whole = resize_matrix(s * (crop + 8), crop + 8, "bicubic")
            self.weights = whole[4:-4, 2 * s : -2 * s]

    def radius(self, first: int, side: int) -> np.ndarray:
        """The n lines of a picture with ``side`` lines that a crop from low-resolution line ``first`` needs:
        reflected at the borders for ``bd``, repeated for ``bi``."""
        lines = self._scale * first - self._before + np.arange(self.weights.shape[1])
        if not self._reflects:
            return np.clip(lines, 0, side - 1)
        period = max(1, 2 * (side - 1))
        lines = np.abs(lines) % period
        return np.minimum(np.minimum(lines, period - lines), side - 1)


def open_dataset(
    place: str, pairs: Sequence[TrainingPair], plan: BatchPlan, degradation: Degradation, chosen: Architecture
) -> HostDataset | DeviceDataset:
    """The footage where it is asked for.

    Args:
        place: ``host``, ``device``, or ``auto``: the device if it is a GPU whose memory the footage fits in.
        pairs, plan, degradation, chosen: see :class:`DeviceDataset`.

    Raises:
        DataError: pictures smaller than the crop; for ``device``, more pixels than can be counted.
    """
    small = [pair.name for pair in pairs if min(pair.low.shape[2:4]) < plan.crop]
    if small:
        raise DataError(
            f"--crop {plan.crop} is larger than the low resolution of {small[0]!r} and {len(small) - 1} "
            "others: take a smaller one, or remove them"
        )
    if place == "device" or (place == "auto" and device_fits(pairs, degradation)):
        return DeviceDataset(pairs, plan, degradation, chosen)
    return HostDataset(pairs, plan, chosen)


def device_fits(pairs: Sequence[TrainingPair], degradation: Degradation) -> bool:
    """Whether there is a GPU, and the footage takes at most ``FREE_MEMORY_SHARE`` of its memory."""
    highs = _pixels([pair.high for pair in pairs])
    lows = _pixels([pair.low for pair in pairs]) if _keeps_low(degradation) else 0
    return max(highs, lows) <= MOST_PIXELS and 3 * (highs + lows) <= SHARE * device_memory()


def _keeps_low(degradation: Degradation) -> bool:
    """Whether its low resolution cannot be made of a crop of the truth alone."""
    return degradation.name not in ("bd", "bi")


def _turned(
    crop: CropSpec, rows: np.ndarray, columns: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of rows and columns of the crop as it is used."""
    rows = width * (rows[::-1] if crop.flipped_vertically else rows)
    columns = columns[::-1] if crop.mirrored else columns
    return (columns, rows) if crop.transposed else (rows, columns)


def _gathered(store, frames, rows, columns):
    """Pixels by number: (P, 3) uint8; (B, T), (B, H), (B, W) int32 -> (B, T, H, W, 3) float32, 0 to 255."""
    numbers = frames[:, :, None, None] + rows[:, None, :, None] + columns[:, None, None, :]
    return ops.cast(ops.take(store, numbers, axis=0), "float32")


def _pixels(arrays: Sequence[np.ndarray]) -> int:
    return sum(array.size // 3 for array in arrays)


def _starts(arrays: Sequence[np.ndarray]) -> list[int]:
    sizes = [array.size // 3 for array in arrays]
    return [0, *np.cumsum(sizes[:-1]).tolist()]


def _on_device(arrays: Sequence[np.ndarray]) -> Any:
    return ops.convert_to_tensor(np.concatenate([array.reshape(-1, 3) for array in arrays]))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # TensorFlow's own gather knows no bytes on a GPU; XLA's does
        return tf.function(
            function, autograph=False, jit_compile=bool(tf.config.list_physical_devices("GPU"))
        )
    if backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        return jax.jit(function)

    def without_gradients(*arguments):
        import torch  # pyright: ignore[reportMissingImports]

        with torch.no_grad():
            return function(*(ops.convert_to_tensor(argument) for argument in arguments))

    return without_gradients


def device_memory() -> int:
    """Bytes of the first GPU; 0 without one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.client import device_lib  # its public interface does not tell

        return max(
            (d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"), default=0
        )
    if backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        statistics = jax.devices()[0].memory_stats() if jax.devices()[0].platform == "gpu" else None
        return (statistics or {}).get("bytes_limit", 0)
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
