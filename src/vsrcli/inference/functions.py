"""What a network is compiled in: functions of fixed shapes, the same ones on every backend.

Networks are written once, in ``keras.ops``. A stream calls a few functions of theirs by name; which they are,
and what shapes they take, is said here. Shapes are known without Keras, functions are made by :func:`trace`
where Keras is.

Bands of rows: the output stage's filters are 25 * scale**2 floats a pixel, most of a network's memory.

Every pixel's filters are its own, so a frame painted in bands is the same frame, in less memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from vsrcli.models.architectures import (
    DUF_DEPTHS,
    DUF_ROWS,
    DUF_S_LEVELS,
    DUF_STEM,
    TAPS,
    WINDOW,
    Architecture,
)

BORDER = TAPS // 2  # pixels around a frame that the filters of its outermost pixels look at
BAND_PIXELS = 8192  # low-resolution pixels that the output stage takes at a time, on a CPU: fits its cache


@dataclass(frozen=True)
class RowBands:
    """Bands of one height cover a frame, so that one compiled function serves all.

    Attributes:
        tops: first row of every band; the last one begins early and paints some rows again.
        rows: in a band.
    """

    tops: tuple[int, ...]
    rows: int

    def __len__(self) -> int:
        return len(self.tops)

    def __iter__(self) -> Iterator[slice]:
        return (slice(top, top + self.rows) for top in self.tops)

    @property
    def height(self) -> int:
        """Of the frame."""
        return self.tops[-1] + self.rows

    @property
    def overlap_rows(self) -> int:
        """Rows that the last band paints and the one before has painted already."""
        return len(self) * self.rows - self.height

    def slice(self, features: Any, around: np.ndarray, rows: slice) -> tuple[Any, np.ndarray]:
        """A band of features ``(1, H, W, C)``, and of the frame with its border, from :func:`framed`.

        Features may have more rows than the frame: no band takes them.
        """
        if len(self) == 1 and features.shape[1] == self.rows:
            return features, around
        return features[:, rows], around[:, rows.start : rows.stop + 2 * BORDER]

    def assemble(self, parts: Iterator[np.ndarray]) -> np.ndarray:
        """A picture from those of the bands, float32 (scale*rows, scale*W, 3) each, in their order."""
        first = next(parts)
        if len(self) == 1:
            return first
        scale = len(first) // self.rows
        picture = np.empty((scale * self.height, *first.shape[1:]), np.float32)
        for rows, part in zip(self, chain([first], parts), strict=True):
            picture[scale * rows.start : scale * rows.stop] = part
        return picture


def plan_bands(height: int, width: int, band_pixels: int = BAND_PIXELS) -> RowBands:
    """The fewest bands of at most about ``band_pixels`` low-resolution pixels each, at least one row high."""
    count = math.ceil(height * width / band_pixels)
    rows = math.ceil(height / count)
    return RowBands(tuple(min(top, height - rows) for top in range(0, height, rows)), rows)


def pad_border(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) with the border that its outermost pixels' filters need: (1, H+4, W+4, 3); the border
    repeats."""
    return np.pad(frame, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")[None]


FLOAT32 = "float32"
DUF_HEAD = 256  # of the paper's networks


@dataclass(frozen=True)
class TensorSpec:
    """An array that a function takes.

    Attributes:
        shape: of it.
        dtype: Keras' name of the number type.
    """

    shape: tuple[int, ...]
    dtype: str = FLOAT32


@dataclass(frozen=True)
class NetworkShapes:
    """What of a network shows in the shapes between its parts.

    Attributes:
        kind: ``window``, ``cached`` or ``recurrent``, see
            :class:`~vsrcli.models.architectures.Architecture`;
            or ``shared``, for the paper's DUF frame by frame.
        scale: upscaling factor.
        levels: how many frames a window looks at before and after the one in its middle.
        width: channels of merged features.
        head: channels before the output stage.
        queues: (entries, channels) of what a window keeps from frame to frame.
        rows: features have a multiple of so many, and the last ones below the frame mean nothing. If it is
            not 1, they lie as :class:`~vsrcli.models.winograd.RowInterleaved`.
    """

    kind: str
    scale: int = 4
    levels: int = WINDOW // 2
    width: int = 0
    head: int = 0
    queues: tuple[tuple[int, int], ...] = ()
    rows: int = 1

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int, int]:
        """Of features of a frame, between functions."""
        return (1, -(-height // self.rows) * self.rows, width, channels)

    def to_nhwc(self, features: np.ndarray, height: int) -> np.ndarray:
        """As they lie between functions -> ``(1, H, W, C)`` as every backend knows them."""
        _, rows, width, channels = features.shape
        lying = features.reshape(self.rows, rows // self.rows, width, channels)
        return lying.swapaxes(0, 1).reshape(features.shape)[:, :height]

    def from_nhwc(self, features: np.ndarray) -> np.ndarray:
        """:meth:`saved` undone."""
        _, height, width, channels = features.shape
        below = -height % self.rows
        whole = np.pad(features, ((0, 0), (0, below), (0, 0), (0, 0)))
        lying = whole.reshape(-1, self.rows, width, channels).swapaxes(0, 1)
        return np.ascontiguousarray(lying).reshape(whole.shape)


def shapes_of(architecture: Architecture, scale: int, precision: str = "fp32") -> NetworkShapes:
    """From a model's own description, for OpenVINO: builds nothing.

    In ``bf16`` features of DUF-S and DUF-R lie as frames do: F(6, 3) would make its rounding about twice as
    large, and a processor that multiplies so fast gains nothing from fewer multiplications.
    """
    options = architecture.options
    if architecture.kind == "window":
        return _sizes_of_duf(int(options["depth"]), scale)
    levels = int(options.get("levels", DUF_S_LEVELS))
    sizes = _sizes(architecture.kind, scale, levels, int(options["width"]), int(options["head"]))
    return sizes if precision == "bf16" else replace(sizes, rows=DUF_ROWS)


def shapes_of_model(model: Any) -> NetworkShapes:
    """Of a network that is there: anything that takes whole windows is a ``window``."""
    if not hasattr(model, "fusions"):
        return NetworkShapes("window")
    kind = "recurrent" if hasattr(model, "recall") else "cached"
    return _sizes(kind, model.scale, len(model.fusions), model.width, model.head_width)


def _sizes(kind: str, scale: int, levels: int, width: int, head: int) -> NetworkShapes:
    return NetworkShapes(kind, scale, levels, width, head, ((2, width),) * levels)


def _sizes_of_duf(depth: int, scale: int) -> NetworkShapes:
    """See :mod:`vsrcli.models.duf_streaming`."""
    plan = DUF_DEPTHS[depth]
    added, products = plan.growth, 3 * plan.growth
    queues = ((6, DUF_STEM), (6, products), (4, added), (4, products), (2, added), (2, products))
    width = DUF_STEM + (plan.keeping + 3) * plan.growth
    return NetworkShapes("shared", scale, WINDOW // 2, width, DUF_HEAD, queues, DUF_ROWS)


def signatures(
    sizes: NetworkShapes, height: int, width: int, bands: RowBands, dtype: str = FLOAT32
) -> dict[str, tuple[TensorSpec, ...]]:
    """The functions' names, and what they take for frames of one size.

    Args:
        sizes: of the network.
        height, width: of the frames.
        bands: in which they are painted.
        dtype: of features.
    """
    if sizes.kind == "window":
        return {"upscale": (TensorSpec((1, WINDOW, height, width, 3)),)}
    frame = TensorSpec((1, height, width, 3))
    feature = TensorSpec(sizes.shape(height, width, sizes.width), dtype)
    x = TensorSpec((1, bands.rows, width, sizes.head), dtype)
    around = TensorSpec((1, bands.rows + 2 * BORDER, width + 2 * BORDER, 3))
    kept = (
        TensorSpec(sizes.shape(height, width, channels), dtype)
        for length, channels in sizes.queues
        for _ in range(length)
    )
    advance = (frame, *kept)
    if sizes.kind in ("cached", "shared"):
        return {"advance": advance, "refine": (feature,), "paint": (x, around)}
    painted = TensorSpec((1, height, width, 3 * sizes.scale**2))
    return {"advance": advance, "step": (feature, feature, painted), "paint": (x, around)}


def functions(model: Any, sizes: NetworkShapes, height: int, width: int) -> Mapping[str, Callable[..., Any]]:
    """The functions themselves, in ``keras.ops``, for frames of one size.

    - ``upscale``: a window (1, 7, H, W, 3) -> its centre frame, upscaled and clipped.
    - ``advance``: a frame, and what the queues hold, the oldest first -> merged features, and a new entry
      for each queue.
    - ``refine``: merged features -> features for ``paint``.
    - ``step``: merged features, the hidden state and what was painted -> the new hidden state, and features
      for ``paint``.
    - ``paint``: a band of these, and of the centre frame with its border -> a band of the picture, clipped;
      with a state also what the next step is given of the picture.
    """
    from keras import ops

    from vsrcli.models.layers import depth_to_space
    from vsrcli.models.winograd import FrameLayout, WinogradLayout

    layout = WinogradLayout(height, width) if sizes.rows > 1 else FrameLayout()

    def upscale(window):
        return ops.clip(ops.cast(model(window, training=False), "float32"), 0.0, 1.0)

    def advance(frame, *state):
        entries = [layout.unpack(entry) for entry in state]
        features, newest = layout.to_layout(model.encode(frame)), []
        for level in range(len(state) // 2):
            before, here = entries[2 * level : 2 * level + 2]
            newest.append(features)
            features = model.fuse(level, before, here, features, layout)
        return tuple(layout.pack(each) for each in (features, *newest))

    def refine(features):
        return layout.to_frame(model.trunk(layout.unpack(features), layout))

    def step(features, hidden, painted):
        hidden, x = model.step(
            layout.unpack(features), layout.unpack(hidden), layout.to_layout(painted), layout
        )
        return layout.pack(hidden), layout.to_frame(x)

    def paint(x, around):
        return ops.clip(model.reconstruct(x, around), 0.0, 1.0)

    def paint_and_remember(x, around):
        depth, here = model.reconstruct(x, around), around[:, BORDER:-BORDER, BORDER:-BORDER]
        return ops.clip(depth_to_space(depth, model.scale), 0.0, 1.0), model.feedback(depth, here)

    def advance_shared(frame, *state):
        from vsrcli.models.duf_streaming import advance

        entries = iter(state)
        queues = [[next(entries) for _ in range(length)] for length, _ in sizes.queues]
        return advance(model, frame, queues)

    def refine_shared(features):
        from vsrcli.models.duf_streaming import trunk

        return trunk(model, features)

    def paint_shared(x, around):
        from vsrcli.models.duf_streaming import reconstruct

        return ops.clip(reconstruct(model, x, around, sizes.scale), 0.0, 1.0)

    return {
        "window": {"upscale": upscale},
        "cached": {"advance": advance, "refine": refine, "paint": paint},
        "recurrent": {"advance": advance, "step": step, "paint": paint_and_remember},
        "shared": {"advance": advance_shared, "refine": refine_shared, "paint": paint_shared},
    }[sizes.kind]
