"""Look at a network at one time of a video; everything that the picture, the page and the figures show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop, most_detailed_crop
from vsrcli.explain.attribution import STEPS, Influence, find_influence
from vsrcli.explain.filters import FilterShapes, apply_filters, shapes_of_filters, softmax, to_picture
from vsrcli.explain.moment import Moment
from vsrcli.explain.networks import Examined, filter_layers, middle_of
from vsrcli.explain.pixels import Pixel, interesting_pixels, named_pixels
from vsrcli.frames.resample import interpolate

MAX_REGION = 320 * 180  # source pixels that are shown, at most
_REGION_BYTES = 1_500_000_000  # of memory that they may take
_SHOWN_LAYERS = 3  # where none is named
_SAME_STEPS = 1.0  # of 8 bits, up to which two results count as equal


@dataclass(frozen=True, eq=False)
class PixelView:
    """One pixel: its filters and what mattered for it.

    Attributes:
        pixel: of the source.
        patch: source pixels (9, 9, 3) around it, edges repeated.
        filters: float32 (25, s*s), None without dynamic filters.
        influence: see :class:`~vsrcli.explain.attribution.Influence`.
    """

    pixel: Pixel
    patch: np.ndarray
    filters: np.ndarray | None
    influence: Influence


@dataclass(frozen=True, eq=False)
class Explanation:
    """What was found.

    Attributes:
        moment: the frames.
        examined: the network.
        region: the part of the frame that is shown, in source pixels.
        frame: that part, (h, w, 3).
        base: what the residual is added to, (s*h, s*w, 3): the filtered picture, or bicubic interpolation.
        residual: what is added; may be negative.
        difference: between their sum, clipped, and what ``vsr upscale`` gives: the largest, in 8-bit steps.
        shapes: of the filters, or None without dynamic filters.
        views: of the pixels.
        activations: (H, W, C) by name of the layer.
        layers: all names.
        history: frames before the one in question from which on everything was computed.
        notes: for people: what does not apply, and why.
    """

    moment: Moment
    examined: Examined
    region: DetailCrop
    frame: np.ndarray
    base: np.ndarray
    residual: np.ndarray
    difference: float
    shapes: FilterShapes | None
    views: tuple[PixelView, ...]
    activations: dict[str, np.ndarray]
    layers: tuple[str, ...]
    history: int
    notes: tuple[str, ...] = field(default=())

    @property
    def sum(self) -> np.ndarray:
        """The result, clipped to [0, 1]."""
        return (self.base + self.residual).clip(0.0, 1.0)

    @property
    def agrees(self) -> bool:
        """Whether the sum is what ``vsr upscale`` gives."""
        return self.difference <= _SAME_STEPS

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values; see docs/explain.md."""
        scale, region, shapes = self.examined.scale, self.region, self.shapes
        return {
            "file": str(self.moment.path),
            "time": round(float(self.moment.time), 6),
            "model": self.examined.choice.name,
            "scale": scale,
            "frames": self.moment.offsets(),
            "region": [region.left, region.top, region.width, region.height],
            "has_filters": shapes is not None,
            "difference_steps": round(self.difference, 4),
            "agrees": self.agrees,
            "mean_spread": None if shapes is None else round(float(shapes.spread.mean()), 4),
            "mean_residual_steps": round(STEPS * float(np.abs(self.residual).mean()), 4),
            "pixels": [_pixel_numbers(view, scale) for view in self.views],
            "layers": list(self.layers),
            "shown_layers": list(self.activations),
            "notes": list(self.notes),
        }


def explain_moment(
    examined: Examined,
    moment: Moment,
    *,
    positions: Sequence[tuple[int, int]] = (),
    layers: Sequence[str] = (),
    history: int = 8,
    on_progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Explanation:
    """Look at a network at one moment.

    Args:
        examined: the network.
        moment: with ``history`` frames before, or as many as the shot has, and those that follow.
        positions: (x, y) of pixels of the source; none: interesting ones are chosen.
        layers: names of those whose activations are shown; none: three of them.
        history: frames before, for a recurrent network.
        on_progress: called with the number of steps done, of all, and what comes next.

    Raises:
        UsageError: a pixel outside the frame, pixels too far apart to be shown together, an unknown layer.
    """
    check_layers(examined, layers)
    region, chosen = _choose(examined, moment, positions)
    on_progress(0, 1 + len(chosen), "the picture")
    history = min(history if examined.is_recurrent else examined.levels, moment.centre)
    outer, inner = _with_context(region, moment, examined.radius)
    first = moment.centre - history
    last = min(moment.centre + examined.levels, len(moment.frames) - 1)
    sequence = np.ascontiguousarray(
        moment.frames[first : last + 1, outer.top : outer.top + outer.height][
            :, :, outer.left : outer.left + outer.width
        ]
    )
    picture = _Picture(examined, sequence, last - moment.centre, inner)
    picture.compute(list(layers))
    views = []
    for number, pixel in enumerate(chosen, 1):
        on_progress(number, 1 + len(chosen), f"pixel {pixel.x},{pixel.y}")
        influence = find_influence(examined, moment, pixel, history)
        filters = None
        if picture.filters is not None:
            filters = picture.filters[pixel.y - region.top, pixel.x - region.left]
        views.append(PixelView(pixel, _patch(moment.frames[moment.centre], pixel), filters, influence))
    return Explanation(
        moment,
        examined,
        region,
        region.extract(moment.frames[moment.centre]),
        picture.base,
        picture.residual,
        picture.difference,
        None if picture.filters is None else shapes_of_filters(picture.filters, examined.phase),
        tuple(views),
        picture.activations,
        examined.keras.layers if examined.keras else (),
        history,
        _notes(examined, moment, picture.filters is not None, history),
    )


def check_layers(examined: Examined, names: Sequence[str]) -> None:
    """Raise UsageError if a layer is unknown, listing those that there are."""
    if not names:
        return
    if examined.keras is None:
        raise UsageError(f"--layer {names[0]}: no layer can be seen, since {examined.hidden_reason}")
    known = examined.keras.layers
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"--layer {unknown[0]}: {examined.choice.name} has none of this name; it has {', '.join(known)}"
        )


