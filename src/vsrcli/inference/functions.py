"""The functions that a network is compiled into, and the contract of the backends that run them.

Names and shapes of the functions are fixed, the same on every :class:`Backend`.

Networks are written once, in ``keras.ops``. A stream calls a few functions of a network by name:
:func:`signatures` lists them with their input shapes and needs no Keras, :func:`functions` makes them and
does. Every backend compiles these functions for one frame size.

The output stage runs on bands of rows (:class:`RowBands`): its filters are ``25 * scale**2`` floats per
pixel, most of a network's memory. Every pixel has its own filters, so bands give the same frame in less
memory.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import numpy as np

from vsrcli.errors import NonFiniteError, OutOfMemoryError
from vsrcli.models.architectures import Architecture
from vsrcli.models.costs import DUF_DEPTHS, DUF_ROWS, DUF_S_LEVELS, DUF_STEM, TAPS, WINDOW

BORDER = TAPS // 2  # pixels around a frame that the filters of its outermost pixels read
BAND_PIXELS = 8192  # low-resolution pixels per run of the output stage on a CPU: fits its cache
FLOAT32, BFLOAT16 = "float32", "bfloat16"
DUF_HEAD = 256  # channels before the output stage of the paper's networks
_OUT_OF_MEMORY_ERRORS = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")  # names of classes
_OUT_OF_MEMORY_MESSAGES = (
    "resource_exhausted",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "cannot allocate",
    "could not allocate",
    "failed to allocate",
    "is smaller than requested bytes",
    "alloc_failed",
)


@dataclass(frozen=True)
class RowBands:
    """Bands of equal height that cover a frame, so that one compiled function serves all.

    Attributes:
        tops: first row of every band; the last band begins early and overlaps the one before.
        rows: height of a band.
    """

    tops: tuple[int, ...]
    rows: int

    def __len__(self) -> int:
        return len(self.tops)

    def __iter__(self) -> Iterator[slice]:
        return (slice(top, top + self.rows) for top in self.tops)

    @property
    def height(self) -> int:
        """Height of the frame."""
        return self.tops[-1] + self.rows

    @property
    def overlap_rows(self) -> int:
        """Rows of the last band that the band before covers, too."""
        return len(self) * self.rows - self.height

    def slice(self, features: Any, padded: np.ndarray, rows: slice) -> tuple[Any, np.ndarray]:
        """Return one band of features ``(1, H, W, C)`` and of the frame from :func:`pad_border`.

        Features may have more rows than the frame; no band includes them.
        """
        if len(self) == 1 and features.shape[1] == self.rows:
            return features, padded
        return features[:, rows], padded[:, rows.start : rows.stop + 2 * BORDER]

    def assemble(self, parts: Iterator[np.ndarray]) -> np.ndarray:
        """Return the frame made of the bands' results, float32 (scale*rows, scale*W, 3) each, in order."""
        first = next(parts)
        if len(self) == 1:
            return first
        scale = len(first) // self.rows
        frame = np.empty((scale * self.height, *first.shape[1:]), np.float32)
        for rows, part in zip(self, chain([first], parts), strict=True):
            frame[scale * rows.start : scale * rows.stop] = part
        return frame


def plan_bands(height: int, width: int, band_pixels: int = BAND_PIXELS) -> RowBands:
    """Return the fewest bands of about ``band_pixels`` low-resolution pixels or less, but full rows."""
    count = math.ceil(height * width / band_pixels)
    rows = math.ceil(height / count)
    return RowBands(tuple(min(top, height - rows) for top in range(0, height, rows)), rows)


