"""Peak memory of a run, and the tile plan that keeps it within a budget; for one pass.

The constants were measured with ``benchmarks/memory.py`` (on a CPU, with TensorFlow and with OpenVINO), which
also compares estimates with measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from vsrcli.errors import UsageError
from vsrcli.frames.tiling import TilePlan, min_tile_side, plan_tiles
from vsrcli.models.architectures import Architecture
from vsrcli.system.resources import available_gpu_memory, available_host_memory
from vsrcli.system.text import format_bytes
from vsrcli.system.threads import queue_depth

FREE_MEMORY_SHARE = 0.75  # of what is free when a job is prepared; leaves a quarter to other programs
MIN_TILE_SIDE = 96
BURST_SIZES = (1, 32, 16, 8, 4, 2)

_PYTHON_BYTES = 80_000_000  # with NumPy
_BACKEND_BYTES = {"keras": 640_000_000, "openvino": 120_000_000}  # "keras": of TensorFlow
_FFMPEG_BYTES = 90_000_000  # decoder and encoder, without frames
# Bytes per output pixel: of encoders with a lookahead, at their default preset; and of all others.
_LOOKAHEAD_ENCODER_BYTES = {
    "libx264": 195,
    "libx264rgb": 300,
    "libx265": 250,
    "libsvtav1": 280,
    "libvpx-vp9": 160,
}
_OTHER_ENCODER_BYTES = 40
_PRESET_FACTORS = {"slow": 1.25, "slower": 1.6, "veryslow": 2.2, "placebo": 2.2}  # of these; from libx264
_DECODER_BYTES = 60  # per input pixel
_INTERPOLATION_BYTES = 50  # per output pixel of a tile
_FLOAT_BYTES, _CHANNELS = 4, 3
_RGB_BYTES = _FLOAT_BYTES * _CHANNELS  # per pixel, in float32
# Heap divided by its contents: long-lived arrays lie between short-lived ones, whose gaps stay.
_WORK_FRAGMENTATION = {"keras": 1.2, "openvino": 1.1}  # inference of one tile
_STATE_FRAGMENTATION = {"keras": 2.0, "openvino": 1.4}  # states of many tiles
# Frames whose features a stream computes again at the start of a burst, and their share of a network's work.
_RECOMPUTED_FRAMES, _FEATURE_WORK_SHARE = 9, 0.5


@dataclass(frozen=True)
class Workload:
    """The properties of a job that its memory depends on.

    Attributes:
        height, width: of input frames.
        output_height, output_width: of output frames.
        scale: the network's native factor.
        high_bit_depth: whether samples have more than 8 bits.
        encoder: name in ffmpeg; None if nothing is encoded.
        preset: of the encoder.
        engine: ``openvino``; all others are estimated as ``keras``.
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
    """Estimated peak memory in bytes.

    Attributes:
        program: Python and the libraries.
        tile: inference of one tile.
        state: states of all tiles.
        frames: frames and results in queues and windows.
        ffmpeg: the decoder's and the encoder's processes.
        background_closing: in addition, while a segment is closed in the background: a second encoder and the
            checkpoint; 0 if segments are not closed in the background: the encoder has no lookahead, so
            closing takes no time, or there are two passes.
    """

    program: int
    tile: int
    state: int
    frames: int
    ffmpeg: int
    background_closing: int = 0

    @property
    def total(self) -> int:
        """Sum for all processes, without ``background_closing``."""
        return self.program + self.tile + self.state + self.frames + self.ffmpeg

    @property
    def network(self) -> int:
        """Sum of what lies in the memory of the device that runs the network."""
        return self.tile + self.state


@dataclass(frozen=True)
class MemoryBudget:
    """Memory limits in bytes.

    Attributes:
        host: for all processes together.
        gpu: for the network on a GPU; None without one.
        shared: whether the network runs, or may run, in the host's memory.
        explicit: whether the user has set the limit: then a job that does not fit is an error.
    """

    host: int
    gpu: int | None = None
    shared: bool = True
    explicit: bool = False

    @property
    def limits(self) -> MemoryBudget:
        """What must not be exceeded: the limit that the user has set, else all memory that is free."""
        if self.explicit:
            return self
        gpu = None if self.gpu is None else int(self.gpu / FREE_MEMORY_SHARE)
        return replace(self, host=int(self.host / FREE_MEMORY_SHARE), gpu=gpu)

    def allows(self, estimate: MemoryEstimate, extra: int = 0) -> bool:
        """Whether an estimate fits, with ``extra`` bytes on the host."""
        on_host = estimate.total + extra - (0 if self.shared else estimate.network)
        return on_host <= self.host and (self.gpu is None or estimate.network <= self.gpu)