class _Picture:
    """Result and layers of the region that is shown.

    Args:
        examined: the network.
        sequence: (T, H, W, 3), the region with context.
        following: frames after the one in question.
        inner: the region in it.

    Attributes:
        base, residual, difference, activations: see :class:`Explanation`.
        filters: (h, w, 25, s*s), or None.
    """

    base: np.ndarray
    residual: np.ndarray
    difference: float
    filters: np.ndarray | None

    def __init__(self, examined: Examined, sequence: np.ndarray, following: int, inner: DetailCrop) -> None:
        self._examined, self._sequence, self._following = examined, sequence, following
        self._inner = inner
        self.filters, self.activations = None, {}

    def compute(self, layers: list[str]) -> None:
        """Run the network, on the engine and in Keras."""
        examined, scale = self._examined, self._examined.scale
        expected = self._enlarged(examined.engine.results(self._sequence[None], self._following)[0])
        frame = self._sequence[len(self._sequence) - 1 - self._following]
        arrays: dict[str, np.ndarray] = {}
        dynamic, result = None, expected
        if examined.keras is not None:
            dynamic = filter_layers(examined.keras)
            layers = layers or _typical_layers(examined.keras.layers, dynamic)
            wanted = [*layers, *(dynamic or ())]
            result, arrays = examined.keras.trace(self._sequence, self._following, wanted)
            result = self._enlarged(result)
            frames = len(examined.keras.window(len(self._sequence), self._following))
            sides = examined.keras.sides(*frame.shape[:2])
            self.activations = {
                name: self._inside(middle_of(arrays[name], frames, examined.levels), sides)
                for name in layers
                if name in arrays
            }
        if dynamic is not None and all(name in arrays for name in dynamic):
            height, width = frame.shape[:2]
            filters = softmax(arrays[dynamic[0]][-1, :height, :width])
            self.base = self._enlarged(apply_filters(filters, frame))
            self.residual = self._enlarged(to_picture(arrays[dynamic[1]][-1]))
            self.filters = self._inner.extract(filters)
        else:
            plain = interpolate(frame, scale, "bicubic") if scale > 1 else frame
            self.base = self._enlarged(plain.astype(np.float32))
            self.residual = result - self.base
        total = (self.base + self.residual).clip(0.0, 1.0)
        self.difference = STEPS * float(np.abs(total - expected).max())

    def _enlarged(self, picture: np.ndarray) -> np.ndarray:
        """Return the inner part of a result."""
        scale, inner = self._examined.scale, self._inner
        return picture[
            scale * inner.top : scale * (inner.top + inner.height),
            scale * inner.left : scale * (inner.left + inner.width),
        ]

    def _inside(self, array: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
        """Return the inner part of a layer's picture of a frame of ``sides``, whatever its resolution."""
        array = array.reshape(*array.shape[:2], -1)
        inner = self._inner
        rows, columns = (have / want for have, want in zip(array.shape[:2], sides, strict=True))
        return array[
            round(rows * inner.top) : max(round(rows * (inner.top + inner.height)), 1),
            round(columns * inner.left) : max(round(columns * (inner.left + inner.width)), 1),
        ]


def _choose(
    examined: Examined, moment: Moment, positions: Sequence[tuple[int, int]]
) -> tuple[DetailCrop, list[Pixel]]:
    """Return the part of the frame to show, and the pixels in it."""
    width, height = moment.size
    limit = min(MAX_REGION, _REGION_BYTES // max(examined.choice.architecture.bytes_per_pixel, 1))
    frame = moment.frames[moment.centre]
    pixels = named_pixels(positions, width, height)
    region = DetailCrop(0, 0, width, height)
    longest = examined.max_side - 2 * examined.radius
    if width * height > limit or max(width, height) > longest:
        shrink = min(math.sqrt(limit / (width * height)), 1.0)
        columns, rows = (min(max(int(side * shrink), 16), side, longest) for side in (width, height))
        if pixels:
            xs, ys = [pixel.x for pixel in pixels], [pixel.y for pixel in pixels]
            if max(xs) - min(xs) >= columns or max(ys) - min(ys) >= rows:
                raise UsageError(
                    f"these pixels are further apart than the {columns}x{rows} source pixels that one "
                    "picture shows: look at them one at a time"
                )
            left, top = (min(xs) + max(xs) - columns) // 2, (min(ys) + max(ys) - rows) // 2
            left, top = min(max(left, 0), width - columns), min(max(top, 0), height - rows)
            region = DetailCrop(left, top, columns, rows)
        else:
            region = most_detailed_crop((255 * frame).astype(np.uint8), columns, rows)
    if not pixels:
        previous = moment.frames[moment.centre - 1] if moment.centre else None
        found = interesting_pixels(
            region.extract(frame), None if previous is None else region.extract(previous)
        )
        pixels = [Pixel(each.x + region.left, each.y + region.top, each.kind) for each in found]
    return region, pixels


def _with_context(region: DetailCrop, moment: Moment, radius: int) -> tuple[DetailCrop, DetailCrop]:
    """Return the region with what the network sees around it, and the region inside that."""
    width, height = moment.size
    left, top = max(region.left - radius, 0), max(region.top - radius, 0)
    right = min(region.left + region.width + radius, width)
    bottom = min(region.top + region.height + radius, height)
    outer = DetailCrop(left, top, right - left, bottom - top)
    return outer, DetailCrop(region.left - left, region.top - top, region.width, region.height)


def _typical_layers(names: Sequence[str], dynamic: tuple[str, str] | None) -> list[str]:
    """Return the first, a middle and the last layer before the output stage."""
    inner = [name for name in names if name not in (dynamic or names[-1:])]
    if len(inner) <= _SHOWN_LAYERS:
        return inner
    return [inner[round(part * (len(inner) - 1) / (_SHOWN_LAYERS - 1))] for part in range(_SHOWN_LAYERS)]


def _patch(frame: np.ndarray, pixel: Pixel, reach: int = 4) -> np.ndarray:
    rows = np.arange(pixel.y - reach, pixel.y + reach + 1).clip(0, frame.shape[0] - 1)
    columns = np.arange(pixel.x - reach, pixel.x + reach + 1).clip(0, frame.shape[1] - 1)
    return frame[rows][:, columns]


def _notes(examined: Examined, moment: Moment, has_filters: bool, history: int) -> tuple[str, ...]:
    """Return what does not apply, and why."""
    notes = []
    name = examined.choice.name
    if not has_filters:
        notes.append(
            f"no dynamic filters could be seen in {name}: what it adds to a bicubic interpolation is shown "
            "in their place"
        )
    if examined.keras is None:
        notes.append(f"no gradients and no layers: {examined.hidden_reason}")
    elif _backend() != "tensorflow":
        notes.append(f"no gradients: Keras runs on {_backend()}, and they need TensorFlow")
    if examined.choice.architecture.whole_frames:
        notes.append(
            f"parts of the frame were computed, and with {name} they are not those of whole frames: "
            f"{examined.choice.architecture.whole_frames}"
        )
    if examined.choice.architecture.aligned and examined.keras is not None:
        notes.append("gradients and layers are those of frames after their alignment by optical flow")
    if examined.levels == 0 and not examined.is_recurrent:
        notes.append(f"one frame is all that {name} sees, so that no other one can matter")
    if examined.is_recurrent and not (moment.begins_shot and history == moment.centre):
        notes.append(
            f"computed from {history} frames before on, with an empty memory, as `vsr upscale --start` "
            "would; what lies further back is not in it"
        )
    if moment.repeats:
        repeats = "frame that repeats" if moment.repeats == 1 else "frames that repeat"
        notes.append(f"without {moment.repeats} {repeats} the one before, as in `vsr upscale` with {name}")
    if not moment.begins_shot or moment.centre >= examined.levels:
        return tuple(notes)
    return (*notes, "the shot begins so near that the network sees its first frame repeated")


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _pixel_numbers(view: PixelView, scale: int) -> dict[str, Any]:
    pixel, influence = view.pixel, view.influence

    def rounded(values: Sequence[float]) -> list[float | None]:
        return [None if math.isnan(value) else round(value, 5) for value in values]

    return {
        "x": pixel.x,
        "y": pixel.y,
        "kind": pixel.kind,
        "output": [scale * pixel.x, scale * pixel.y, scale, scale],
        "filters": None if view.filters is None else np.round(view.filters.T, 5).tolist(),
        "frames": list(influence.offsets),
        "occlusion_by_neighbour": rounded(influence.neighbour),
        "occlusion_by_mean": rounded(influence.blank),
        "gradient": None if influence.gradient is None else rounded(influence.gradient),
        "memory": rounded(influence.memory),
    }
