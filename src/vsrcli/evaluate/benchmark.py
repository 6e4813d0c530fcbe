"""Run engines over test clips as ``vsr upscale`` does, and score them together with interpolation.

Model, bicubic and Lanczos get the same low resolution through the same steps (shots, tiles, 8-bit rounding),
and interpolation uses the protocol's own pixel grid: a bicubic 1.5 pixels off flatters every network.
Repeated frames are computed each time: the short cut of ``vsr upscale`` for them changes no frame, and would
only make a network look faster. Timing covers the engine alone, without the first frames of a shot, which
fill windows and compile networks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.evaluate.metrics import PSNR_CAP, luma, psnr_y, ssim_y
from vsrcli.evaluate.protocol import Clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS, WARMUP_FRAMES, ClipResult, Cost, Quality
from vsrcli.frames.resample import Phase
from vsrcli.frames.state import State
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Engine, Stream
from vsrcli.media.types import Frame
from vsrcli.pipeline.memory import max_tile_side
from vsrcli.pipeline.shot_upscaler import ShotUpscaler


@dataclass(frozen=True, eq=False)
class StillFrames:
    """The middle frame of a clip in every version, uint8; ``low`` is (H, W, 3), all others (s*H, s*W, 3)."""

    index: int
    low: np.ndarray
    bicubic: np.ndarray
    lanczos: np.ndarray
    model: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class MethodScore:
    """Measurements of one method on one clip.

    Attributes:
        quality: scores.
        cost: time.
        middle_frame: uint8 (s*H, s*W, 3).
    """

    quality: Quality
    cost: Cost
    middle_frame: np.ndarray


@dataclass(frozen=True, eq=False)
class Baselines:
    """Measurements of both interpolation methods on one clip."""

    bicubic: MethodScore
    lanczos: MethodScore


def measure_model(
    engine: Engine, clip: Clip, bytes_per_pixel: int = 0, baselines: Baselines | None = None
) -> tuple[ClipResult, StillFrames]:
    """Score a model and interpolation on one clip.

    Args:
        engine: of the model.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        bytes_per_pixel: see :func:`upscale_frames`.
        baselines: of this clip; None: measure them.

    Raises:
        EngineError: the network could not run, or returned another number of frames than it got.
    """
    baselines = baselines or interpolation_baselines(clip)
    model = score_method(engine, clip, bytes_per_pixel)
    methods = {"bicubic": baselines.bicubic, "lanczos": baselines.lanczos, "model": model}
    height, width = clip.truth.shape[1:3]
    result = ClipResult(
        clip.name,
        width,
        height,
        len(clip.truth),
        **{name: score.quality for name, score in methods.items()},
        costs={name: score.cost for name, score in methods.items()},
        variant=clip.variant,
    )
    middle = len(clip.truth) // 2
    frames = {name: score.middle_frame for name, score in methods.items()}
    return result, StillFrames(middle, clip.low[middle], truth=clip.truth[middle], **frames)


def interpolation_baselines(clip: Clip) -> Baselines:
    """Score bicubic and Lanczos interpolation on the pixel grid of the clip's protocol."""
    phase, scale = clip.protocol.phase, clip.protocol.scale
    return Baselines(
        *(score_method(ResampleEngine(name, scale, phase), clip) for name in ("bicubic", "lanczos"))
    )


def score_method(engine: Engine, clip: Clip, bytes_per_pixel: int = 0) -> MethodScore:
    """Score one engine on one clip, frame by frame.

    Args:
        engine: of a model or of an interpolation.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        bytes_per_pixel: see :func:`upscale_frames`.

    Raises:
        EngineError: it could not run, or returned another number of frames than it got.
    """
    scorer, stopwatch, middle_frame = _FrameScorer(), Stopwatch(), None
    outputs = upscale_frames(engine, clip.low, bytes_per_pixel, stopwatch)
    for index, (truth, output) in enumerate(zip_longest(clip.truth, outputs)):
        if output is None or truth is None:
            raise EngineError(
                f"{engine.description}: not as many frames out as the {len(clip.low)} that went in"
            )
        scorer.add(output, truth)
        if index == len(clip.truth) // 2:
            middle_frame = output
    assert middle_frame is not None
    height, width = clip.low.shape[1:3]
    return MethodScore(
        scorer.quality(),
        Cost(stopwatch.seconds, stopwatch.frames, stopwatch.frames * height * width),
        middle_frame,
    )


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


