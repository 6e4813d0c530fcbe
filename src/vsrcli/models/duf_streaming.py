"""The paper's DUF, frame by frame: what overlapping windows have in common is computed once.

DUF (:mod:`vsrcli.models.duf`) looks at windows of seven frames, and pads time with zeros in the blocks that
keep it. Far enough from a window's ends a feature does not depend on where the window stands: behind the
first block all but the first and the last of seven, behind the second all but two at each end, behind the
third only the middle one. Those are kept from one window to the next. A convolution over three frames is
taken apart into three over one, so that features near the ends share whatever they can.

In the blocks that follow every feature belongs to one window. Convolutions along time have three taps and
outputs that overlap: with Winograd's minimal filtering along time, 7 spatial convolutions do for five
outputs where 15 stand in the definition. Along the height the same is done everywhere, 8 rows for six: see
:mod:`vsrcli.models.winograd`, also for the order of rows in which features lie, between calls, too.

These are the same sums in another order: pictures agree with the plain network's within float rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from vsrcli.models.architectures import DUF_ROWS, WINDOW
from vsrcli.models.duf import BN_EPSILON
from vsrcli.models.layers import apply_dynamic_filters, depth_to_space
from vsrcli.models.winograd import RowInterleaved, plain_sum, weighted_sum, winograd_matrices

SHARED_WEIGHTS = WINDOW // 2  # blocks behind which windows still have something in common
_TILES = {1: (1,), 3: (3,), 5: (5,), 7: (5, 2)}  # outputs along time -> how many are computed together


def advance(model: Any, frame: Any, queues: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The next frame, and what is kept of those before, to the features of a window.

    Args:
        model: from :func:`vsrcli.models.duf.build`, in float32.
        frame: ``(1, H, W, 3)``, the window's last.
        queues: what is kept, the oldest first: of the stem and, for each block, of the products that make it
            and of the features that it adds; six of each, then four, then two.

    Returns:
        ``(1, H', W, C)``, what the blocks make of the window, ready for :func:`refine`, and one new entry for
        each queue. H' is H rounded up to a multiple of six.
    """
    rows, last = RowInterleaved(*frame.shape[1:3]), WINDOW - 1
    blocks = [_Block(model, number, rows) for number in range(_blocks(model))]
    stem = rows.interleave(_stem(model, frame))
    queues = [[_flat(entry) for entry in queue] for queue in queues]
    newest = [stem]
    parts = [[each] for each in (*queues[0], stem)]  # of the features of each of the window's frames
    inner: dict[int, Any] = {}  # products of frames that the window's ends have not touched
    ends: dict[int, Any] = {}  # of the others
    for level in range(SHARED_WEIGHTS + 1):
        fresh = last - level  # the one inner frame that was in no window yet
        touched = [p for p in range(WINDOW) if not level <= p <= fresh]
        if level:
            block = blocks[level - 1]
            grown = {p: block.grown({**inner, **ends}, p) for p in touched}
            made = block.grown(inner, fresh)
            kept = queues[2 * level] if level < SHARED_WEIGHTS else ()
            grown.update({**_until(fresh, kept), fresh: made})
            for p in range(WINDOW):
                parts[p].append(grown[p])
            newest += [made] if level < SHARED_WEIGHTS else []
        if level < SHARED_WEIGHTS:
            block = blocks[level]
            made = block.products(_joined(parts[fresh]))
            inner = {p: block.apart(each) for p, each in _until(fresh, queues[2 * level + 1]).items()}
            inner[fresh] = block.apart(made)
            newest.append(made)
            few = {0: (0, 1), last: (1, 2)}  # taps that are of use at the ends
            ends = {}
            for p in touched:
                taps = few.get(p, (0, 1, 2))
                ends[p] = block.apart(block.products(_joined(parts[p]), taps), taps)
    features = _rest(blocks[SHARED_WEIGHTS:], [_joined(part) for part in parts])
    features = rows.zero_padding_rows(_normed(features, *_affine(model, "head_bn")))
    return tuple(ops.reshape(each, (1, -1, rows.width, each.shape[-1])) for each in (features, *newest))


def trunk(model: Any, features: Any) -> Any:
    """What the blocks made of a window -> ``(1, H', W, 256)``, what the output stage sees, rows in order."""
    kernel, bias = _weights(model, "head")
    rows = RowInterleaved(*features.shape[1:3])
    return rows.deinterleave(ops.relu(rows.conv(kernel, _flat(features)) + bias))


def reconstruct(model: Any, x: Any, around: Any, scale: int) -> Any:
    """A band of :func:`refine` -> a band of the picture, not clipped."""
    residual = model.get_layer("residual2")(ops.relu(model.get_layer("residual1")(x)))
    logits = model.get_layer("filters2")(ops.relu(model.get_layer("filters1")(x)))
    return depth_to_space(apply_dynamic_filters(around, logits, residual), scale)


