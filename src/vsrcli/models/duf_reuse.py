"""The paper's DUF, frame by frame: what overlapping windows have in common is computed once.

DUF (:mod:`vsrcli.models.duf`) looks at windows of seven frames, and pads time with zeros in the blocks that
keep it. Far enough from a window's ends a feature does not depend on where the window stands: behind the
first block all but the first and the last of seven, behind the second all but two at each end, behind the
third only the middle one. Those are kept from one window to the next. A convolution over three frames is
taken apart into three over one, so that features near the ends share whatever they can.

In the blocks that follow every feature belongs to one window. Convolutions along time have three taps and
outputs that overlap: with Winograd's minimal filtering along time, 7 spatial convolutions do for five
outputs where 15 stand in the definition (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
CVPR 2016). Where many channels come and go, the same is done along the height: 8 rows for six.

These are the same sums in another order: pictures agree with the plain network's within float rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from vsrcli.models import dynamic
from vsrcli.models.costs import WINDOW
from vsrcli.models.duf import BN_EPSILON

SHARING = WINDOW // 2  # blocks behind which windows still have something in common
_TILES = {1: (1,), 3: (3,), 5: (5,), 7: (5, 2)}  # outputs along time -> how many are computed together
_ROWS = 6  # computed together
_MANY = 128 * 64  # channels in, times out: from here on that saves time, see benchmarks/engines.py
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


def advance(model: Any, frame: Any, queues: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The next frame, and what is kept of those before, to the features of a window.

    Args:
        model: from :func:`vsrcli.models.duf.build`, in float32.
        frame: ``(1, H, W, 3)``, the window's last.
        queues: what is kept, the oldest first: of the stem and, for each block, of the products that make it
            and of the features that it adds; six of each, then four, then two.

    Returns:
        ``(1, H, W, C)``, what the blocks make of the window, and one new entry for each queue.
    """
    stem, last = _conv(frame, *_weights(model, "stem")), WINDOW - 1
    newest = [stem]
    parts = [[each] for each in (*queues[0], stem)]  # of the features of each of the window's frames
    inner: dict[int, Any] = {}  # products of frames that the window's ends have not touched
    ends: dict[int, Any] = {}  # of the others
    for level in range(SHARING + 1):
        fresh = last - level  # the one inner frame that was in no window yet
        touched = [p for p in range(WINDOW) if not level <= p <= fresh]
        if level:
            block = _Block(model, level - 1)
            grown = {p: block.grown({**inner, **ends}, p) for p in touched}
            made = block.grown(inner, fresh)
            kept = queues[2 * level] if level < SHARING else ()
            grown.update({**_until(fresh, kept), fresh: made})
            for p in range(WINDOW):
                parts[p].append(grown[p])
            newest += [made] if level < SHARING else []
        if level < SHARING:
            block = _Block(model, level)
            made = block.products(_joined(parts[fresh]))
            inner = {p: block.apart(each) for p, each in _until(fresh, queues[2 * level + 1]).items()}
            inner[fresh] = block.apart(made)
            newest.append(made)
            few = {0: (0, 1), last: (1, 2)}  # taps that are of use at the ends
            ends = {}
            for p in touched:
                taps = few.get(p, (0, 1, 2))
                ends[p] = block.apart(block.products(_joined(parts[p]), taps), taps)
    return (_rest(model, [_joined(part) for part in parts]), *newest)


def refine(model: Any, features: Any) -> Any:
    """What the blocks made of a window -> ``(1, H, W, 256)``, what the output stage sees."""
    kernel, bias = _weights(model, "head")
    return ops.relu(_conv_by_rows(_normed(model, "head_bn", features), kernel) + bias)


def paint(model: Any, x: Any, around: Any, scale: int) -> Any:
    """A band of :func:`refine` -> a band of the picture, not clipped."""
    residual = model.get_layer("residual2")(ops.relu(model.get_layer("residual1")(x)))
    logits = model.get_layer("filters2")(ops.relu(model.get_layer("filters1")(x)))
    return dynamic.depth_to_space(dynamic.paint(around, logits, residual), scale)


class _Block:
    """A densely connected block: a convolution of single pixels, then one of 3x3x3.

    Args:
        model: whose.
        number: of the block.
    """

    def __init__(self, model: Any, number: int) -> None:
        self._model, self._name = model, f"block{number}"
        self.kernel, self.bias = _kernel(model, f"{self._name}_grow")  # 3, 3, 3, C, growth; time first
        self.growth = int(self.kernel.shape[-1])

    def reduced(self, x: Any) -> Any:
        """``(1, H, W, C)`` -> the same shape. The second batch norm is part of the convolution's weights."""
        kernel, bias = _weights(self._model, f"{self._name}_reduce")
        scale, shift = _affine(self._model, f"{self._name}_bn2")
        x = _normed(self._model, f"{self._name}_bn1", x)
        return ops.relu(_conv(x, kernel * scale, bias * scale + shift))

    def products(self, x: Any, taps: Iterable[int] = (0, 1, 2)) -> Any:
        """What a frame's features contribute to the frames behind, at and before it, side by side."""
        return _conv_by_rows(self.reduced(x), np.concatenate([self.kernel[tap] for tap in taps], axis=-1))

    def apart(self, products: Any, taps: Iterable[int] = (0, 1, 2)) -> dict[int, Any]:
        """By tap."""
        starts = {tap: number * self.growth for number, tap in enumerate(taps)}
        return {tap: products[..., start : start + self.growth] for tap, start in starts.items()}

    def grown(self, products: Mapping[int, Mapping[int, Any]], p: int) -> Any:
        """The features that the block adds to frame ``p``; outside the window there is nothing."""
        terms = [products[p + tap - 1][tap] for tap in range(3) if 0 <= p + tap - 1 < WINDOW]
        return _sum(terms) + self.bias


