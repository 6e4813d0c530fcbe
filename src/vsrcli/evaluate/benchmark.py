"""Run an upscaler over test clips as the product does, and score it beside interpolation.

Model, bicubic and Lanczos see the same low resolution through the same path (shots, tiles, 8-bit rounding),
and interpolation stands on the protocol's own grid: a bicubic 1.5 pixels out of place flatters every network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np

from vsrcli.engine.resample import ResampleEngine
from vsrcli.engine.types import Engine, Stream
from vsrcli.errors import EngineError
from vsrcli.evaluate.metrics import PSNR_CAP, luma, psnr_y, ssim_y
from vsrcli.evaluate.protocol import Clip, ClipFile, Protocol, prepare_clip
from vsrcli.evaluate.result import CROP, METHODS, SKIP_ENDS, Quality, Report, Result
from vsrcli.frames.tiles import TiledStream, plan_tiles
from vsrcli.media.types import Frame
from vsrcli.memory import largest_tile
from vsrcli.pipeline import ShotByShot


@dataclass(frozen=True, eq=False)
class Still:
    """The middle frame of a clip in every version, uint8; ``low`` is (H, W, 3), the others (s*H, s*W, 3)."""

    index: int
    low: np.ndarray
    bicubic: np.ndarray
    lanczos: np.ndarray
    model: np.ndarray
    truth: np.ndarray


def benchmark(
    engine: Engine,
    files: Sequence[ClipFile],
    protocol: Protocol,
    *,
    model: str,
    frames: int | None = None,
    bytes_per_pixel: int = 0,
    on_clip: Callable[[Result, Still], None] = lambda result, still: None,
) -> Report:
    """Measure an engine on clips, one in memory at a time.

    Args:
        engine: what is measured; may serve several protocols of its scale in turn.
        files: at least one, see :func:`~vsrcli.evaluate.protocol.find_clips`.
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
        result, still = measure(engine, prepare_clip(file, protocol, frames), bytes_per_pixel)
        results.append(result)
        on_clip(result, still)
    return Report(model, engine.description, protocol, tuple(results))


def measure(engine: Engine, clip: Clip, bytes_per_pixel: int = 0) -> tuple[Result, Still]:
    """Score model and interpolation on one clip, frame by frame, side by side.

    Raises:
        EngineError: the network could not run, or gave fewer frames than it got.
    """
    phase, scale = clip.protocol.phase, clip.protocol.scale
    outputs = (
        run(ResampleEngine("bicubic", scale, phase), clip.low),
        run(ResampleEngine("lanczos", scale, phase), clip.low),
        run(engine, clip.low, bytes_per_pixel),
    )
    scorers = {method: _Scorer() for method in METHODS}
    stills: dict[str, np.ndarray] = {}
    middle = len(clip.truth) // 2
    for index, (truth, *pictures) in enumerate(zip_longest(clip.truth, *outputs)):
        for method, picture in zip(METHODS, pictures, strict=True):
            if picture is None or truth is None:
                raise EngineError(
                    f"{engine.description}: not as many frames out as the {len(clip.low)} that went in"
                )
            scorers[method].add(picture, truth)
        if index == middle:
            stills = dict(zip(METHODS, pictures, strict=True))
    height, width = clip.truth.shape[1:3]
    scores = {method: scorer.quality() for method, scorer in scorers.items()}
    still = Still(middle, clip.low[middle], truth=clip.truth[middle], **stills)
    return Result(clip.name, width, height, len(clip.truth), **scores), still


def run(engine: Engine, low: np.ndarray, bytes_per_pixel: int = 0) -> Iterator[np.ndarray]:
    """Frames through an engine exactly as in :func:`vsrcli.upscale`: fresh streams at cuts, tiles, 8 bits.

    Args:
        engine: any.
        low: uint8 (T, H, W, 3).
        bytes_per_pixel: of the network, to choose tiles; 0: no tiles.

    Yields:
        uint8 (scale*H, scale*W, 3), as many as went in.
    """
    height, width = low.shape[1:3]
    tiles = plan_tiles(
        height, width, largest_tile(height, width, bytes_per_pixel, engine.radius), engine.radius
    )

    def open_stream() -> Stream:
        return TiledStream(engine.open, tiles, engine.scale)

    frames = (Frame(pixels, pts, Fraction(1, 25)) for pts, pixels in enumerate(low))
    for frame in ShotByShot(open_stream).upscaled(frames):
        yield frame.pixels


class _Scorer:
    """Scores of the frames of one clip as they come."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._temporal: list[float] = []  # one fewer: from each frame to the next
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, picture: np.ndarray, truth: np.ndarray) -> None:
        self._psnr.append(min(psnr_y(picture, truth, CROP), PSNR_CAP))
        self._ssim.append(ssim_y(picture, truth, CROP))
        inner = (slice(CROP, -CROP), slice(CROP, -CROP))
        now = luma(picture[inner]), luma(truth[inner])
        if self._before is not None:
            change, wanted = (after - before for after, before in zip(now, self._before, strict=True))
            error = float(np.mean((change - wanted) ** 2))
            self._temporal.append(min(10 * np.log10(255**2 / error), PSNR_CAP) if error else PSNR_CAP)
        self._before = now

    def quality(self) -> Quality:
        scored = slice(SKIP_ENDS, -SKIP_ENDS)
        # One scored frame has no neighbour that is scored: take the changes that lead to and from it.
        changes = self._temporal[scored] or self._temporal[SKIP_ENDS - 1 : 1 - SKIP_ENDS]
        values = (self._psnr[scored], self._ssim[scored], changes, self._psnr, self._ssim)
        return Quality(*(float(np.mean(value)) for value in values))
