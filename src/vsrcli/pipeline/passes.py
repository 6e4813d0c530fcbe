"""The passes of a job, each with its own network and tiles: one, two by ``--chain``, or one a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from vsrcli.errors import UsageError
from vsrcli.frames.tiling import TilePlan
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.selection import ModelChoice
from vsrcli.inference.types import Stream
from vsrcli.inference.wrappers import FULL_FRAME, ChainedStream, ResizingStream
from vsrcli.pipeline.memory import (
    MemoryBudget,
    MemoryEstimate,
    Workload,
    choose_tiles,
    estimate_memory,
    ffmpeg_bytes,
)

_RGB_BYTES = 12  # per pixel, in float32
_SHARES = (
    Fraction(1),
    Fraction(3, 4),
    Fraction(1, 2),
    Fraction(1, 4),
)  # of what is left, before the last pass
_FAITHFUL_BYTES = 5 * _RGB_BYTES  # per output pixel: interpolated and resized, the difference, colour


@dataclass(frozen=True)
class Pass:
    """One pass of all frames through a network.

    Attributes:
        model: network, weights and native scale.
        tiles: tile plan, in pixels of the pass's input.
        overlap: context of a tile on each side, in pixels of the pass's input.
        height, width: of the pass's results; where that is no multiple of its input, they are resized.
        visible_share: shares of width and height, around the centre, that are left when they are resized.
    """

    model: ModelChoice
    tiles: TilePlan
    overlap: int
    height: int
    width: int
    visible_share: tuple[float, float] = FULL_FRAME


def choose_passes(
    models: Sequence[ModelChoice],
    workload: Workload,
    overlap: int | None,
    budget: MemoryBudget,
    tile: str | int,
    visible_share: tuple[float, float],
    *,
    is_faithful: bool = False,
) -> tuple[Pass, ...]:
    """Return passes with the tile plans of lowest cost within a memory budget.

    Args:
        models: of the passes.
        workload: from the input of the first to the output of the last.
        overlap: the requested context, in input pixels of each pass; None: the receptive field.
        budget: memory limits; each pass gets what those before it leave, which take less where that is not
            enough for a later one.
        tile: see :func:`~vsrcli.pipeline.memory.choose_tiles`; the same for all passes.
        visible_share: of the last pass.
        is_faithful: see :func:`estimate_passes`.

    Raises:
        UsageError: see ``choose_tiles``.
    """

    def choose(share: Fraction) -> tuple[Pass, ...]:
        """Choose one after the other; each but the last takes at most a share of what is left."""
        passes: list[Pass] = []

        def beside(model: ModelChoice, tiles: TilePlan) -> int:
            chosen = [(each.model, each.tiles) for each in passes]
            return _faithful_bytes(workload, [*chosen, (model, tiles)]) if is_faithful else 0

        host_bytes, network_bytes = ffmpeg_bytes(workload)[0], 0  # of what runs beside a pass
        remaining = budget
        for model, each in zip(models, _pass_workloads(models, workload), strict=True):
            context = model.architecture.radius() if overlap is None else overlap
            own = remaining if len(passes) == len(models) - 1 else _scaled(remaining, share)
            try:
                tiles = choose_tiles(model.architecture, each, context, own, tile, partial(beside, model))
            except UsageError as error:
                if not passes:
                    raise
                taken = "the first takes" if len(passes) == 1 else "those before take"
                raise UsageError(f"pass {len(passes) + 1}, after what {taken}: {error}") from error
            passes.append(Pass(model, tiles, context, each.output_height, each.output_width))
            used = estimate_memory(model.architecture, each, tiles)
            host_bytes += used.total - used.program
            network_bytes += used.network
            remaining = replace(
                budget,
                host=max(budget.host - host_bytes, 0),
                gpu=None if budget.gpu is None else max(budget.gpu - network_bytes, 0),
            )
        return (*passes[:-1], replace(passes[-1], visible_share=visible_share))

    first_error: UsageError | None = None
    for share in _SHARES if budget.explicit and len(models) > 1 else _SHARES[:1]:
        try:
            return choose(share)
        except UsageError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _scaled(budget: MemoryBudget, share: Fraction) -> MemoryBudget:
    gpu = None if budget.gpu is None else int(budget.gpu * share)
    return replace(budget, host=int(budget.host * share), gpu=gpu)


def estimate_passes(
    passes: Sequence[Pass], workload: Workload, *, is_faithful: bool = False
) -> MemoryEstimate:
    """Return the estimated peak memory of all passes; all networks stay loaded.

    Args:
        passes: in order.
        workload: from the input of the first to the output of the last.
        is_faithful: whether results are changed towards the source, see ``Job.is_faithful``.
    """
    beside = _faithful_bytes(workload, [(each.model, each.tiles) for each in passes]) if is_faithful else 0
    workloads = _pass_workloads([each.model for each in passes], workload)
    estimates = [
        estimate_memory(each.model.architecture, of_pass, each.tiles)
        for each, of_pass in zip(passes, workloads, strict=True)
    ]
    return MemoryEstimate(
        program=estimates[0].program,
        tile=sum(each.tile for each in estimates),
        state=sum(each.state for each in estimates),
        frames=sum(each.frames for each in estimates) + beside,
        ffmpeg=ffmpeg_bytes(workload)[0],
        background_closing=sum(each.background_closing for each in estimates),
    )


def _faithful_bytes(workload: Workload, passes: Iterable[tuple[ModelChoice, TilePlan]]) -> int:
    """Return the memory of an interpolated frame with its steps, and of sources of results that are due."""
    late = sum(model.architecture.frames // 2 + tiles.burst for model, tiles in passes)
    due = _RGB_BYTES * late * workload.height * workload.width
    return _FAITHFUL_BYTES * workload.output_height * workload.output_width + due


def multiply_adds(models: Iterable[ModelChoice]) -> int:
    """Return the multiply-adds of all passes per input pixel of a frame; 0 for interpolation."""
    result, pixels = 0, 1
    for model in models:
        result += pixels * model.architecture.multiply_adds(model.scale)
        pixels *= model.scale**2
    return result


def interpolation_stream(
    models: Sequence[ModelChoice], height: int, width: int, last: Pass, phase: str = "centre"
) -> Stream:
    """Return the stream of interpolation passes without tiles, from frames of one size to those of a pass.

    Args:
        models: interpolations, in order.
        height, width: of the frames.
        last: pass whose size of results, and share of the frame, it gives.
        phase: of the pixels, see :class:`~vsrcli.inference.engine.ResampleEngine`.
    """
    streams: list[Stream] = []
    for model in models:
        engine = ResampleEngine(model.architecture.name, model.scale, phase)
        streams.append(engine.open(height, width))
        height, width = model.scale * height, model.scale * width
    streams[-1] = ResizingStream(streams[-1], last.height, last.width, last.visible_share)
    return ChainedStream(streams)


def scale_notices(models: Sequence[ModelChoice], factor: Fraction, *, chain: bool = True) -> Iterator[str]:
    """Yield notices about how a factor is reached: by several passes, or by resampling beyond the network.

    Args:
        models: of the passes.
        factor: requested.
        chain: whether one model was requested, so that several passes come from ``--chain``.
    """
    scales = [model.scale for model in models]
    reached = math.prod(scales)
    if len(models) > 1 and not chain:
        yield f"{len(models)} passes: {', then '.join(f'{each.name} x{each.scale}' for each in models)}"
    elif len(models) > 1:
        once = multiply_adds(models[:1])
        cost = f" and costs {multiply_adds(models) / once:.3g} times one pass" if once else ""
        yield f"two passes, {' and '.join(f'x{scale}' for scale in scales)}{cost}"
    if reached < factor:
        remedy = "" if len(models) > 1 else "; --chain upscales twice, which is slow"
        remedy = "; --scale 1 keeps the size" if reached == 1 else remedy
        names = models[0].name if chain else ", then ".join(each.name for each in models)
        yield (
            f"{names} reaches x{reached}; from there to x{float(factor):.4g} frames "
            f"are only resampled{remedy}"
        )


def tile_notices(passes: Sequence[Pass]) -> Iterator[str]:
    """Yield notices about tiles that change a network's result visibly."""
    for each in passes:
        network, radius = each.model.architecture, each.model.architecture.radius()
        if len(each.tiles) == 1 or not (network.measured or network.whole_frames):
            continue
        if network.whole_frames:
            yield f"{each.model.name}: {network.whole_frames}; --tile none avoids them where memory allows"
        elif each.overlap < radius:
            yield (
                f"--overlap {each.overlap} is less than the {radius} pixels around that {each.model.name} "
                "needs: borders of tiles may show"
            )


def _pass_workloads(models: Sequence[ModelChoice], workload: Workload) -> list[Workload]:
    """Return the workload of each pass; with several, the encoder belongs to none of them."""
    height, width, workloads = workload.height, workload.width, []
    for model in models:
        results = {"output_height": model.scale * height, "output_width": model.scale * width}
        each = replace(workload, height=height, width=width, scale=model.scale, **results)
        workloads.append(each if len(models) == 1 else replace(each, encoder=None))
        height, width = each.output_height, each.output_width
    size = {"output_height": workload.output_height, "output_width": workload.output_width}
    return [*workloads[:-1], replace(workloads[-1], **size)]