def memory_budget(device: str, max_memory: int | None) -> MemoryBudget:
    """Return the memory limits of a job.

    Args:
        device: ``auto``, ``cpu`` or GPU numbers.
        max_memory: the user's limit in bytes, for host and GPU each, though not more than the GPU has free;
            None: three quarters of the free memory.
    """
    gpu, host = available_gpu_memory(device), available_host_memory()
    free = None if gpu is None else int(gpu * FREE_MEMORY_SHARE)
    return MemoryBudget(
        max_memory or int(host * FREE_MEMORY_SHARE),
        free if max_memory is None or gpu is None else min(max_memory, gpu),
        shared=gpu is None or device == "auto",  # libraries for the GPU may be missing
        explicit=max_memory is not None,
    )


def estimate_memory(network: Architecture, workload: Workload, tiles: TilePlan) -> MemoryEstimate:
    """Return the estimated peak memory of one pass: with full windows, at the end of a shot."""
    engine = workload.engine if network.openvino_bytes and workload.engine == "openvino" else "keras"
    frame, output = workload.height * workload.width, workload.output_height * workload.output_width
    tile = network.tile_pixels or tiles.tile_height * tiles.tile_width
    tiled = tiles.overhead_factor * workload.height * workload.width
    result = _RGB_BYTES * frame * workload.scale**2
    lookahead = network.frames // 2
    features, hidden = _state_bytes(network, workload.scale)
    state: float = 0
    # States between frames. In bursts they are on disk.
    if tiles.burst > 1:
        frames = 2 * lookahead + tiles.burst + 1
    else:
        # Old and new state at once, which share half of the features; one tile's is part of network.memory.
        state = _STATE_FRAGMENTATION[engine] * features * max(1.5 * tiled - tile, 0) + 2 * hidden * tiled
        state += _RGB_BYTES * 2 * lookahead * (tiled if len(tiles) > 1 else 0)
        frames = 2
    # Frames and results in windows and queues.
    pending = max(lookahead + tiles.burst - 1, 1)  # results that are returned at once at the end of a shot
    sample_bytes = _CHANNELS * (2 if workload.high_bit_depth else 1)
    in_flight = frames * _RGB_BYTES * frame + (queue_depth(sample_bytes * frame) + 2) * sample_bytes * frame
    in_flight += pending * result + _RGB_BYTES * output
    in_flight += (queue_depth(sample_bytes * output) + 2 + pending) * sample_bytes * output
    if output != frame * workload.scale**2:
        in_flight += (pending + 1) * _RGB_BYTES * output
    # Inference of one tile, and the processes.
    working = tile * _INTERPOLATION_BYTES * workload.scale**2
    if network.module:
        working = int(tile * _WORK_FRAGMENTATION[engine] * network.memory(engine, workload.scale))
    ffmpeg, second_encoder = ffmpeg_bytes(workload)
    # A checkpoint is saved while neither the network nor an encoder is running.
    checkpoint = (hidden + _RGB_BYTES * 2 * lookahead) * tiled if network.module else 0
    beside = max(checkpoint - working - ffmpeg, 0)
    state += beside
    if tiles.burst > 1:  # a copy of the results that bursts hold, in the host's memory
        checkpoint += pending * result
        in_flight += int(max(checkpoint - working - ffmpeg, 0) - beside)
    program = _PYTHON_BYTES + (_BACKEND_BYTES[engine] if network.module else 0)
    background_closing = second_encoder and second_encoder + int(checkpoint)
    return MemoryEstimate(program, working, int(state), in_flight, ffmpeg, background_closing)


def ffmpeg_bytes(workload: Workload) -> tuple[int, int]:
    """Return the memory of ffmpeg's processes, and of a second encoder; 0 if one closes without delay."""
    if workload.encoder is None:
        return 0, 0
    output = workload.output_height * workload.output_width
    encoder = _LOOKAHEAD_ENCODER_BYTES.get(workload.encoder, _OTHER_ENCODER_BYTES)
    encoder *= _PRESET_FACTORS.get(workload.preset or "", 1)
    ffmpeg = _FFMPEG_BYTES + _DECODER_BYTES * workload.height * workload.width + int(encoder * output)
    has_lookahead = workload.encoder in _LOOKAHEAD_ENCODER_BYTES
    return ffmpeg, _FFMPEG_BYTES // 2 + int(encoder * output) if has_lookahead else 0


