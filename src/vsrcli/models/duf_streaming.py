"""DUF frame by frame: what overlapping windows have in common is computed once.

DUF (Jo et al., CVPR 2018; :mod:`vsrcli.models.duf`) reads windows of seven frames, and pads time with zeros
in the blocks that keep its length. Far enough from a window's ends a feature does not depend on the window's
position: after the first block all but the first and the last of seven, after the second all but two at each
end, after the third only the middle one. These are stored in queues from one window to the next. A
convolution over three frames is split into three over one, so that features near the ends share as much as
possible.

In the blocks that follow, every feature belongs to one window. Convolutions along time have three taps and
overlapping outputs: with Winograd's minimal filtering along time (Lavin and Gray, CVPR 2016), 7 spatial
convolutions serve five outputs where the definition has 15. Along the height the same is done everywhere, 8
rows for six: see :mod:`vsrcli.models.winograd`, also for the order of rows in which features are stored.

These are the same sums in another order: results agree with the plain network's within float rounding.

Features have shape ``(pixels, C)`` inside this file and ``(1, H', W, C)`` between calls, with H' being H
rounded up to a multiple of six.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from vsrcli.models.costs import WINDOW
from vsrcli.models.duf import BN_EPSILON
from vsrcli.models.layers import apply_dynamic_filters, depth_to_space
from vsrcli.models.minimal_filtering import winograd_matrices
from vsrcli.models.winograd import WinogradLayout, pad_rows, plain_sum, weighted_sum

SHARED_BLOCKS = WINDOW // 2  # blocks after which windows still have features in common
_TIME_TILES = {1: (1,), 3: (3,), 5: (5,), 7: (5, 2)}  # outputs along time -> how many per filtering
_ALL_TAPS = (0, 1, 2)


def advance(model: Any, frame: Any, queues: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Compute the features of a window from its last frame and from what the queues hold of the others.

    Args:
        model: from :func:`vsrcli.models.duf.build`, in float32.
        frame: ``(1, H, W, 3)``, the window's last.
        queues: oldest entries first: of the stem and, for each shared block, of its tap products and of the
            features that it adds; six entries each, then four, then two.

    Returns:
        The features of the window, ``(1, H', W, C)``, ready for :func:`trunk`, and a new entry for each
        queue.
    """
    rows, last = WinogradLayout(*frame.shape[1:3]), WINDOW - 1
    block_count = sum(layer.name.endswith("_grow") for layer in model.layers)
    blocks = [_Block(model, number, rows) for number in range(block_count)]
    stem = rows.to_layout(_stem(model, frame))
    queues = [[rows.unpack(entry) for entry in queue] for queue in queues]
    newest = [stem]
    parts = [[each] for each in (*queues[0], stem)]  # for each frame of the window: features to concatenate
    inner: dict[int, Any] = {}  # position -> tap products that do not depend on the window's position
    ends: dict[int, Any] = {}  # position -> tap products that do
    for level in range(SHARED_BLOCKS + 1):
        newest_inner = last - level  # the one inner position that was in no window yet
        end_positions = [p for p in range(WINDOW) if not level <= p <= newest_inner]
        if level:  # features that the block before adds
            block = blocks[level - 1]
            grown = {p: block.grow({**inner, **ends}, p) for p in end_positions}
            new_entry = block.grow(inner, newest_inner)
            queued = queues[2 * level] if level < SHARED_BLOCKS else ()
            grown.update({**_by_position(newest_inner, queued), newest_inner: new_entry})
            for p in range(WINDOW):
                parts[p].append(grown[p])
            newest += [new_entry] if level < SHARED_BLOCKS else []
        if level < SHARED_BLOCKS:  # tap products of the next block
            block = blocks[level]
            new_entry = block.tap_products(_concatenate(parts[newest_inner]))
            queued_products = _by_position(newest_inner, queues[2 * level + 1])
            inner = {p: block.split_taps(each) for p, each in queued_products.items()}
            inner[newest_inner] = block.split_taps(new_entry)
            newest.append(new_entry)
            taps_inside = {0: (0, 1), last: (1, 2)}  # at the ends, one tap contributes outside the window
            ends = {}
            for p in end_positions:
                taps = taps_inside.get(p, _ALL_TAPS)
                ends[p] = block.split_taps(block.tap_products(_concatenate(parts[p]), taps), taps)
    features = _window_blocks(blocks[SHARED_BLOCKS:], [_concatenate(part) for part in parts])
    features = rows.zero_padding_rows(_norm_relu(features, *_norm_as_affine(model, "head_bn")))
    return tuple(rows.pack(each) for each in (features, *newest))


def trunk(model: Any, features: Any) -> Any:
    """Apply the head to features of :func:`advance` -> ``(1, H', W, 256)``, rows in natural order."""
    kernel, bias = _weights(model, "head")
    rows = WinogradLayout(*features.shape[1:3])
    return rows.to_frame(ops.relu(rows.conv(kernel[0], rows.unpack(features)) + bias))