def pad_border(frame: np.ndarray) -> np.ndarray:
    """Pad a frame (H, W, 3) for the filters of its outermost pixels: (1, H+4, W+4, 3), edges replicated."""
    return np.pad(frame, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")[None]


@dataclass(frozen=True)
class TensorSpec:
    """Shape and number type, by Keras' name, of one function argument."""

    shape: tuple[int, ...]
    dtype: str = FLOAT32


@dataclass(frozen=True)
class NetworkShapes:
    """The sizes of a network that determine the shapes between its functions.

    Attributes:
        kind: ``window``, ``cached`` or ``recurrent``, see
            :class:`~vsrcli.models.architectures.Architecture`;
            ``shared``: the paper's DUF frame by frame, see :mod:`vsrcli.models.duf_streaming`;
            or ``stateful``: one frame and a state in, a result and the new state out.
        scale: upscaling factor.
        levels: frames of a window before, and after, its centre frame.
        width: channels of merged features; for ``stateful``, of the state.
        head: channels before the output stage.
        queues: (entries, channels) of each feature queue that a stream holds between frames.
        row_multiple: features have a multiple of this many rows; rows below the frame are undefined. Unless
            it is 1, features are stored as :class:`~vsrcli.models.winograd.WinogradLayout`.
        multiple: for ``window``: sides of the frames are multiples of this; others are padded by repetition.
        aligned: for ``window``: see :class:`~vsrcli.models.architectures.Architecture`.
        feedback: for ``recurrent``: the previous output enters the next step, besides the hidden state.
    """

    kind: str
    scale: int = 4
    levels: int = WINDOW // 2
    width: int = 0
    head: int = 0
    queues: tuple[tuple[int, int], ...] = ()
    row_multiple: int = 1
    multiple: int = 1
    aligned: bool = False
    feedback: bool = False

    def features(self, height: int, width: int, channels: int) -> tuple[int, int, int, int]:
        """Return the shape of a frame's features between functions."""
        return (1, -(-height // self.row_multiple) * self.row_multiple, width, channels)

    def to_nhwc(self, features: np.ndarray, height: int) -> np.ndarray:
        """Convert features as passed between functions to ``(1, H, W, C)``, the same on every backend."""
        _, rows, width, channels = features.shape
        interleaved = features.reshape(self.row_multiple, rows // self.row_multiple, width, channels)
        return interleaved.swapaxes(0, 1).reshape(features.shape)[:, :height]

    def from_nhwc(self, features: np.ndarray) -> np.ndarray:
        """Invert :meth:`to_nhwc`; rows below the frame become zero."""
        _, height, width, channels = features.shape
        below = -height % self.row_multiple
        padded = np.pad(features, ((0, 0), (0, below), (0, 0), (0, 0)))
        interleaved = padded.reshape(-1, self.row_multiple, width, channels).swapaxes(0, 1)
        return np.ascontiguousarray(interleaved).reshape(padded.shape)


def shapes_of(architecture: Architecture, scale: int, precision: str = "fp32") -> NetworkShapes:
    """Return the shapes of an architecture on OpenVINO, without building the network.

    In ``bf16`` features of DUF-S and DUF-R are stored as frames are: F(6, 3) would about double its rounding
    error, and a processor that multiplies so fast gains nothing from fewer multiplications.
    """
    options = architecture.options
    if architecture.module == "duf":
        return _duf_shapes(int(options["depth"]), scale)
    if architecture.kind == "window":
        multiple, aligned = architecture.multiple, architecture.aligned
        return NetworkShapes("window", scale, architecture.frames // 2, multiple=multiple, aligned=aligned)
    if architecture.module == "convlstm":
        return NetworkShapes("stateful", scale, 0, architecture.state_channels(scale))
    levels = int(options.get("levels", DUF_S_LEVELS))
    shapes = _feature_model_shapes(
        architecture.kind, scale, levels, int(options["width"]), int(options["head"])
    )
    shapes = replace(shapes, feedback=shapes.kind == "recurrent" and bool(options.get("feedback", True)))
    return shapes if precision == "bf16" else replace(shapes, row_multiple=DUF_ROWS)


def shapes_of_model(model: Any) -> NetworkShapes:
    """Return the shapes of a built network; any callable on full windows counts as ``window``."""
    if hasattr(model, "state_channels"):
        return NetworkShapes("stateful", model.scale, model.levels, model.state_channels)
    if not hasattr(model, "fusions"):
        levels, multiple = getattr(model, "levels", WINDOW // 2), getattr(model, "multiple", 1)
        return NetworkShapes("window", levels=levels, multiple=multiple)
    kind = "recurrent" if hasattr(model, "recall") else "cached"
    shapes = _feature_model_shapes(kind, model.scale, len(model.fusions), model.width, model.head_width)
    return replace(shapes, feedback=getattr(model, "has_feedback", False))


def _feature_model_shapes(kind: str, scale: int, levels: int, width: int, head: int) -> NetworkShapes:
    return NetworkShapes(kind, scale, levels, width, head, ((2, width),) * levels)


def _duf_shapes(depth: int, scale: int) -> NetworkShapes:
    """Return the shapes of :mod:`vsrcli.models.duf_streaming`."""
    plan = DUF_DEPTHS[depth]
    grown, products = plan.growth, 3 * plan.growth
    queues = ((6, DUF_STEM), (6, products), (4, grown), (4, products), (2, grown), (2, products))
    width = DUF_STEM + (plan.full_window_blocks + 3) * plan.growth
    return NetworkShapes("shared", scale, WINDOW // 2, width, DUF_HEAD, queues, DUF_ROWS)


def signatures(
    shapes: NetworkShapes, height: int, width: int, bands: RowBands, dtype: str = FLOAT32
) -> dict[str, tuple[TensorSpec, ...]]:
    """Return each function's name and arguments for frames of one size, with features of type ``dtype``."""
    if shapes.kind == "window":
        return {"upscale": (TensorSpec((1, 2 * shapes.levels + 1, height, width, 3)),)}
    frame = TensorSpec((1, height, width, 3))
    if shapes.kind == "stateful":
        return {"step": (frame, TensorSpec((1, height, width, shapes.width)))}
    features = TensorSpec(shapes.features(height, width, shapes.width), dtype)
    x = TensorSpec((1, bands.rows, width, shapes.head), dtype)
    padded = TensorSpec((1, bands.rows + 2 * BORDER, width + 2 * BORDER, 3))
    queued = (
        TensorSpec(shapes.features(height, width, channels), dtype)
        for length, channels in shapes.queues
        for _ in range(length)
    )
    advance, reconstruct = (frame, *queued), (x, padded)
    if shapes.kind != "recurrent":
        return {"advance": advance, "trunk": (features,), "reconstruct": reconstruct}
    feedback = (TensorSpec((1, height, width, 3 * shapes.scale**2)),) * shapes.feedback
    return {"advance": advance, "step": (features, features, *feedback), "reconstruct": reconstruct}


def functions(
    model: Any, shapes: NetworkShapes, layout: Any = None, *, clips: bool = True
) -> Mapping[str, Callable[..., Any]]:
    """Return a network's functions, in ``keras.ops``; ``layout`` is how features are stored between them,
    :class:`~vsrcli.models.winograd.FrameLayout` if it is None.

    - ``upscale``: a window (1, 2*levels + 1, H, W, 3) -> its centre frame, upscaled and clipped to [0, 1];
      not clipped without ``clips``: white may be another value than 1 where others have trained the network.
    - ``advance``: a frame (1, H, W, 3) and all queue entries, oldest first -> merged features, and one new
      entry for each queue.
    - ``trunk``: merged features -> features for ``reconstruct``.
    - ``step``: merged features, hidden state and maybe feedback -> the new hidden state, and features for
      ``reconstruct``. For a ``stateful`` network: a frame (1, H, W, 3) and the state -> the upscaled frame,
      clipped to [0, 1], and the new state.
    - ``reconstruct``: a band of these features and of the padded centre frame -> a band of the upscaled
      frame, clipped to [0, 1]; for a network with feedback also that of the next step.
    """
    from keras import ops

    from vsrcli.models import duf_streaming
    from vsrcli.models.layers import interleave
    from vsrcli.models.winograd import FrameLayout

    layout = layout or FrameLayout()

    def upscale(window):
        upscaled = ops.cast(model(window, training=False), "float32")
        return ops.clip(upscaled, 0.0, 1.0) if clips else upscaled

    def advance(frame, *queued):
        entries = [layout.unpack(entry) for entry in queued]
        features, newest = layout.to_layout(model.encode(frame)), []
        for level in range(len(queued) // 2):
            previous, current = entries[2 * level : 2 * level + 2]
            newest.append(features)
            features = model.fuse(level, previous, current, features, layout)
        return tuple(layout.pack(each) for each in (features, *newest))

    def trunk(features):
        return layout.to_frame(model.trunk(layout.unpack(features), layout))

    def step(features, hidden, feedback=None):
        if feedback is not None:
            feedback = layout.to_layout(feedback)
        hidden, x = model.step(layout.unpack(features), layout.unpack(hidden), feedback, layout)
        return layout.pack(hidden), layout.to_frame(x)

    def step_with_state(frame, state):
        upscaled, state = model.step(frame, state)
        return ops.clip(upscaled, 0.0, 1.0), state

    def reconstruct(x, padded):
        return ops.clip(model.reconstruct(x, padded), 0.0, 1.0)

    def reconstruct_recurrent(x, padded):
        sub_pixels, frame = model.reconstruct(x, padded), padded[:, BORDER:-BORDER, BORDER:-BORDER]
        upscaled = ops.clip(interleave(sub_pixels, model.scale), 0.0, 1.0)
        return (upscaled, model.feedback(sub_pixels, frame)) if shapes.feedback else upscaled

    def advance_shared(frame, *queued):
        entries = iter(queued)
        queues = [[next(entries) for _ in range(length)] for length, _ in shapes.queues]
        return duf_streaming.advance(model, frame, queues)

    def trunk_shared(features):
        return duf_streaming.trunk(model, features)

    def reconstruct_shared(x, padded):
        return ops.clip(duf_streaming.reconstruct(model, x, padded, shapes.scale), 0.0, 1.0)

    return {
        "window": {"upscale": upscale},
        "stateful": {"step": step_with_state},
        "cached": {"advance": advance, "trunk": trunk, "reconstruct": reconstruct},
        "recurrent": {"advance": advance, "step": step, "reconstruct": reconstruct_recurrent},
        "shared": {"advance": advance_shared, "trunk": trunk_shared, "reconstruct": reconstruct_shared},
    }[shapes.kind]


class Backend(Protocol):
    """A network with its weights on a backend, for frames of any size.

    Functions take and return arrays of the backend's own type, and also take NumPy's. All of them support
    ``array[:, rows]`` and ``shape``. Arguments are never modified.

    Attributes:
        shapes: of the network.
        dtype: Keras' name of the features' number type.
        band_pixels: best number of low-resolution pixels per band of the output stage, about.
    """

    shapes: NetworkShapes
    dtype: str
    band_pixels: int

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        """Return the functions of :mod:`vsrcli.inference.functions` for frames of one size, by name.

        Raises:
            OutOfMemoryError: the device has not enough memory for this size.
        """
        ...

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return an array of zeros."""
        ...

    def to_device(self, array: np.ndarray, dtype: str) -> Any:
        """Copy a NumPy array to the backend's own type."""
        ...

    def to_numpy(self, array: Any) -> np.ndarray:
        """Copy an array to NumPy, in the type of :func:`numpy_dtype`."""
        ...

    def read_result(self, result: Any) -> np.ndarray:
        """Return an upscaled frame as a NumPy array.

        Raises:
            NonFiniteError: it holds NaN or infinity.
        """
        ...

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Run the output stage, band by band.

        Args:
            function: ``reconstruct``, compiled for ``bands``.
            bands: of the frame.
            x: features, (1, H, W, C).
            padded: the centre frame, from :func:`~vsrcli.inference.functions.pad_border`.

        Returns:
            The upscaled frame, float32 (scale*H, scale*W, 3); and the feedback for the next step of a network
            that has it, (1, H, W, 3*scale**2), else None.

        Raises:
            NonFiniteError: the frame holds NaN or infinity.
        """
        ...


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the libraries' out-of-memory errors into an :class:`OutOfMemoryError` that names the remedy."""
    try:
        yield
    except Exception as error:
        text = str(error).lower()
        is_short = type(error).__name__ in _OUT_OF_MEMORY_ERRORS
        if is_short or any(message in text for message in _OUT_OF_MEMORY_MESSAGES):
            raise OutOfMemoryError(
                "not enough memory for a tile of this size: give a smaller --tile"
            ) from error
        raise


def numpy_dtype(dtype: str) -> str:
    """Return the NumPy type for a Keras type: float32 for bfloat16, which NumPy lacks; exact."""
    return FLOAT32 if dtype == BFLOAT16 else dtype


def require_finite(array: np.ndarray) -> np.ndarray:
    """Return the array itself.

    Raises:
        NonFiniteError: it holds NaN or infinity, which would become black pixels.
    """
    # NaN passes through both; together they take two thirds of a sum's time
    if array.size and not (np.isfinite(array.max()) and np.isfinite(array.min())):
        raise non_finite_error()
    return array


def non_finite_error() -> NonFiniteError:
    return NonFiniteError(
        "the network gave NaN or infinity: use --precision fp32, or other weights if that was on"
    )
