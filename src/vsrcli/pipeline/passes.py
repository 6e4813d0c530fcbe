"""One pass of a network over a film, or two: their memory and their tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vsrcli.errors import UsageError
from vsrcli.frames.geometry import Geometry
from vsrcli.frames.tiling import TilePlan
from vsrcli.inference.selection import ModelChoice
from vsrcli.inference.wrappers import ChainedTilePlan, chain_tiles, first_pass_tiles
from vsrcli.pipeline.memory import MemoryBudget, MemoryEstimate, Workload, choose_tiles, estimate_memory


def tile_overlap(model: ModelChoice, asked: int | None) -> int:
    """Context of a tile on each side, in pixels of what the model is given; by default all that it sees."""
    return model.architecture.radius() if asked is None else asked


def multiply_adds(model: ModelChoice) -> int:
    """Multiply-adds per pixel of the old film, and frame; 0 for interpolation."""
    own = model.architecture.multiply_adds(model.scale)
    return own if model.then is None else own + model.scale**2 * multiply_adds(model.then)


def scale_notices(model: ModelChoice, geometry: Geometry) -> Iterator[str]:
    """What people should know of how the new size is reached."""
    reached = model.scale * (model.then.scale if model.then else 1)
    wanted = f"x{float(geometry.factor):.4g}"
    if model.then is not None:
        once = model.architecture.multiply_adds(model.scale)
        times = f" and costs {multiply_adds(model) / once:.3g} times one pass" if once else ""
        yield f"two passes, x{model.scale} and x{model.then.scale}{times}"
    if reached < geometry.factor:
        remedy = "; --chain upscales twice, which is slow" if model.then is None else ""
        yield f"{model.name} reaches x{reached}; from there to {wanted} the picture is only resampled{remedy}"


def estimate_passes(model: ModelChoice, film: Workload, tiles: TilePlan) -> MemoryEstimate:
    """Bytes that are expected at the peak; both networks stay loaded.

    Args:
        model: one pass or two.
        film: old and new.
        tiles: of the pass; of both, see :func:`~vsrcli.inference.wrappers.chain_tiles`.
    """
    whole = estimate_memory(model.architecture, film, first_pass_tiles(tiles))
    if model.then is None or not isinstance(tiles, ChainedTilePlan) or tiles.then is None:
        return whole
    between, after = _two(model, film)
    first = estimate_memory(model.architecture, between, first_pass_tiles(tiles))
    second = estimate_memory(model.then.architecture, after, tiles.then)
    return MemoryEstimate(
        program=first.program,
        tile=first.tile + second.tile,
        state=first.state + second.state,
        frames=first.frames + second.frames,
        ffmpeg=whole.ffmpeg,
    )


def choose_pass_tiles(
    model: ModelChoice,
    film: Workload,
    overlap: int | None,
    limit: MemoryBudget,
    side: int | None,
    *,
    auto: bool,
) -> TilePlan:
    """The tiles that cost least among those under a limit, see :func:`~vsrcli.pipeline.memory.choose_tiles`.

    Args:
        model: one pass or two.
        film: old and new.
        overlap: as asked for, in pixels of what the network is given; None: all that it sees.
        limit: what may be taken.
        side, auto: see ``fitting_tiles``; the same for both passes.

    Raises:
        UsageError: see ``fitting_tiles``.
    """
    network, context = model.architecture, tile_overlap(model, overlap)
    if model.then is None:
        return choose_tiles(network, film, context, limit, side, auto=auto)
    between, after = _two(model, film)
    first = choose_tiles(network, between, context, limit, side, auto=auto)
    taken = estimate_memory(network, between, first)
    ffmpeg = estimate_memory(network, film, first).ffmpeg
    left = replace(
        limit,
        host=max(limit.host - taken.total + taken.program - ffmpeg, 0),
        gpu=None if limit.gpu is None else max(limit.gpu - taken.network, 0),
    )
    again = tile_overlap(model.then, overlap)
    try:
        return chain_tiles(first, choose_tiles(model.then.architecture, after, again, left, side, auto=auto))
    except UsageError as error:
        raise UsageError(f"second pass of --chain, after what the first takes: {error}") from error


def _two(model: ModelChoice, film: Workload) -> tuple[Workload, Workload]:
    """What each pass does to the film; nothing is encoded between them."""
    height, width = model.scale * film.height, model.scale * film.width
    between = replace(film, new_height=height, new_width=width, encoder=None)
    assert model.then is not None
    after = replace(film, height=height, width=width, scale=model.then.scale, encoder=None)
    return between, after