def reconstruct(model: Any, x: Any, padded: Any, scale: int) -> Any:
    """Apply the output stage to a band.

    Args:
        model: as for :func:`advance`.
        x: ``(1, rows, W, 256)`` from :func:`trunk`.
        padded: ``(1, rows+4, W+4, 3)``: the centre frame, :func:`~vsrcli.models.layers.pad_border`.
        scale: upscaling factor.

    Returns:
        ``(1, scale*rows, scale*W, 3)``, not clipped.
    """
    residual = model.get_layer("residual2")(ops.relu(model.get_layer("residual1")(x)))
    logits = model.get_layer("filters2")(ops.relu(model.get_layer("filters1")(x)))
    return depth_to_space(apply_dynamic_filters(padded, logits, residual), scale)


class _Block:
    """A densely connected block: a 1x1x1 convolution, then one of 3x3x3."""

    def __init__(self, model: Any, number: int, rows: WinogradLayout) -> None:
        name = f"block{number}"
        self.rows = rows
        self.kernel, self.bias = _weights(model, f"{name}_grow")  # 3, 3, 3, C, growth; time first
        self.growth = int(self.kernel.shape[-1])
        self._norm = _norm_as_affine(model, f"{name}_bn1")
        kernel, bias = _weights(model, f"{name}_reduce")
        scale, shift = _norm_as_affine(model, f"{name}_bn2")
        self._reduce = kernel[0] * scale, bias * scale + shift  # with the second batch norm

    def reduce(self, x: Any) -> Any:
        """Apply both batch norms and the 1x1x1 convolution: ``(pixels, C)`` -> the same shape."""
        return self.rows.zero_padding_rows(self.rows.pointwise(_norm_relu(x, *self._norm), *self._reduce))

    def tap_products(self, x: Any, taps: Iterable[int] = _ALL_TAPS) -> Any:
        """Return contributions to the frames after, at and before this one: ``(pixels, taps*growth)``."""
        return self.rows.conv(np.concatenate([self.kernel[tap] for tap in taps], axis=-1), self.reduce(x))

    def split_taps(self, products: Any, taps: Iterable[int] = _ALL_TAPS) -> dict[int, Any]:
        """Split :meth:`tap_products` by tap: ``(pixels, growth)`` each."""
        starts = {tap: number * self.growth for number, tap in enumerate(taps)}
        return {tap: products[..., start : start + self.growth] for tap, start in starts.items()}

    def grow(self, products: Mapping[int, Mapping[int, Any]], p: int) -> Any:
        """Return the features that the block adds to frame ``p``; time is padded with zeros."""
        terms = [products[p + tap - 1][tap] for tap in range(3) if 0 <= p + tap - 1 < WINDOW]
        return plain_sum(terms) + self.bias


def _window_blocks(blocks: Sequence[_Block], frames: list[Any]) -> Any:
    """Apply the blocks whose features belong to one window: seven frames' features -> ``(pixels, C)``."""
    for blocks_left, block in zip(range(len(blocks), 0, -1), blocks, strict=True):
        reduced: list[Any] = [block.reduce(frame) for frame in frames]
        if blocks_left > SHARED_BLOCKS:  # the block keeps the length of time: pad with zeros
            reduced = [None, *reduced, None]
        else:
            frames = frames[1:-1]
        grown = []
        for outputs in _TIME_TILES[len(frames)]:
            grown += _temporal_conv(reduced[len(grown) : len(grown) + outputs + 2], block.kernel, block.rows)
        frames = [_concatenate([x, y + block.bias]) for x, y in zip(frames, grown, strict=True)]
    return frames[0]


def _temporal_conv(frames: list[Any], kernel: np.ndarray, rows: WinogradLayout) -> list[Any]:
    """Apply a 3x3x3 convolution, valid along time, to frames ``(pixels, C)`` or None (zeros): F(m, 3)."""
    before, weights, after = winograd_matrices(len(frames) - 2)
    products = []
    for sums, taps in zip(before, weights, strict=True):
        x = weighted_sum(frames, sums)
        products.append(None if x is None else rows.conv(np.tensordot(taps, kernel, 1).astype(np.float32), x))
    return [weighted_sum(products, sums) for sums in after]


def _by_position(stop: int, entries: Sequence[Any]) -> dict[int, Any]:
    """Return a queue's entries by their position in the window; the newest is at ``stop - 1``."""
    return dict(zip(range(stop - len(entries), stop), entries, strict=True))


def _concatenate(parts: Sequence[Any]) -> Any:
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _stem(model: Any, frame: Any) -> Any:
    """Apply the stem to a frame padded below with zeros to a multiple of six rows -> ``(1, H', W, 64)``."""
    kernel, bias = _weights(model, "stem")
    return ops.conv(pad_rows(frame), kernel[0], padding="same", data_format="channels_last") + bias


def _weights(model: Any, layer: str) -> list[np.ndarray]:
    """Return a layer's arrays: kernel and bias of a convolution."""
    return [np.asarray(ops.convert_to_numpy(each)) for each in model.get_layer(layer).weights]


def _norm_as_affine(model: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch norm as a scale and a shift for each channel."""
    gamma, beta, mean, variance = _weights(model, layer)
    scale = gamma / np.sqrt(variance + BN_EPSILON)
    return scale, beta - mean * scale


def _norm_relu(x: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    """Apply a batch norm and ReLU."""
    return ops.relu(x * scale + shift)