def _rest(model: Any, frames: list[Any]) -> Any:
    """The blocks whose features belong to one window: seven frames' features -> ``(1, H, W, C)``."""
    for number in range(SHARING, _blocks(model)):
        block = _Block(model, number)
        reduced: list[Any] = [block.reduced(frame) for frame in frames]
        if number < _blocks(model) - SHARING:  # keeps time: outside the window there is nothing
            reduced = [None, *reduced, None]
        else:
            frames = frames[1:-1]
        grown = []
        for outputs in _TILES[len(frames)]:
            grown += _filtered(reduced[len(grown) : len(grown) + outputs + 2], block.kernel)
        frames = [_joined([x, y + block.bias]) for x, y in zip(frames, grown, strict=True)]
    return frames[0]


def _filtered(frames: list[Any], kernel: np.ndarray) -> list[Any]:
    """A 3x3x3 convolution, valid along time, of frames ``(1, H, W, C)`` or None: Winograd's F(m, 3)."""
    before, weights, after = minimal_filtering(len(frames) - 2)
    products = []
    for mix, taps in zip(before, weights, strict=True):
        x = _mix(frames, mix)
        products.append(None if x is None else _conv(x, np.tensordot(taps, kernel, 1).astype(np.float32)))
    return [_mix(products, mix) for mix in after]


@cache
def minimal_filtering(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Winograd's F(m, 3): m outputs of a filter with three taps from m + 2 products.

    Returns:
        ``B (m+2, m+2)``, ``G (m+2, 3)``, ``A (m, m+2)``: ``A @ ((G @ taps) * (B @ inputs))`` is the
        correlation. By Toom and Cook's construction, from the values of polynomials at 0, 1, -1, 2, -2, 1/2,
        -1/2 and infinity; a single output is taken as it is defined.
    """
    if outputs == 1:
        return np.eye(3), np.eye(3), np.ones((1, 3))
    points = np.array(_POINTS[: outputs + 1])
    at_infinity = np.eye(3)[2:], np.eye(outputs)[outputs - 1 :]
    weights = np.concatenate([points[:, None] ** np.arange(3), at_infinity[0]])
    after = np.concatenate([points[:, None] ** np.arange(outputs), at_infinity[1]]).T
    # each output j is the sum over taps k of input j + k: linear equations for B
    system = np.einsum("ji,ik->jki", after, weights).reshape(3 * outputs, outputs + 2)
    wanted = np.zeros((outputs, 3, outputs + 2))
    for j in range(outputs):
        for k in range(3):
            wanted[j, k, j + k] = 1
    before = np.linalg.lstsq(system, wanted.reshape(3 * outputs, outputs + 2), rcond=None)[0]
    return np.round(before, 12), weights, after


def _mix(terms: Sequence[Any], weights: np.ndarray) -> Any:
    """A weighted sum; None stands for zero."""
    used = [(x, float(weight)) for x, weight in zip(terms, weights, strict=True) if x is not None and weight]
    return _sum([x if weight == 1 else x * weight for x, weight in used]) if used else None


def _sum(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _until(stop: int, entries: Sequence[Any]) -> dict[int, Any]:
    """The entries of a queue by their place in the window; the newest stands before ``stop``."""
    return dict(zip(range(stop - len(entries), stop), entries, strict=True))


def _joined(parts: Sequence[Any]) -> Any:
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _conv(x: Any, kernel: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """A 2D convolution that keeps the size."""
    y = ops.conv(x, kernel, padding="same", data_format="channels_last")
    return y if bias is None else y + bias


def _conv_by_rows(x: Any, kernel: np.ndarray) -> Any:
    """:func:`_conv`, with fewer multiplications where channels are many: Winograd's F(6, 3) along the height.

    They are traded for sums of rows, which cost as much where channels are few. Along both axes these sums
    always cost more than they save.
    """
    if kernel.shape[-1] * kernel.shape[-2] < _MANY:
        return _conv(x, kernel)
    before, weights, after = minimal_filtering(_ROWS)
    x = ops.transpose(x, (0, 3, 1, 2))
    height, width = x.shape[2:]
    tiles = -(-height // _ROWS)
    x = ops.pad(x, ((0, 0), (0, 0), (1, 1 + tiles * _ROWS - height), (0, 0)))
    rows = [x[:, :, row : row + _ROWS * (tiles - 1) + 1 : _ROWS] for row in range(_ROWS + 2)]
    products = []
    for mix, taps in zip(before, weights, strict=True):
        flat = np.tensordot(taps, kernel, 1)[None].astype(np.float32)  # 1, 3, C, K
        products.append(ops.conv(_mix(rows, mix), flat, padding="same", data_format="channels_first"))
    made = ops.stack([_mix(products, mix) for mix in after], axis=3)  # 1, K, tiles, rows, W
    made = ops.reshape(made, (1, kernel.shape[-1], tiles * _ROWS, width))[:, :, :height]
    return ops.transpose(made, (0, 2, 3, 1))


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


def _normed(model: Any, layer: str, x: Any) -> Any:
    """A batch norm and its ReLU."""
    scale, shift = _affine(model, layer)
    return ops.relu(x * scale + shift)
