"""Candidates of ``vsr tune``: ways to run a model, measured in child processes.

Every engine measures in a child process of its own (:mod:`vsrcli.bench.tuning_worker`): it has its own
libraries and threads, its memory is free afterwards, and one that hangs is stopped at the end of the time.

What is measured is one tile, or a part of one, on frames in memory. A plan's cost is that of a tile's pixel,
times all pixels of all tiles.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from vsrcli.errors import EngineError, SignalInterruptError, UsageError, VsrError
from vsrcli.frames.tiling import TilePlan
from vsrcli.inference.engine_plan import (
    ENGINES,
    cpu_precisions,
    may_have_gpu,
    onnxruntime_gpu_installed,
    onnxruntime_installed,
    openvino_installed,
    plan_engine,
)
from vsrcli.inference.int8_ranges import calibration_path
from vsrcli.inference.precision import MIN_PSNR
from vsrcli.inference.selection import ModelChoice
from vsrcli.models.weights import Weights
from vsrcli.pipeline.memory import MemoryBudget, Workload, choose_tiles, estimate_memory, relative_cost
from vsrcli.system.child import ChildEndedError, ChildTimeoutError, call_in_child

_WORKER = "vsrcli.bench.tuning_worker"
_SLICES = 25  # parts of the time, of which each measurement takes one at most
_MOST_WORK = 1.5  # of smaller tiles, relative to those that memory allows: more cannot pay
_ENCODER = "libx264"  # that memory is estimated with
_TILE_SIDES = (384, 256, 192, 128)
_PART_SECONDS, _MULTIPLY_ADDS_PER_SECOND = 0.15, 30e9  # of a small part, on a slow CPU
_PART_PIXELS = (64 * 64, 256 * 256)  # least and most
_GPU_PARTS = 8  # times larger parts for a GPU
_WORSE, _NO_THREADS = "differs too much from fp32", "for comparison: no option sets threads"
_CPU_ORDER, _GPU_ORDER = ("openvino", "onnxruntime", "keras"), ("keras", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Candidate:
    """A way to run a model, and its figures.

    Attributes:
        engine, precision, tile: as options of ``vsr upscale``.
        threads: of the network; None: the engine's own choice.
        tile_size: (width, height) of a tile; ``tiles``: their number; ``burst``: frames at a time.
        memory: estimated bytes at the peak of ``vsr upscale``.
        measured_size: (width, height) of the tile or part of one that was measured; None without figures.
        frames: that were measured.
        start_seconds: before the first frame: loading and compiling.
        us_per_pixel: microseconds per source pixel and frame, of the fastest frame: other programs at work
            make frames slower, never faster.
        fps: likewise, frames per second of the network alone.
        psnr: of its frames against those in fp32, in dB; None if they were not compared.
        reason: why it has no figures, or is not chosen; may be empty.
    """

    engine: str
    precision: str
    tile: str | int
    threads: int | None
    tile_size: tuple[int, int]
    tiles: int
    burst: int
    memory: int
    measured_size: tuple[int, int] | None = None
    frames: int = 0
    start_seconds: float | None = None
    us_per_pixel: float | None = None
    fps: float | None = None
    psnr: float | None = None
    reason: str = ""

    @property
    def is_eligible(self) -> bool:
        """Whether it may be chosen: measured, and as good as fp32."""
        return self.us_per_pixel is not None and not self.reason


@dataclass
class Measurements:
    """The candidates for one model and frame size, measured one after the other.

    Attributes:
        model: name or path, as on the command line.
        choice: the same model, chosen.
        width, height: of the frames, in low-resolution pixels.
        device: ``auto``, ``cpu`` or GPU numbers.
        budget: of memory.
        deadline: of all measurements, by ``time.monotonic``.
        seconds: for all measurements together.
        folder: for logs.
        candidates: in the order they were measured in.
    """

    model: str
    choice: ModelChoice
    width: int
    height: int
    device: str
    budget: MemoryBudget
    deadline: float
    seconds: float
    folder: Path

    def __post_init__(self) -> None:
        self.candidates: list[Candidate] = []

    def measure_engines(self, on_step: Callable[[str], None]) -> None:
        """Measure each engine, in each precision, on the same part of a frame."""
        plans: dict[str, TilePlan] = {}
        too_large: UsageError | None = None
        for engine in _installed(self.device):
            try:
                plans[engine] = self._plan(engine)
            except UsageError as error:  # other engines may take less memory
                too_large = error
                on_step(f"not {engine}, which does not fit the memory limit")
        if not plans:
            assert too_large is not None
            raise too_large
        side = min((plan.tile_height, plan.tile_width) for plan in plans.values())
        part = self._part(*side)
        for engine, plan in plans.items():
            ways = [way for way in _ways(engine, self.device) if way[0] != "int8" or self._has_int8]
            if not ways:
                continue
            on_step(f"{engine}, {' and '.join(dict.fromkeys(precision for precision, _ in ways))}")
            candidates = [self._candidate(engine, *way, "auto", plan) for way in ways]
            self._measure(candidates, [part] * len(ways), compare=True)

    @property
    def _has_int8(self) -> bool:
        weights = self.choice.weights
        return isinstance(weights, Weights) and calibration_path(weights).is_file()

    def measure_tiles(self, fastest: Candidate, on_step: Callable[[str], None]) -> None:
        """Measure the fastest engine with other tiles, as far as time allows."""
        assert fastest.us_per_pixel is not None
        starting = 2 * (fastest.start_seconds or 0)
        if self.deadline - time.monotonic() < starting + self.seconds / _SLICES:
            return
        auto = self._plan(fastest.engine)
        per_pixel = fastest.us_per_pixel / relative_cost(self.choice.architecture, auto) / 1e6
        pushes = self.choice.architecture.frames // 2 + 3
        plans: dict[tuple[int, int, int], tuple[str | int, TilePlan]] = {}
        for tile in ("auto", *_TILE_SIDES):
            if isinstance(tile, int) and tile >= max(auto.tile_height, auto.tile_width):
                continue
            try:
                plan = self._plan(fastest.engine, tile)
            except UsageError:  # beyond the memory limit, or smaller than the overlap
                continue
            fits = self.budget.allows(self._estimate(fastest.engine, plan))
            slow = per_pixel * plan.tile_height * plan.tile_width * pushes > 3 * self.seconds / _SLICES
            key, network = (plan.tile_height, plan.tile_width, plan.burst), self.choice.architecture
            wasteful = relative_cost(network, plan) > _MOST_WORK * relative_cost(network, auto)
            if (fits or tile == "auto") and not slow and not wasteful:
                plans.setdefault(key, (tile, plan))
        if not any(tile != "auto" for tile, _ in plans.values()):
            return
        on_step(f"{fastest.engine}, tiles")
        candidates = [
            replace(
                self._candidate(fastest.engine, fastest.precision, fastest.threads, tile, plan),
                psnr=fastest.psnr,
            )
            for tile, plan in plans.values()
        ]
        sizes = [(plan.tile_height, plan.tile_width) for _, plan in plans.values()]
        self._measure(candidates, sizes, compare=False)

    def _plan(self, engine: str, tile: str | int = "auto") -> TilePlan:
        """Return the tiles that ``vsr upscale`` would take."""
        network = self.choice.architecture
        return choose_tiles(network, self._workload(engine), network.radius(), self.budget, tile)

    def _workload(self, engine: str) -> Workload:
        scale = self.choice.scale
        size = self.height, self.width, scale * self.height, scale * self.width
        return Workload(*size, scale, encoder=_ENCODER, engine=engine)

    def _estimate(self, engine: str, plan: TilePlan) -> Any:
        return estimate_memory(self.choice.architecture, self._workload(engine), plan)

    def _part(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a part of a tile that takes a fraction of a second."""
        work = max(self.choice.architecture.multiply_adds(self.choice.scale), 1)
        least, most = _PART_PIXELS
        pixels = min(max(_PART_SECONDS * _MULTIPLY_ADDS_PER_SECOND / work, least), most)
        if self.device != "cpu" and may_have_gpu():
            pixels *= _GPU_PARTS
        factor = min(math.sqrt(pixels / (height * width)), 1)
        rows, columns = (min(side, max(round(side * factor / 8) * 8, 16)) for side in (height, width))
        return rows, columns

    def _candidate(
        self, engine: str, precision: str, threads: int | None, tile: str | int, plan: TilePlan
    ) -> Candidate:
        size = plan.tile_width, plan.tile_height
        memory = self._estimate(engine, plan).total
        return Candidate(engine, precision, tile, threads, size, len(plan), plan.burst, memory)

    def _measure(
        self, candidates: Sequence[Candidate], sizes: Sequence[tuple[int, int]], *, compare: bool
    ) -> None:
        """Measure candidates of one engine in a child process, and append them with their figures."""
        engine, left = candidates[0].engine, self.deadline - time.monotonic()
        results: dict[int, dict[str, Any]] = {}
        failure = "no time was left"
        if left > 0:
            log = self.folder / f"{len(self.candidates)}.jsonl"
            request = {
                "model": self.model,
                "scale": self.choice.scale,
                "device": self.device,
                "engine": engine,
                "seconds": self.seconds / _SLICES,
                "log": str(log),
                "reference": str(self.folder / "reference.npy") if compare else None,
                "work": [
                    {"precision": each.precision, "threads": each.threads, "size": size}
                    for each, size in zip(candidates, sizes, strict=True)
                ],
            }
            failure = _run_worker(request, left)
            results = {each["number"]: each for each in _read_log(log)}
        for number, (candidate, size) in enumerate(zip(candidates, sizes, strict=True)):
            found = results.get(number, {"error": failure})
            self.candidates.append(self._with_figures(candidate, size, found))

    def _with_figures(self, candidate: Candidate, size: tuple[int, int], found: dict[str, Any]) -> Candidate:
        if "error" in found:
            return replace(candidate, reason=found["error"])
        plan = self._plan(candidate.engine, candidate.tile)
        per_pixel = found["seconds"] / (size[0] * size[1])
        per_pixel *= relative_cost(self.choice.architecture, plan)
        psnr = candidate.psnr if found["psnr"] is None else found["psnr"]
        is_worse = candidate.precision != "fp32" and psnr is not None and psnr < MIN_PSNR
        return replace(
            candidate,
            measured_size=(size[1], size[0]),
            frames=found["frames"],
            start_seconds=found["start_seconds"],
            us_per_pixel=1e6 * per_pixel,
            fps=1 / (per_pixel * self.width * self.height),
            psnr=psnr,
            reason=_WORSE if is_worse else _NO_THREADS if candidate.threads else "",
        )