class Stopwatch:
    """Adds up the time of frames.

    Attributes:
        seconds: total time.
        frames: number of timed frames.
    """

    def __init__(self) -> None:
        self.seconds, self.frames = 0.0, 0

    def add(self, seconds: float) -> None:
        """Add the time of one frame."""
        self.seconds += seconds
        self.frames += 1


class TimedStream:
    """A :class:`~vsrcli.inference.types.Stream` that times the pushes of another one.

    Pushes are timed after the first ``WARMUP_FRAMES`` outputs: from then on each takes one frame and returns
    one, and the network is compiled. :meth:`flush` is not timed, since it returns frames without taking any.
    """

    def __init__(self, stream: Stream, stopwatch: Stopwatch) -> None:
        self._stream, self._stopwatch = stream, stopwatch
        self._output_count = 0

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        start = time.perf_counter()
        output = self._stream.push(frame)
        if self._output_count >= WARMUP_FRAMES:
            self._stopwatch.add(time.perf_counter() - start)
        self._output_count += output is not None
        return output

    def flush(self) -> list[np.ndarray]:
        return self._stream.flush()

    def fork(self) -> TimedStream:
        forked = TimedStream(self._stream.fork(), self._stopwatch)
        forked._output_count = self._output_count
        return forked

    def state(self) -> State:
        return self._stream.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._stream.restore(state)


def upscale_frames(
    engine: Engine, low: np.ndarray, bytes_per_pixel: int = 0, stopwatch: Stopwatch | None = None
) -> Iterator[np.ndarray]:
    """Upscale frames exactly as :func:`vsrcli.upscale` does: new streams at shot cuts, tiles, 8 bits.

    Args:
        engine: of a model or of an interpolation.
        low: uint8 (T, H, W, 3).
        bytes_per_pixel: memory that the network needs per input pixel, to choose tiles; 0: no tiles.
        stopwatch: times the engine alone; None: no timing.

    Yields:
        T frames, uint8 (scale*H, scale*W, 3).
    """
    height, width = low.shape[1:3]
    tiles = plan_tiles(
        height, width, max_tile_side(height, width, bytes_per_pixel, engine.radius), engine.radius
    )

    def open_stream() -> Stream:
        stream = TiledStream(engine.open, tiles, engine.scale)
        return stream if stopwatch is None else TimedStream(stream, stopwatch)

    frames = (Frame(pixels, pts, Fraction(1, 25)) for pts, pixels in enumerate(low))
    for frame in ShotUpscaler(open_stream).upscale(frames):
        yield frame.pixels


class _FrameScorer:
    """Scores the frames of one clip in order."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._steady: list[float] = []  # of the change from each frame to the next, so one fewer
        self._previous_luma: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, output: np.ndarray, truth: np.ndarray) -> None:
        self._psnr.append(min(psnr_y(output, truth, CROP), PSNR_CAP))
        self._ssim.append(ssim_y(output, truth, CROP))
        inner = (slice(CROP, -CROP), slice(CROP, -CROP))
        current = luma(output[inner]), luma(truth[inner])
        if self._previous_luma is not None:
            change, true_change = (
                after - before for after, before in zip(current, self._previous_luma, strict=True)
            )
            error = float(np.mean((change - true_change) ** 2))
            self._steady.append(min(10 * np.log10(255**2 / error), PSNR_CAP) if error else PSNR_CAP)
        self._previous_luma = current

    def quality(self) -> Quality:
        scored = slice(SKIP_ENDS, -SKIP_ENDS)
        # If only one frame is scored, there is no change between scored frames: use those to and from it.
        changes = self._steady[scored] or self._steady[SKIP_ENDS - 1 : 1 - SKIP_ENDS]
        values = (self._psnr[scored], self._ssim[scored], changes, self._psnr, self._ssim)
        return Quality(*(float(np.mean(value)) for value in values))
