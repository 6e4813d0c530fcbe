"""Training data in host memory, or in the accelerator's, where crops are then cut and degraded.

The device holds all frames as one long array of pixels. A crop is three short arrays of offsets (of its
frames, rows and columns), whose sums are pixel indices; flipping, transposing and extending beyond a border
only change these arrays. So a step transfers a few kilobytes, and its batch equals that of
:func:`~vsrcli.train.batches.make_batch`.
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
from vsrcli.train.pairs import TrainingPair

MEMORY_SHARE = 0.5  # of the device's memory; the rest is for the network
MAX_PIXELS = 2**31 - 1  # indices are int32


def open_dataset(
    placement: str,
    pairs: Sequence[TrainingPair],
    plan: BatchPlan,
    degradation: Degradation,
    architecture: Architecture,
) -> HostDataset | DeviceDataset:
    """Open training footage in host or device memory.

    Args:
        placement: ``host``, ``device``, or ``auto``: the device if it is a GPU and the footage fits, and
            windows need no alignment, which is computed on the host.
        pairs, plan, degradation, architecture: see :class:`DeviceDataset`.

    Raises:
        DataError: frames smaller than the crop; for ``device``, more pixels than int32 can index.
    """
    too_small = [pair.name for pair in pairs if min(pair.low.shape[2:4]) < plan.crop]
    if too_small:
        raise DataError(
            f"--crop {plan.crop} is larger than the low resolution of {too_small[0]!r} and "
            f"{len(too_small) - 1} others: use a smaller one, or remove them"
        )
    may_move = placement == "auto" and not architecture.aligned
    if placement == "device" or (may_move and fits_on_device(pairs, degradation)):
        return DeviceDataset(pairs, plan, degradation, architecture)
    return HostDataset(pairs, plan, architecture)


def fits_on_device(pairs: Sequence[TrainingPair], degradation: Degradation) -> bool:
    """Return whether there is a GPU and the footage fits into ``MEMORY_SHARE`` of its memory."""
    highs = _pixel_count([pair.high for pair in pairs])
    lows = _pixel_count([pair.low for pair in pairs]) if _needs_stored_low(degradation) else 0
    return max(highs, lows) <= MAX_PIXELS and 3 * (highs + lows) <= MEMORY_SHARE * device_memory_bytes()


def device_memory_bytes() -> int:
    """Return the memory of the first GPU; 0 without one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.client import device_lib  # the public interface does not report it

        return max(
            (d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"), default=0
        )
    if backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        statistics = jax.devices()[0].memory_stats() if jax.devices()[0].platform == "gpu" else None
        return (statistics or {}).get("bytes_limit", 0)
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


class HostDataset:
    """Footage in memory-mapped files; a thread cuts batches on the host, see ``batches``.

    Args:
        pairs: training footage.
        plan: shape of a batch.
        architecture: the network that batches are shaped for.
    """

    def __init__(self, pairs: Sequence[TrainingPair], plan: BatchPlan, architecture: Architecture) -> None:
        self._pairs, self._plan, self._architecture = pairs, plan, architecture

    def batches(self, seed: int, first_step: int, end_step: int) -> Generator[tuple[Any, Any]]:
        """Yield ``(low, high)`` of steps ``first_step`` .. ``end_step - 1``, shaped for the network."""
        pairs, plan, architecture = self._pairs, self._plan, self._architecture
        return prefetch(
            lambda step: shape_batch(*make_batch(pairs, plan, seed, step), architecture), first_step, end_step
        )


class DeviceDataset:
    """Footage in the device's memory.

    Args:
        pairs: training footage.
        plan: shape of a batch.
        degradation: degradation of the pairs. ``bd`` and ``bi`` are recomputed from the truth; for others,
            the pairs' low-resolution variants are stored on the device, too.
        architecture: the network that batches are shaped for.

    Raises:
        DataError: more pixels than int32 indices can address.
    """

    def __init__(
        self,
        pairs: Sequence[TrainingPair],
        plan: BatchPlan,
        degradation: Degradation,
        architecture: Architecture,
    ) -> None:
        self._pairs, self._plan = pairs, plan
        self._degradation = (
            None if _needs_stored_low(degradation) else SeparableDegradation(degradation, plan)
        )
        highs = [pair.high for pair in pairs]
        lows = [] if self._degradation else [pair.low for pair in pairs]
        if max(_pixel_count(highs), _pixel_count(lows)) > MAX_PIXELS:
            raise DataError("the footage has too many pixels for --data device: use --data host")
        self._stores = [_to_device(arrays) for arrays in (highs, lows) if arrays]
        self._start_pixels = [
            dict(zip(pairs, _first_pixels(arrays), strict=True)) for arrays in (highs, lows) if arrays
        ]
        weights = None if self._degradation is None else self._degradation.weights

        def cut(*arguments):
            stores, offsets = arguments[: len(self._stores)], arguments[len(self._stores) :]
            high = _gather_pixels(stores[0], *offsets[:3])
            low = _gather_pixels(stores[-1], *offsets[3:])
            if weights is not None:
                low = ops.einsum("ir,btrcx->bticx", weights, low)
                low = ops.einsum("jc,bticx->btijx", weights, low)
                low = ops.clip(ops.round(low), 0, 255)
            return shape_batch(low / 255, high / 255, architecture, ops.concatenate)

        self._make_batch = _compile(cut)

    def batches(self, seed: int, first_step: int, end_step: int) -> Generator[tuple[Any, Any]]:
        """Yield ``(low, high)`` tensors of the steps from ``first_step`` to before ``end_step``."""
        offsets = prefetch(
            lambda step: self._pixel_offsets(sample_crops(self._pairs, self._plan, seed, step)),
            first_step,
            end_step,
        )
        with contextlib.closing(offsets):
            for lists in offsets:
                yield self._make_batch(*self._stores, *lists)

    def _pixel_offsets(self, crops: Sequence[CropSpec]) -> list[np.ndarray]:
        """Return six int32 arrays: offsets of the truth's frames, rows and columns, then of the low ones."""
        lists = [(*self._truth_offsets(crop), *self._low_offsets(crop)) for crop in crops]
        return [np.stack(offsets).astype(np.int32) for offsets in zip(*lists, strict=True)]

    def _truth_offsets(self, crop: CropSpec) -> tuple[np.ndarray, ...]:
        plan, (height, width) = self._plan, crop.pair.high.shape[1:3]
        frame_indices = crop.frame_indices[plan.margin : len(crop.frame_indices) - plan.margin]
        along = np.arange(plan.scale * plan.crop)
        top = plan.truth_start(crop.top, crop.flipped_vertically)
        left = plan.truth_start(crop.left, crop.flipped_horizontally)
        frames = self._start_pixels[0][crop.pair] + height * width * frame_indices
        return frames, *_orient(crop, top + along, left + along, width)

    def _low_offsets(self, crop: CropSpec) -> tuple[np.ndarray, ...]:
        if self._degradation is not None:
            height, width = crop.pair.high.shape[1:3]
            frames = self._start_pixels[0][crop.pair] + height * width * crop.frame_indices
            rows = self._degradation.source_lines(crop.top, height)
            columns = self._degradation.source_lines(crop.left, width)
            return frames, *_orient(crop, rows, columns, width)
        _, count, height, width, _ = crop.pair.low.shape
        along = np.arange(self._plan.crop)
        frames = self._start_pixels[1][crop.pair] + height * width * (
            crop.variant * count + crop.frame_indices
        )
        return frames, *_orient(crop, crop.top + along, crop.left + along, width)


class SeparableDegradation:
    """``bd`` or ``bi`` degradation of crops, equal to a crop of the degraded frame.

    Attributes:
        weights: float32 (crop, n): weights of n truth lines for each low-resolution line. Symmetric under
            reversal, so flipped crops use the same.
    """

    def __init__(self, degradation: Degradation, plan: BatchPlan) -> None:
        s, crop = plan.scale, plan.crop
        self._scale, self._reflects = s, degradation.name == "bd"
        if self._reflects:
            self._lead_lines, lines = BD_SIZE // 2, s * (crop - 1) + BD_SIZE
            self.weights = np.zeros((crop, lines), np.float32)
            for line in range(crop):
                self.weights[line, s * line : s * line + BD_SIZE] = gaussian_kernel_1d(BD_SIGMA[s])
        else:  # the middle of a frame that is large enough for its borders not to matter
            self._lead_lines = 2 * s
            matrix = resize_matrix(s * (crop + 8), crop + 8, "bicubic")
            self.weights = matrix[4:-4, 2 * s : -2 * s]

    def source_lines(self, low_start: int, side: int) -> np.ndarray:
        """Return the n truth lines that a crop starting at low-resolution line ``low_start`` needs.

        Beyond the borders of a frame with ``side`` lines they are reflected for ``bd``, repeated for ``bi``.
        """
        lines = self._scale * low_start - self._lead_lines + np.arange(self.weights.shape[1])
        if not self._reflects:
            return np.clip(lines, 0, side - 1)
        period = max(1, 2 * (side - 1))
        lines = np.abs(lines) % period
        return np.minimum(np.minimum(lines, period - lines), side - 1)


def _needs_stored_low(degradation: Degradation) -> bool:
    """Return whether low resolution cannot be computed from a crop of the truth alone."""
    return degradation.name not in ("bd", "bi")


def _orient(
    crop: CropSpec, rows: np.ndarray, columns: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets along the output's rows and columns, with the crop's flips and transposition."""
    rows = width * (rows[::-1] if crop.flipped_vertically else rows)
    columns = columns[::-1] if crop.flipped_horizontally else columns
    return (columns, rows) if crop.transposed else (rows, columns)


def _gather_pixels(store, frames, rows, columns):
    """Gather pixels: (P, 3) uint8; (B, T), (B, H), (B, W) int32 -> (B, T, H, W, 3) float32, 0 to 255."""
    indices = frames[:, :, None, None] + rows[:, None, :, None] + columns[:, None, None, :]
    return ops.cast(ops.take(store, indices, axis=0), "float32")


def _pixel_count(arrays: Sequence[np.ndarray]) -> int:
    return sum(array.size // 3 for array in arrays)


def _first_pixels(arrays: Sequence[np.ndarray]) -> list[int]:
    sizes = [array.size // 3 for array in arrays]
    return [0, *np.cumsum(sizes[:-1]).tolist()]


def _to_device(arrays: Sequence[np.ndarray]) -> Any:
    return ops.convert_to_tensor(np.concatenate([array.reshape(-1, 3) for array in arrays]))


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # TensorFlow's own gather does not support uint8 on a GPU; XLA's does
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