def _run_worker(request: dict[str, Any], seconds: float) -> str:
    """Run a child process for ``seconds`` at most; return why candidates without a result have none."""
    try:
        call_in_child(_WORKER, request, purpose="measure", timeout=seconds)
    except ChildEndedError as error:
        last = (error.details.splitlines() or [""])[-1]
        return f"{error}{': ' if last else ''}{last}"
    except SignalInterruptError:
        raise
    except VsrError as error:
        return "no time was left" if isinstance(error, ChildTimeoutError) else str(error)
    return "it has no figures"


def _read_log(log: Path) -> Iterator[dict[str, Any]]:
    """Yield a worker's results; the last line may be incomplete."""
    lines = log.read_text("utf-8").splitlines(keepends=True) if log.exists() else []
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)


def _installed(device: str) -> list[str]:
    """Return the engines that can run here, the most promising first.

    Raises:
        EngineError: there is none.
    """
    order = _GPU_ORDER if device != "cpu" and may_have_gpu() else _CPU_ORDER
    is_installed = {
        "keras": find_spec("keras") is not None,
        "openvino": openvino_installed(),
        "onnxruntime": onnxruntime_installed(),
    }
    names = [name for name in ENGINES if name != "auto" and is_installed.get(name, True)]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    found = [name for name in names if any(True for _ in _ways(name, device))]
    if not found:
        raise EngineError(f"no engine is installed that runs on device {device}: see `vsr doctor`")
    return found


def _ways(engine: str, device: str) -> Iterator[tuple[str, int | None]]:
    """Yield the precisions and numbers of threads to measure an engine with; fp32 first."""
    has_gpu = device != "cpu" and may_have_gpu()
    precisions = ["fp32"]
    if engine == "openvino":
        precisions += [each for each in cpu_precisions() if each != "fp32"]
    elif has_gpu and (engine == "keras" or onnxruntime_gpu_installed()):
        precisions.append("fp16")
    for precision in precisions:
        try:
            plan_engine(engine, device, precision)
        except EngineError:
            continue
        yield precision, None
    cores = psutil.cpu_count(logical=False)
    if engine in ("openvino", "onnxruntime") and not has_gpu and cores and cores < (os.cpu_count() or 1):
        yield "fp32", cores


def fastest(candidates: Sequence[Candidate]) -> int | None:
    """Return the index of the fastest candidate that may be chosen; None without one."""
    speeds = {n: each.us_per_pixel for n, each in enumerate(candidates) if each.is_eligible}
    return min(speeds, key=lambda n: speeds[n] or 0) if speeds else None
