"""Run an upscaler over test clips as the product does, and score it beside interpolation.

Model, bicubic and Lanczos see the same low resolution through the same path (shots, tiles, 8-bit rounding),
and interpolation stands on the protocol's own grid: a bicubic 1.5 pixels out of place flatters every network.
Frames that stand still are computed again and again: the product's short cut for them changes no picture, and
would only make a network look faster.

Time of an engine alone, without the frames at a shot's start that fill windows and compile networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.evaluate.clips import ClipFile
from vsrcli.evaluate.metrics import PSNR_CAP, luma, psnr_y, ssim_y
from vsrcli.evaluate.protocol import Clip, Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS, WARMUP_FRAMES, ClipResult, Cost, Evaluation, Quality
from vsrcli.frames.resample import Phase
from vsrcli.frames.state import State
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Engine, Stream
from vsrcli.media.types import Frame
from vsrcli.pipeline.memory import max_tile_side
from vsrcli.pipeline.shot_upscaler import ShotUpscaler


class Stopwatch:
    """Adds up.

    Attributes:
        seconds: of all timed frames.
        frames: that were timed.
    """

    def __init__(self) -> None:
        self.seconds, self.frames = 0.0, 0

    def add(self, seconds: float) -> None:
        """One more frame."""
        self.seconds += seconds
        self.frames += 1


class TimedStream:
    """A stream under a stopwatch, see :class:`~vsrcli.inference.types.Stream`.

    Once it has answered ``WARMUP_FRAMES`` times, each push takes one frame in and gives one out: that is timed.
    Whatever a network compiles, it has compiled before. What it gives at the end is not timed, since nothing
    comes in for it.
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


@dataclass(frozen=True, eq=False)
class StillFrames:
    """The middle frame of a clip in every version, uint8; ``low`` is (H, W, 3), the others (s*H, s*W, 3)."""

    index: int
    low: np.ndarray
    bicubic: np.ndarray
    lanczos: np.ndarray
    model: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class MethodScore:
    """One method on one clip.

    Attributes:
        quality: its scores.
        cost: its time.
        still: its middle frame, uint8 (s*H, s*W, 3).
    """

    quality: Quality
    cost: Cost
    middle_frame: np.ndarray


@dataclass(frozen=True, eq=False)
class Baselines:
    """Both interpolations of a clip."""

    bicubic: MethodScore
    lanczos: MethodScore


def benchmark(
    engine: Engine,
    files: Sequence[ClipFile],
    protocol: Protocol,
    *,
    model: str,
    max_frames: int | None = None,
    bytes_per_pixel: int = 0,
    on_clip: Callable[[ClipResult, StillFrames], None] = lambda result, still: None,
) -> Evaluation:
    """Measure an engine on clips, one in memory at a time.

    Args:
        engine: what is measured; may serve several protocols of its scale in turn.
        files: at least one, see :func:`~vsrcli.evaluate.clips.find_clips`.
        protocol: how low resolution is made.
        model: name for the report.
        frames: take only so many from each clip's start; None: all.
        bytes_per_pixel: of the network, to choose tiles as the product does; 0: no tiles.
        on_clip: called after each clip.

    Raises:
        DataError: a clip that cannot be scored.
        EngineError: the network could not run.
    """
    results = []
    for file in files:
        result, still = measure_model(engine, prepare_clip(file, protocol, max_frames), bytes_per_pixel)
        results.append(result)
        on_clip(result, still)
    return Evaluation(model, engine.description, protocol, tuple(results))