def choose_tiles(
    network: Architecture,
    workload: Workload,
    overlap: int,
    budget: MemoryBudget,
    tile: str | int = "auto",
    beside: Callable[[TilePlan], int] = lambda plan: 0,
) -> TilePlan:
    """Return the tile plan of lowest cost within a memory budget, for one pass.

    Args:
        network, workload: of the pass.
        overlap: context on each side in low-resolution pixels.
        budget: memory limits.
        tile: side of a tile, ``auto``, or ``none`` for whole frames.
        beside: returns the bytes on the host that a plan takes beside the pass.

    Returns:
        If no plan fits and the budget is not explicit, the plan that takes the least memory.

    Raises:
        UsageError: no plan fits an explicit budget; or ``tile`` is too small for ``overlap``.
    """
    is_auto, most = tile == "auto", network.max_size
    sides: list[int | tuple[int, int] | None] = [tile if isinstance(tile, int) else None]
    takes_frames = network.takes_frames(workload.height, workload.width)
    if is_auto and most is None:
        sides = [*_tile_sides(workload, overlap, network.multiple)]
    elif is_auto and not takes_frames:
        sides = [most]  # smaller tiles would be more, and none of them cheaper
    elif most is not None and not takes_frames and (not isinstance(tile, int) or tile > min(most)):
        raise UsageError(
            f"--tile {tile}: {network.name} takes frames of {most[1]}x{most[0]} at most; give --tile "
            f"{min(most)}, or leave it out"
        )
    may_burst = network.module and (is_auto or budget.explicit)
    size = workload.height, workload.width
    plans = [
        replace(plan_tiles(*size, side, overlap, multiple=network.multiple), burst=burst)
        for side in sides
        for burst in (BURST_SIZES if may_burst else BURST_SIZES[:1])
    ]

    def estimated(plan: TilePlan) -> MemoryEstimate:
        estimate = estimate_memory(network, workload, plan)
        return replace(estimate, frames=estimate.frames + beside(plan))

    fitting = [plan for plan in plans if budget.allows(estimated(plan))]
    if fitting:
        return min(fitting, key=lambda plan: relative_cost(network, plan))
    least = min(plans, key=lambda plan: estimated(plan).total)
    if not budget.explicit:
        return least
    on_host = replace(budget, gpu=None)
    if budget.gpu is not None and any(on_host.allows(estimated(plan)) for plan in plans):
        least = min(plans, key=lambda plan: estimated(plan).network)
    estimate = estimated(least)
    tiling = f"tiles of {least.tile_width}x{least.tile_height}" if len(least) > 1 else "whole frames"
    remedy = "" if is_auto else ", or leave --tile out"
    sizes = f"{workload.width}x{workload.height} to {workload.output_width}x{workload.output_height}"
    if budget.gpu is not None and on_host.allows(estimate):
        raise UsageError(
            f"{format_bytes(budget.gpu)} of the GPU's memory is too little: {network.name} at {sizes} takes "
            f"about {format_bytes(estimate.network, round_up=True)} of it with {tiling}; free some, use "
            f"--gpu cpu, or allow more with --max-memory{remedy}"
        )
    total = format_bytes(estimate.total, round_up=True)
    raise UsageError(
        f"--max-memory {format_bytes(budget.host)} is too little: {network.name} at {sizes} takes about "
        f"{total} with {tiling}, {format_bytes(estimate.ffmpeg)} of it for ffmpeg; allow that much{remedy}"
    )


def relative_cost(network: Architecture, tiles: TilePlan) -> float:
    """Return the time of inference with tiles, relative to whole frames one after the other."""
    recomputed, overhead = 0.0, tiles.overhead_factor
    if network.tile_pixels:
        overhead = len(tiles) * network.tile_pixels / (tiles.height * tiles.width)
    if tiles.burst > 1 and network.kind in ("cached", "recurrent"):
        recomputed = _FEATURE_WORK_SHARE * _RECOMPUTED_FRAMES / tiles.burst
    return overhead * (1 + recomputed)


def max_tile_side(height: int, width: int, bytes_per_pixel: int, overlap: int) -> int | None:
    """Return the side of the largest square tile whose inference takes half of the free memory.

    Args:
        height, width: of the frame, in low-resolution pixels.
        bytes_per_pixel: peak memory of the network, per low-resolution pixel of a tile.
        overlap: context on each side.

    Returns:
        Low-resolution pixels, context included; None if the whole frame fits.
    """
    pixels = available_host_memory() * 0.5 / max(bytes_per_pixel, 1)
    if height * width <= pixels:
        return None
    return max(int(math.sqrt(pixels)), MIN_TILE_SIDE, 4 * overlap)


def _state_bytes(network: Architecture, scale: int) -> tuple[int, int]:
    """Return the size of a stream's features and of its hidden state, in bytes per low-resolution pixel."""
    if network.kind not in ("cached", "recurrent"):
        return 0, 0
    width, levels = int(network.options["width"]), int(network.options.get("levels", network.frames // 2))
    hidden = _FLOAT_BYTES * network.state_channels(scale)
    return _FLOAT_BYTES * width * 2 * levels, hidden


def _tile_sides(workload: Workload, overlap: int, multiple: int) -> Iterator[int | None]:
    """Yield sides of tiles to try: None for whole frames, then smaller and smaller ones."""
    yield None
    longest = max(workload.height, workload.width)
    least = max(MIN_TILE_SIDE, 4 * overlap, min_tile_side(overlap, multiple=multiple))
    side = longest - 1
    while side > least:
        yield side
        side = min(side - 8, int(side * 0.94))
    if least < longest:
        yield least
