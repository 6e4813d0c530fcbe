"""Find the fastest engine, precision and tiles for a model and a frame size on this machine.

First every engine computes the same small part of a frame, in each of its precisions: that says which is
fastest per pixel, and how much they differ. Then the fastest one computes tiles of other sizes. See
:mod:`vsrcli.bench.candidates`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from vsrcli._version import __version__
from vsrcli.bench.candidates import Candidate, Measurements, fastest
from vsrcli.errors import EngineError, UsageError
from vsrcli.inference.selection import ModelChoice
from vsrcli.pipeline.memory import memory_budget
from vsrcli.system.files import temporary_folder

SCHEMA = 2
DEFAULT_SECONDS = 50.0
_LEAST_GAIN = 0.05  # by which tiles must be faster than those that memory allows
_LOOK_SECONDS = 0.3  # at what other programs do


@dataclass(frozen=True)
class TuningReport:
    """Result of :func:`tune`.

    Attributes:
        model: name of the weights.
        sha256: of the weights.
        scale: native factor.
        width, height: of the frames, in low-resolution pixels.
        device: as requested.
        seconds: that it took.
        busy: share of the processors that other programs took before it, 0 to 1: figures are unreliable where
            that is much.
        candidates: in the order they were measured in.
        best: index of the fastest.
    """

    model: str
    sha256: str
    scale: int
    width: int
    height: int
    device: str
    seconds: float
    busy: float
    candidates: tuple[Candidate, ...]
    best: int

    @property
    def winner(self) -> Candidate:
        """The fastest."""
        return self.candidates[self.best]

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON, with ``schema`` (2) and ``version``."""
        return {"schema": SCHEMA, "version": __version__, **asdict(self)}


def tune(
    model: str,
    choice: ModelChoice,
    width: int,
    height: int,
    *,
    device: str = "auto",
    max_memory: int | None = None,
    seconds: float = DEFAULT_SECONDS,
    on_step: Callable[[str], None] = lambda text: None,
) -> TuningReport:
    """Measure candidates until the time is over, the most promising first.

    Args:
        model: name or path, as on the command line.
        choice: the same model, chosen.
        width, height: of the frames, in low-resolution pixels.
        device: ``auto``, ``cpu`` or GPU numbers.
        max_memory: limit in bytes; None: three quarters of the free memory.
        seconds: for all measurements together.
        on_step: called with the name of each step before it starts.

    Raises:
        EngineError: no engine gave a figure; the message says why.
        SignalInterruptError: a signal has arrived.
        UsageError: there is nothing to measure, or the memory limit is too small.
    """
    if choice.weights is None:
        raise UsageError(f"{choice.name} is interpolation, which has no engine: name a network with -m")
    started = time.monotonic()
    busy = psutil.cpu_percent(_LOOK_SECONDS) / 100
    budget = memory_budget(device, max_memory)
    with temporary_folder("vsr-tune-") as folder:
        session = Measurements(
            model, choice, width, height, device, budget, started + seconds, seconds, folder
        )
        session.measure_engines(on_step)
        best = fastest(session.candidates)
        if best is None:
            reasons = "; ".join(dict.fromkeys(f"{each.engine}: {each.reason}" for each in session.candidates))
            raise EngineError(f"no engine could be measured with {choice.name} ({reasons}): see `vsr doctor`")
        session.measure_tiles(session.candidates[best], on_step)
    candidates = tuple(session.candidates)
    best = _choose(candidates)
    took = time.monotonic() - started
    sha256 = str(choice.weights.card["sha256"])
    return TuningReport(
        choice.name, sha256, choice.scale, width, height, device, took, busy, candidates, best
    )


def _choose(candidates: Sequence[Candidate]) -> int:
    """Return the index of the fastest candidate; one with smaller tiles than necessary must gain by them."""
    best = fastest(candidates)
    assert best is not None
    if candidates[best].tile == "auto":
        return best
    same_way = [
        number
        for number, each in enumerate(candidates)
        if each.is_eligible and each.tile == "auto" and each.engine == candidates[best].engine
    ]
    automatic = [n for n in same_way if candidates[n].measured_size == candidates[n].tile_size] or same_way
    fallback = min(automatic, key=lambda n: candidates[n].us_per_pixel or 0)
    gain = 1 - (candidates[best].us_per_pixel or 0) / (candidates[fallback].us_per_pixel or 1)
    return best if gain >= _LEAST_GAIN else fallback