def measure_model(
    engine: Engine, clip: Clip, bytes_per_pixel: int = 0, baselines: Baselines | None = None
) -> tuple[ClipResult, StillFrames]:
    """Score model and interpolation on one clip.

    Args:
        engine: the model.
        clip: from :func:`~vsrcli.evaluate.protocol.prepare_clip`.
        bytes_per_pixel: see :func:`run`.
        baselines: of this clip, if they are known already.

    Raises:
        EngineError: the network could not run, or gave fewer frames than it got.
    """
    baselines_ = baselines or interpolation_baselines(clip)
    model = score_method(engine, clip, bytes_per_pixel)
    methods = {"bicubic": baselines_.bicubic, "lanczos": baselines_.lanczos, "model": model}
    height, width = clip.truth.shape[1:3]
    result = ClipResult(
        clip.name,
        width,
        height,
        len(clip.truth),
        **{name: score.quality for name, score in methods.items()},
        costs={name: scored.cost for name, scored in methods.items()},
        variant=clip.variant,
    )
    middle = len(clip.truth) // 2
    stills = {name: scored.middle_frame for name, scored in methods.items()}
    return result, StillFrames(middle, clip.low[middle], truth=clip.truth[middle], **stills)


def interpolation_baselines(clip: Clip) -> Baselines:
    """Score bicubic and Lanczos on the clip's own grid."""
    phase, scale = clip.protocol.phase, clip.protocol.scale
    return Baselines(
        *(score_method(ResampleEngine(name, scale, phase), clip) for name in ("bicubic", "lanczos"))
    )


def score_method(engine: Engine, clip: Clip, bytes_per_pixel: int = 0) -> MethodScore:
    """Score one engine on one clip, frame by frame.

    Raises:
        EngineError: it could not run, or gave fewer frames than it got.
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
    """How much nearer to the truth bicubic comes on the *other* pixel grid, in dB, on the middle frame.

    Clearly positive, low resolution does not lie where the protocol says.
    """
    middle, scale = len(clip.truth) // 2, clip.protocol.scale
    grids: tuple[Phase, Phase] = ("zero", "centre") if clip.protocol.phase == "centre" else ("centre", "zero")
    low, truth = clip.low[middle : middle + 1], clip.truth[middle]
    other, own = (
        min(psnr_y(next(upscale_frames(ResampleEngine("bicubic", scale, grid), low)), truth, CROP), PSNR_CAP)
        for grid in grids
    )
    return other - own


def upscale_frames(
    engine: Engine, low: np.ndarray, bytes_per_pixel: int = 0, stopwatch: Stopwatch | None = None
) -> Iterator[np.ndarray]:
    """Frames through an engine exactly as in :func:`vsrcli.upscale`: fresh streams at cuts, tiles, 8 bits.

    Args:
        engine: any.
        low: uint8 (T, H, W, 3).
        bytes_per_pixel: of the network, to choose tiles; 0: no tiles.
        watch: takes the time of the engine alone.

    Yields:
        uint8 (scale*H, scale*W, 3), as many as went in.
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
    """Scores of the frames of one clip as they come."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._steady: list[float] = []  # one fewer: from each frame to the next
        self._previous_luma: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, output: np.ndarray, truth: np.ndarray) -> None:
        self._psnr.append(min(psnr_y(output, truth, CROP), PSNR_CAP))
        self._ssim.append(ssim_y(output, truth, CROP))
        inner = (slice(CROP, -CROP), slice(CROP, -CROP))
        now = luma(output[inner]), luma(truth[inner])
        if self._previous_luma is not None:
            change, wanted = (after - before for after, before in zip(now, self._previous_luma, strict=True))
            error = float(np.mean((change - wanted) ** 2))
            self._steady.append(min(10 * np.log10(255**2 / error), PSNR_CAP) if error else PSNR_CAP)
        self._previous_luma = now

    def quality(self) -> Quality:
        scored = slice(SKIP_ENDS, -SKIP_ENDS)
        # One scored frame has no neighbour that is scored: take the changes that lead to and from it.
        changes = self._steady[scored] or self._steady[SKIP_ENDS - 1 : 1 - SKIP_ENDS]
        values = (self._psnr[scored], self._ssim[scored], changes, self._psnr, self._ssim)
        return Quality(*(float(np.mean(value)) for value in values))
