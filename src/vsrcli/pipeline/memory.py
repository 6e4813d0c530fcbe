"""What upscaling a film takes in memory at its peak, and the tiles with which it stays under a limit.

The figures in here were measured by ``benchmarks/memory.py`` (on a CPU, with TensorFlow and with OpenVINO),
which also compares what is expected with what is taken.

One pass of a network over a film, or two: their memory and their tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vsrcli.errors import UsageError
from vsrcli.frames.geometry import Geometry
from vsrcli.frames.tiling import TilePlan, min_tile_side, plan_tiles
from vsrcli.inference.selection import ModelChoice
from vsrcli.inference.wrappers import ChainedTilePlan, chain_tiles, first_pass_tiles
from vsrcli.models.architectures import Architecture
from vsrcli.system.resources import available_gpu_memory, available_host_memory
from vsrcli.system.text import format_bytes
from vsrcli.system.threads import queue_depth

FREE_MEMORY_SHARE = 0.75  # of what is free when the job begins; the rest is for others
MIN_TILE_SIDE = 96
BURST_SIZES = (1, 32, 16, 8, 4, 2)

_PYTHON_BYTES = 80_000_000  # Python and NumPy
_BACKEND_BYTES = {"keras": 640_000_000, "openvino": 120_000_000}  # at work; TensorFlow's
_FFMPEG_BYTES = 90_000_000  # two of them, without pictures
# Bytes per pixel of the new film, of encoders that look ahead, at their default preset; and of the others.
_LOOKAHEAD_ENCODER_BYTES = {
    "libx264": 195,
    "libx264rgb": 300,
    "libx265": 250,
    "libsvtav1": 280,
    "libvpx-vp9": 160,
}
_OTHER_ENCODER_BYTES = 40
_SLOW_PRESET_FACTORS = {
    "slow": 1.25,
    "slower": 1.6,
    "veryslow": 2.2,
    "placebo": 2.2,
}  # times that; from libx264
_DECODER_BYTES = 60  # the same of the old one
_INTERPOLATION_BYTES = 50  # bytes per pixel of a tile's result
_FLOAT_BYTES, _CHANNELS = 4, 3
# What stays for long lies between what comes and goes, and leaves gaps: the heap is larger than its contents.
_WORK_FRAGMENTATION = {"keras": 1.2, "openvino": 1.1}  # around a tile's work
_STATE_FRAGMENTATION = {"keras": 2.0, "openvino": 1.4}  # around what many tiles remember
# Features that a stream computes again when it is taken up, in frames; about half of a network's work.
_RECOMPUTED_FRAMES, _FEATURE_WORK_SHARE = 9, 0.5


@dataclass(frozen=True)
class Workload:
    """What memory depends on, of a film.

    Attributes:
        height, width: of the old frames.
        new_height, new_width: of the new ones.
        scale: the network's native factor.
        deep: whether colours have more than 8 bits.
        encoder: its name in ffmpeg; None if nothing is encoded.
        preset: of the encoder.
        engine: what computes: ``openvino``; all others are counted as ``keras``.
    """

    height: int
    width: int
    output_height: int
    output_width: int
    scale: int
    high_bit_depth: bool = False
    encoder: str | None = None
    preset: str | None = None
    engine: str = "keras"


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that are expected at the peak.

    Attributes:
        program: the program with its libraries.
        tile: the network at work on one tile.
        remembered: what tiles keep for the next frame.
        pictures: frames and results on their way.
        ffmpeg: the processes that decode and encode.
        closing: on top of all that, where a segment is closed while the next one is computed: a second
            encoder, and what is saved; 0 where that is not done: the encoder does not look ahead, so closing
            takes no time, or there are two passes.
    """

    program: int
    tile: int
    state: int
    frames: int
    ffmpeg: int
    background_closing: int = 0

    @property
    def total(self) -> int:
        """Of all processes together."""
        return self.program + self.tile + self.state + self.frames + self.ffmpeg

    @property
    def network(self) -> int:
        """What lies where the network computes."""
        return self.tile + self.state


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that may be taken.

    Attributes:
        host: by all processes together.
        gpu: by the network on a GPU; None if there is none.
        shared: whether the network computes, or may turn out to compute, in the host's memory.
        asked: whether the user named it, so that it must not be passed.
    """

    host: int
    gpu: int | None = None
    shared: bool = True
    explicit: bool = False

    def allows(self, estimate: MemoryEstimate, extra: int = 0) -> bool:
        """Whether that is enough, with so many bytes more on the host."""
        on_host = estimate.total + extra - (0 if self.shared else estimate.network)
        return on_host <= self.host and (self.gpu is None or estimate.network <= self.gpu)


def memory_budget(device: str, max_memory: int | None) -> MemoryBudget:
    """What a job may take.

    Args:
        device: ``auto``, ``cpu`` or the number of a GPU.
        most: bytes, as the user wants it, on host and GPU each; None: three quarters of what is free there.
    """
    gpu, host = available_gpu_memory(device), available_host_memory()
    free = None if gpu is None else int(gpu * FREE_MEMORY_SHARE)
    return MemoryBudget(
        max_memory or int(host * FREE_MEMORY_SHARE),
        free if max_memory is None or free is None else max_memory,
        shared=gpu is None or device == "auto",  # a GPU that is there may still lack its libraries
        explicit=max_memory is not None,
    )


def estimate_memory(network: Architecture, workload: Workload, tiles: TilePlan) -> MemoryEstimate:
    """What is expected at the peak: with full windows, at the end of a shot."""
    engine = workload.engine if network.openvino_bytes and workload.engine == "openvino" else "keras"
    frame, output = workload.height * workload.width, workload.output_height * workload.output_width
    tile, tiled = (
        tiles.tile_height * tiles.tile_width,
        tiles.overhead_factor * workload.height * workload.width,
    )
    result = _FLOAT_BYTES * _CHANNELS * frame * workload.scale**2
    lookahead = network.frames // 2
    features, hidden = _state_bytes(network, workload.scale)
    state: float = 0
    if tiles.burst > 1:  # hidden states wait on the disk
        frames = 2 * lookahead + tiles.burst + 1
    else:
        # Before and after a frame; half of the features are in both. One tile's are in bytes_per_pixel.
        state = _STATE_FRAGMENTATION[engine] * features * max(1.5 * tiled - tile, 0) + 2 * hidden * tiled
        state += _FLOAT_BYTES * _CHANNELS * 2 * lookahead * (tiled if len(tiles) > 1 else 0)
        frames = 2
    pending = max(lookahead + tiles.burst - 1, 1)  # results that a shot's end gives at once
    sample_bytes = _CHANNELS * (2 if workload.high_bit_depth else 1)
    in_flight = (
        frames * _FLOAT_BYTES * _CHANNELS * frame
        + (queue_depth(sample_bytes * frame) + 2) * sample_bytes * frame
    )
    in_flight += (
        pending * result
        + (queue_depth(sample_bytes * output) + 2 + pending) * sample_bytes * output
        + _FLOAT_BYTES * _CHANNELS * output
    )
    if output != frame * workload.scale**2:
        in_flight += (pending + 1) * _FLOAT_BYTES * _CHANNELS * output
    working = tile * _INTERPOLATION_BYTES * workload.scale**2
    if network.module:
        working = int(tile * _WORK_FRAGMENTATION[engine] * network.memory(engine, workload.scale))
    ffmpeg = second_encoder = 0
    if workload.encoder is not None:
        encoder = _LOOKAHEAD_ENCODER_BYTES.get(
            workload.encoder, _OTHER_ENCODER_BYTES
        ) * _SLOW_PRESET_FACTORS.get(workload.preset or "", 1)
        ffmpeg = _FFMPEG_BYTES + _DECODER_BYTES * frame + int(encoder * output)
        if workload.encoder in _LOOKAHEAD_ENCODER_BYTES:
            second_encoder = _FFMPEG_BYTES // 2 + int(encoder * output)
    # What is saved when a segment is over, while neither the network nor an encoder is at work.
    checkpoint = (hidden + _FLOAT_BYTES * _CHANNELS * 2 * lookahead) * tiled if network.module else 0
    state += max(checkpoint - working - ffmpeg, 0)
    program = _PYTHON_BYTES + (_BACKEND_BYTES[engine] if network.module else 0)
    background_closing = second_encoder and second_encoder + int(checkpoint)
    return MemoryEstimate(program, working, int(state), in_flight, ffmpeg, background_closing)


def choose_tiles(
    network: Architecture,
    workload: Workload,
    overlap: int,
    budget: MemoryBudget,
    side: int | None = None,
    *,
    auto: bool = True,
) -> TilePlan:
    """The tiles that cost least among those that stay under a limit.

    Args:
        network: what computes.
        film: what is upscaled.
        overlap: context on each side in low-resolution pixels.
        limit: what may be taken.
        side: of a tile as the user wants it, None: whole frames; unless ``auto``.
        auto: choose the side, too.

    Returns:
        If nothing stays under a limit that nobody asked for: the tiles that take least.

    Raises:
        UsageError: the user's limit is too small for any; or the user's tile has no room for its context.
    """
    plans = [
        replace(plan_tiles(workload.height, workload.width, each, overlap), burst=burst)
        for each in (_tile_sides(workload, overlap) if auto else [side])
        for burst in (BURST_SIZES if network.module and (auto or budget.explicit) else BURST_SIZES[:1])
    ]
    fitting = [plan for plan in plans if budget.allows(estimate_memory(network, workload, plan))]
    if fitting:
        return min(fitting, key=lambda plan: relative_cost(network, plan))
    least = min(plans, key=lambda plan: estimate_memory(network, workload, plan).total)
    if not budget.explicit:
        return least
    estimate = estimate_memory(network, workload, least)
    tiling = f"tiles of {least.tile_width}x{least.tile_height}" if len(least) > 1 else "whole frames"
    remedy = "" if auto else ", or leave --tile out"
    raise UsageError(
        f"--max-memory {format_bytes(budget.host)} is too little: {network.name} at {workload.width}x{workload.height} to "
        f"{workload.output_width}x{workload.output_height} takes about {format_bytes(estimate.total, round_up=True)} with {tiling}, "
        f"{format_bytes(estimate.ffmpeg)} of it for ffmpeg; allow that much{remedy}"
    )


def relative_cost(network: Architecture, tiles: TilePlan) -> float:
    """What tiles cost in time: 1 for whole frames side by side."""
    recomputed = 0.0
    if tiles.burst > 1 and network.kind in ("cached", "recurrent"):
        recomputed = _FEATURE_WORK_SHARE * _RECOMPUTED_FRAMES / tiles.burst
    return tiles.overhead_factor * (1 + recomputed)


def max_tile_side(
    height: int, width: int, bytes_per_pixel: int, overlap: int, free: int | None = None
) -> int | None:
    """The side of the largest square tile whose work fits in half of the memory; nothing else is counted.

    Args:
        height, width: of the frame, in low-resolution pixels.
        bytes_per_pixel: what the network needs at its peak, per low-resolution pixel of a tile.
        overlap: context on each side.
        free: bytes; by default what this process may still take.

    Returns:
        Low-resolution pixels, context included; None if the whole frame fits.
    """
    free = available_host_memory() if free is None else free
    pixels = free * 0.5 / max(bytes_per_pixel, 1)
    if height * width <= pixels:
        return None
    return max(int(math.sqrt(pixels)), MIN_TILE_SIDE, 4 * overlap)


def _state_bytes(network: Architecture, scale: int) -> tuple[int, int]:
    """Bytes per low-resolution pixel that a stream keeps: features of its window, and a hidden state."""
    if network.kind not in ("cached", "recurrent"):
        return 0, 0
    width, levels = int(network.options["width"]), int(network.options.get("levels", network.frames // 2))
    hidden = _FLOAT_BYTES * (width + _CHANNELS * scale**2) if network.kind == "recurrent" else 0
    return _FLOAT_BYTES * width * 2 * levels, hidden


def _tile_sides(workload: Workload, overlap: int) -> Iterator[int | None]:
    """Whole frames, then ever smaller tiles: one that is cut in 1, 2, 3 and more parts along its length."""
    yield None
    longest, least = (
        max(workload.height, workload.width),
        max(MIN_TILE_SIDE, 4 * overlap, min_tile_side(overlap)),
    )
    side = longest - 1
    while side > least:
        yield side
        side = min(side - 8, int(side * 0.94))
    if least < longest:
        yield least


def tile_overlap(model: ModelChoice, requested: int | None) -> int:
    """Context of a tile on each side, in pixels of what the model is given; by default all that it sees."""
    return model.architecture.radius() if requested is None else requested


def multiply_adds(model: ModelChoice) -> int:
    """Multiply-adds per pixel of the old film, and frame; 0 for interpolation."""
    first = model.architecture.multiply_adds(model.scale)
    return first if model.second_pass is None else first + model.scale**2 * multiply_adds(model.second_pass)


def scale_notices(model: ModelChoice, geometry: Geometry) -> Iterator[str]:
    """What people should know of how the new size is reached."""
    reached = model.scale * (model.second_pass.scale if model.second_pass else 1)
    requested = f"x{float(geometry.factor):.4g}"
    if model.second_pass is not None:
        once = model.architecture.multiply_adds(model.scale)
        cost = f" and costs {multiply_adds(model) / once:.3g} times one pass" if once else ""
        yield f"two passes, x{model.scale} and x{model.second_pass.scale}{cost}"
    if reached < geometry.factor:
        remedy = "; --chain upscales twice, which is slow" if model.second_pass is None else ""
        yield f"{model.name} reaches x{reached}; from there to {requested} the picture is only resampled{remedy}"


def estimate_passes(model: ModelChoice, workload: Workload, tiles: TilePlan) -> MemoryEstimate:
    """Bytes that are expected at the peak; both networks stay loaded.

    Args:
        model: one pass or two.
        film: old and new.
        tiles: of the pass; of both, see :func:`~vsrcli.inference.wrappers.chain_tiles`.
    """
    single = estimate_memory(model.architecture, workload, first_pass_tiles(tiles))
    if model.second_pass is None or not isinstance(tiles, ChainedTilePlan) or tiles.second_pass is None:
        return single
    first_workload, second_workload = _pass_workloads(model, workload)
    first = estimate_memory(model.architecture, first_workload, first_pass_tiles(tiles))
    second = estimate_memory(model.second_pass.architecture, second_workload, tiles.second_pass)
    return MemoryEstimate(
        program=first.program,
        tile=first.tile + second.tile,
        state=first.state + second.state,
        frames=first.frames + second.frames,
        ffmpeg=single.ffmpeg,
    )


def choose_pass_tiles(
    model: ModelChoice,
    workload: Workload,
    overlap: int | None,
    budget: MemoryBudget,
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
    if model.second_pass is None:
        return choose_tiles(network, workload, context, budget, side, auto=auto)
    first_workload, second_workload = _pass_workloads(model, workload)
    first = choose_tiles(network, first_workload, context, budget, side, auto=auto)
    used = estimate_memory(network, first_workload, first)
    ffmpeg = estimate_memory(network, workload, first).ffmpeg
    remaining = replace(
        budget,
        host=max(budget.host - used.total + used.program - ffmpeg, 0),
        gpu=None if budget.gpu is None else max(budget.gpu - used.network, 0),
    )
    second_overlap = tile_overlap(model.second_pass, overlap)
    try:
        return chain_tiles(
            first,
            choose_tiles(
                model.second_pass.architecture, second_workload, second_overlap, remaining, side, auto=auto
            ),
        )
    except UsageError as error:
        raise UsageError(f"second pass of --chain, after what the first takes: {error}") from error


def _pass_workloads(model: ModelChoice, workload: Workload) -> tuple[Workload, Workload]:
    """What each pass does to the film; nothing is encoded between them."""
    height, width = model.scale * workload.height, model.scale * workload.width
    first = replace(workload, new_height=height, new_width=width, encoder=None)
    assert model.second_pass is not None
    second = replace(workload, height=height, width=width, scale=model.second_pass.scale, encoder=None)
    return first, second