class _Block:
    """A densely connected block: a convolution of single pixels, then one of 3x3x3.

    Args:
        model: whose.
        number: of the block.
        rows: how its features lie.
    """

    def __init__(self, model: Any, number: int, rows: RowInterleaved) -> None:
        name = f"block{number}"
        self.rows = rows
        self.kernel, self.bias = _kernel(model, f"{name}_grow")  # 3, 3, 3, C, growth; time first
        self.growth = int(self.kernel.shape[-1])
        self._norm = _affine(model, f"{name}_bn1")
        kernel, bias = _weights(model, f"{name}_reduce")
        scale, shift = _affine(model, f"{name}_bn2")
        self._reduce = kernel * scale, bias * scale + shift  # the second batch norm is part of the weights

    def reduced(self, x: Any) -> Any:
        """``(pixels, C)`` -> the same shape."""
        return self.rows.zero_padding_rows(self.rows.pointwise(_normed(x, *self._norm), *self._reduce))

    def products(self, x: Any, taps: Iterable[int] = (0, 1, 2)) -> Any:
        """What a frame's features contribute to the frames behind, at and before it, side by side."""
        return self.rows.conv(np.concatenate([self.kernel[tap] for tap in taps], axis=-1), self.reduced(x))

    def apart(self, products: Any, taps: Iterable[int] = (0, 1, 2)) -> dict[int, Any]:
        """By tap."""
        starts = {tap: number * self.growth for number, tap in enumerate(taps)}
        return {tap: products[..., start : start + self.growth] for tap, start in starts.items()}

    def grown(self, products: Mapping[int, Mapping[int, Any]], p: int) -> Any:
        """The features that the block adds to frame ``p``; outside the window there is nothing."""
        terms = [products[p + tap - 1][tap] for tap in range(3) if 0 <= p + tap - 1 < WINDOW]
        return plain_sum(terms) + self.bias


def _rest(blocks: Sequence[_Block], frames: list[Any]) -> Any:
    """The blocks whose features belong to one window: seven frames' features -> ``(pixels, C)``."""
    for left, block in zip(range(len(blocks), 0, -1), blocks, strict=True):
        reduced: list[Any] = [block.reduced(frame) for frame in frames]
        if left > SHARED_WEIGHTS:  # keeps time: outside the window there is nothing
            reduced = [None, *reduced, None]
        else:
            frames = frames[1:-1]
        grown = []
        for outputs in _TILES[len(frames)]:
            grown += _filtered(reduced[len(grown) : len(grown) + outputs + 2], block.kernel, block.rows)
        frames = [_joined([x, y + block.bias]) for x, y in zip(frames, grown, strict=True)]
    return frames[0]


def _filtered(frames: list[Any], kernel: np.ndarray, rows: RowInterleaved) -> list[Any]:
    """A 3x3x3 convolution, valid along time, of frames ``(pixels, C)`` or None: Winograd's F(m, 3)."""
    before, weights, after = winograd_matrices(len(frames) - 2)
    products = []
    for sums, taps in zip(before, weights, strict=True):
        x = weighted_sum(frames, sums)
        products.append(None if x is None else rows.conv(np.tensordot(taps, kernel, 1).astype(np.float32), x))
    return [weighted_sum(products, sums) for sums in after]


def _until(stop: int, entries: Sequence[Any]) -> dict[int, Any]:
    """The entries of a queue by their place in the window; the newest stands before ``stop``."""
    return dict(zip(range(stop - len(entries), stop), entries, strict=True))


def _joined(parts: Sequence[Any]) -> Any:
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _stem(model: Any, frame: Any) -> Any:
    """A frame, with rows of zeros below until six divide their number -> ``(1, 6*n, W, 64)``."""
    kernel, bias = _weights(model, "stem")
    below = -frame.shape[1] % DUF_ROWS
    frame = ops.pad(frame, ((0, 0), (0, below), (0, 0), (0, 0))) if below else frame
    return ops.conv(frame, kernel, padding="same", data_format="channels_last") + bias


def _flat(features: Any) -> Any:
    """``(1, H, W, C)`` -> ``(pixels, C)``."""
    return ops.reshape(features, (-1, features.shape[-1]))


def _blocks(model: Any) -> int:
    return sum(layer.name.endswith("_grow") for layer in model.layers)


def _kernel(model: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """A layer's kernel and bias as NumPy's arrays."""
    kernel, bias = (np.asarray(ops.convert_to_numpy(each)) for each in model.get_layer(layer).weights)
    return kernel, bias


def _weights(model: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Those of a 3D convolution that does not look along time, for one of two dimensions."""
    kernel, bias = _kernel(model, layer)
    return kernel[0], bias


def _affine(model: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch norm as a scale and a shift for each channel."""
    arrays = (np.asarray(ops.convert_to_numpy(each)) for each in model.get_layer(layer).weights)
    gamma, beta, mean, variance = arrays
    scale = gamma / np.sqrt(variance + BN_EPSILON)
    return scale, beta - mean * scale


def _normed(x: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    """A batch norm and its ReLU."""
    return ops.relu(x * scale + shift)
