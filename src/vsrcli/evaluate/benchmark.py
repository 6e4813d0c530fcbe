"""Run engines over test clips as ``vsr upscale`` does, and score them together with interpolation.

Model, bicubic and Lanczos get the same low resolution through the same steps (shots, tiles, 8-bit rounding),
and interpolation uses the protocol's own pixel grid: a bicubic 1.5 pixels off flatters every network.
What ``--strength`` and ``--keep-color`` change comes after that, from the same low resolution. Networks with
a state leave out frames that repeat the one before, as they do there; results are reused in no other case,
since that changes no frame. Timing covers the frames that an engine computes, without the first ones of a
shot, which fill windows and compile networks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.evaluate.crops import DetailCrop, StillFrames, most_detailed_crop
from vsrcli.evaluate.metrics import PSNR_CAP, ClipScorer, psnr_y
from vsrcli.evaluate.perception import Perception
from vsrcli.evaluate.protocol import Clip
from vsrcli.evaluate.results import (
    CROP,
    DEFAULT_LOOK,
    INTERPOLATIONS,
    SKIP_ENDS,
    WARMUP_FRAMES,
    ClipResult,
    Cost,
    Look,
    Quality,
)
from vsrcli.frames.resample import Phase
from vsrcli.frames.tiling import TilePlan, min_tile_side, plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.faithful import FaithfulStream
from vsrcli.inference.selection import INTERPOLATION
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Engine, Stream
from vsrcli.media.types import Frame
from vsrcli.models.architectures import Architecture
from vsrcli.pipeline.memory import max_tile_side
from vsrcli.pipeline.shot_upscaler import ShotUpscaler
from vsrcli.system.signals import raise_if_cancelled

MOVING_FRAMES, MOVING_SIDE = 16, 96  # of a clip, for a page; the part's width and height in pixels


@dataclass(frozen=True, eq=False)
class MethodScore:
    """Scores and time of one method on one clip.

    Attributes:
        quality, cost: scores and time.
        middle_frame: uint8 (s*H, s*W, 3).
        moving: uint8 (T', h, w, 3), see :attr:`Measuring.moving`.
    """

    quality: Quality
    cost: Cost
    middle_frame: np.ndarray
    moving: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))


@dataclass(frozen=True)
class Measuring:
    """What is measured and kept beyond the usual scores.

    Attributes:
        perception: further measures.
        moving: keep the part with most detail of up to ``MOVING_FRAMES`` frames around the middle.
    """

    perception: Perception = field(default_factory=Perception)
    moving: bool = False


USUAL_SCORES = Measuring()


def measure_model(
    engine: Engine,
    clip: Clip,
    network: Architecture | None = None,
    baselines: Mapping[str, MethodScore] | None = None,
    look: Look = DEFAULT_LOOK,
    measuring: Measuring = USUAL_SCORES,
) -> tuple[ClipResult, StillFrames]:
    """Score a model and interpolation on one clip.

    Args:
        engine: of the model.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        network, look: see :func:`upscale_frames`; interpolation is scored without a look.
        baselines: from :func:`interpolation_baselines`; None: measure them.
        measuring: what is measured beyond the usual scores.

    Raises:
        EngineError: the network could not run, or returned another number of frames than it got.
    """
    baselines = baselines or interpolation_baselines(clip, measuring)
    score = score_method(engine, clip, network, look, measuring)
    methods = {**baselines, "model": score}
    middle = len(clip.truth) // 2
    still = StillFrames(
        middle,
        clip.low[middle],
        bicubic=baselines["bicubic"].middle_frame,
        lanczos=baselines["lanczos"].middle_frame,
        model=score.middle_frame,
        truth=clip.truth[middle],
    )
    if measuring.moving:
        shown, crop = moving_part(clip)
        moving = {name: each.moving for name, each in methods.items()}
        moving["truth"] = _extract(crop, clip.truth[shown.start : shown.stop])
        still = replace(still, crop=crop, moving=moving)
    return clip_result(clip, baselines, score), still


def clip_result(clip: Clip, baselines: Mapping[str, MethodScore], score: MethodScore) -> ClipResult:
    """Return the measurements of a clip from those of interpolation and of one method."""
    methods = {**baselines, "model": score}
    height, width = clip.truth.shape[1:3]
    return ClipResult(
        clip.name,
        width,
        height,
        len(clip.truth),
        **{name: each.quality for name, each in methods.items()},
        costs={name: each.cost for name, each in methods.items()},
        variant=clip.variant,
    )


def interpolation_baselines(clip: Clip, measuring: Measuring = USUAL_SCORES) -> dict[str, MethodScore]:
    """Score bicubic and Lanczos interpolation, by name, on the pixel grid of the clip's protocol."""
    phase, scale = clip.protocol.phase, clip.protocol.scale
    return {
        name: score_method(ResampleEngine(name, scale, phase), clip, measuring=measuring)
        for name in INTERPOLATIONS
    }


def score_method(
    engine: Engine,
    clip: Clip,
    network: Architecture | None = None,
    look: Look = DEFAULT_LOOK,
    measuring: Measuring = USUAL_SCORES,
) -> MethodScore:
    """Score one engine on one clip, frame by frame.

    Args:
        engine: of a model or of an interpolation.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        network, look: see :func:`upscale_frames`.
        measuring: what is measured beyond the usual scores.

    Raises:
        EngineError: it could not run, or returned another number of frames than it got.
    """
    seconds: list[float] = []
    outputs = upscale_frames(engine, clip.low, network, seconds, look=look, phase=clip.protocol.phase)
    score = score_frames(outputs, clip, engine.description, measuring)
    height, width = clip.low.shape[1:3]
    return replace(score, cost=Cost(sum(seconds, 0.0), len(seconds), len(seconds) * height * width))


def score_frames(
    outputs: Iterable[np.ndarray],
    clip: Clip,
    description: str,
    measuring: Measuring = USUAL_SCORES,
    truth: np.ndarray | None = None,
) -> MethodScore:
    """Score the frames that a method has made of a clip; they cost nothing.

    Args:
        outputs: as many as ``clip.truth`` has, each uint8 of its size.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        description: of the method, for the error.
        measuring: what is measured beyond the usual scores.
        truth: to compare with instead of ``clip.truth``, of its shape.

    Raises:
        EngineError: there are more or fewer of them.
    """
    truth = clip.truth if truth is None else truth
    scorer, middle_frame = ClipScorer(CROP), np.empty(0, np.uint8)
    kept = np.empty_like(clip.truth) if measuring.perception.is_needed else None
    shown, crop = moving_part(clip) if measuring.moving else (range(0), None)
    moving: list[np.ndarray] = []
    for index, (true, output) in enumerate(zip_longest(truth, outputs)):
        raise_if_cancelled()
        if output is None or true is None:
            raise EngineError(f"{description}: not as many frames out as the {len(clip.low)} that went in")
        scorer.add(output, true)
        if index == len(clip.truth) // 2:
            middle_frame = output
        if kept is not None:
            kept[index] = output
        if crop is not None and index in shown:
            moving.append(crop.extract(output).copy())
    scored = slice(SKIP_ENDS, -SKIP_ENDS)
    # If only one frame is scored, there is no change between scored frames: use those to and from it.
    changes = scored if scorer.steady[scored] else slice(SKIP_ENDS - 1, 1 - SKIP_ENDS)
    quality = Quality(
        _mean(scorer.psnr[scored]),
        _mean(scorer.ssim[scored]),
        _mean(scorer.steady[changes]),
        _mean(scorer.psnr),
        _mean(scorer.ssim),
        scorer.flicker(changes),
    )
    if kept is not None:
        quality = replace(quality, **measuring.perception.measure(kept, truth, scored))
    return MethodScore(quality, Cost(), middle_frame, np.array(moving, np.uint8))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def moving_part(clip: Clip) -> tuple[range, DetailCrop]:
    """Return the indices of up to ``MOVING_FRAMES`` frames around the middle one, and where it has detail."""
    count = len(clip.truth)
    first = max(0, min(count // 2 - MOVING_FRAMES // 2, count - MOVING_FRAMES))
    return range(first, min(first + MOVING_FRAMES, count)), most_detailed_crop(
        clip.truth[count // 2], MOVING_SIDE, MOVING_SIDE
    )


def _extract(crop: DetailCrop, frames: np.ndarray) -> np.ndarray:
    return np.stack([crop.extract(frame) for frame in frames])


def phase_gain(clip: Clip) -> float:
    """Return by how many dB bicubic on the *other* pixel grid comes closer to the truth, on the middle frame.

    A clearly positive gain means that the low resolution has another phase than the protocol states.
    """
    middle, scale = len(clip.truth) // 2, clip.protocol.scale
    phases: tuple[Phase, Phase] = (
        ("zero", "centre") if clip.protocol.phase == "centre" else ("centre", "zero")
    )
    low, truth = clip.low[middle : middle + 1], clip.truth[middle]
    other, own = (
        min(psnr_y(next(upscale_frames(ResampleEngine("bicubic", scale, each), low)), truth, CROP), PSNR_CAP)
        for each in phases
    )
    return other - own


def upscale_frames(
    engine: Engine,
    low: np.ndarray,
    network: Architecture | None = None,
    seconds: list[float] | None = None,
    *,
    look: Look = DEFAULT_LOOK,
    phase: Phase = "centre",
) -> Iterator[np.ndarray]:
    """Upscale frames exactly as :func:`vsrcli.upscale` does: new streams at shot cuts, tiles, 8 bits.

    Args:
        engine: of a model or of an interpolation.
        low: uint8 (T, H, W, 3).
        network: the engine's, to choose tiles by its memory and the sizes it takes, and whether repeated
            frames are left out; None: whole frames, all of them.
        seconds: the engine's time of each timed frame is appended, see ``TIMING``.
        look: what results keep of ``low``.
        phase: of the Lanczos interpolation that ``look`` blends with.

    Yields:
        T frames, uint8 (scale*H, scale*W, 3).

    Raises:
        UsageError: the network takes tiles that are too small for its context.
    """
    height, width = low.shape[1:3]
    tiles = _plan_tiles(height, width, engine.radius, network)
    times = [] if seconds is None else seconds

    def open_stream() -> Stream:
        stream = _TimedStream(engine, tiles, times)
        if look == DEFAULT_LOOK:
            return stream
        interpolation = ResampleEngine(INTERPOLATION, engine.scale, phase).open(height, width)
        return FaithfulStream(
            stream, height, width, interpolation, strength=look.strength, keep_color=look.keep_color
        )

    frames = (Frame(pixels, pts, Fraction(1, 25)) for pts, pixels in enumerate(low))
    on_repeat = (lambda: None) if network is not None and network.has_state else None
    for frame in ShotUpscaler(open_stream, on_repeat=on_repeat).upscale(frames):
        yield frame.pixels


def _plan_tiles(height: int, width: int, overlap: int, network: Architecture | None) -> TilePlan:
    """Return the largest tiles that memory allows and the network takes."""
    if network is None:
        return plan_tiles(height, width, None, overlap)
    if network.max_size is not None:
        limits = None if network.takes_frames(height, width) else network.max_size
        return plan_tiles(height, width, limits, overlap, multiple=network.multiple)
    side = max_tile_side(height, width, network.bytes_per_pixel, overlap)
    if side is not None:
        side = max(side, min_tile_side(overlap, multiple=network.multiple))
    return plan_tiles(height, width, side, overlap, multiple=network.multiple)


class _TimedStream(TiledStream):
    """A stream whose pushes are timed after the first ``WARMUP_FRAMES`` outputs.

    From then on each takes one frame and returns one, and the network is compiled.
    """

    def __init__(self, engine: Engine, tiles: TilePlan, seconds: list[float]) -> None:
        super().__init__(engine.open, tiles, engine.scale)
        self._seconds, self._output_count = seconds, 0

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        start = time.perf_counter()
        output = super().push(frame)
        if self._output_count >= WARMUP_FRAMES:
            self._seconds.append(time.perf_counter() - start)
        self._output_count += output is not None
        return output
