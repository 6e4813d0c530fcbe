"""Measure several models on the same clips; each clip is prepared and interpolated once for each protocol.

One engine is open at a time, so that memory, tiles and speed are those of a separate run. Prepared clips are
spooled to disk for the next model.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vsrcli.errors import OutputError
from vsrcli.evaluate.benchmark import (
    MethodScore,
    StillFrames,
    interpolation_baselines,
    measure_model,
    phase_gain,
)
from vsrcli.evaluate.clips import ClipFile
from vsrcli.evaluate.models import EvaluatedModel
from vsrcli.evaluate.protocol import Clip, Protocol, prepare_clip
from vsrcli.evaluate.results import ClipResult, Evaluation
from vsrcli.inference.array_spool import ArraySpool
from vsrcli.inference.types import Engine

_PHASE_GAIN_THRESHOLD = 0.5  # dB; above it, the stated phase is most likely wrong


@dataclass(frozen=True)
class ModelComparison:
    """Measurements of all models with one protocol, on the same clips.

    Attributes:
        protocol: how low resolution was made.
        evaluations: one for each model, in order.
    """

    protocol: Protocol
    evaluations: tuple[Evaluation, ...]


def compare_models(
    models: Sequence[EvaluatedModel],
    files: Sequence[ClipFile],
    protocols: Sequence[Protocol],
    *,
    open_engine: Callable[[EvaluatedModel], Engine],
    max_frames: int | None = None,
    on_start: Callable[[EvaluatedModel, Protocol], None] = lambda model, protocol: None,
    on_clip: Callable[[EvaluatedModel, ClipResult, StillFrames], None] = lambda model, result, frames: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Iterator[ModelComparison]:
    """Measure models; yield the comparison of each protocol once the last model is measured with it.

    Args:
        models: at least one, see :func:`~vsrcli.evaluate.models.resolve_models`.
        files: at least one, see :func:`~vsrcli.evaluate.clips.find_clips`.
        protocols: at least one.
        open_engine: loads a model.
        max_frames: measure the first frames of each clip only; None: all.
        on_start: called before a model's first clip of a protocol.
        on_clip: called after each clip of each model.
        on_notice: called with a text about a clip that looks wrong.

    Raises:
        DataError: a clip cannot be scored.
        EngineError, ModelError: a network could not be loaded or run.
        OutputError: there is no disk space for the prepared clips.
    """
    prepared = _PreparedClips(max_frames, on_notice, cached=len(models) > 1)
    evaluations: dict[Protocol, list[Evaluation]] = {protocol: [] for protocol in protocols}
    for model in models:
        engine = open_engine(model)
        network = model.choice.architecture
        for protocol, finished in evaluations.items():
            on_start(model, protocol)
            results = []
            for file in files:
                clip, baselines = prepared.get(file, protocol)
                result, frames = measure_model(engine, clip, network, baselines, model.look)
                results.append(result)
                on_clip(model, result, frames)
            evaluation = Evaluation(model.name, engine.description, protocol, tuple(results), model.look)
            finished.append(evaluation)
            if model is models[-1]:
                yield ModelComparison(protocol, tuple(finished))
        del engine
        gc.collect()  # networks hold reference cycles


class _PreparedClips:
    """Prepares clips and measures their interpolations.

    Args:
        max_frames, on_notice: see :func:`compare_models`.
        cached: spool clips to disk, since each will be requested again.
    """

    def __init__(self, max_frames: int | None, on_notice: Callable[[str], None], *, cached: bool) -> None:
        self._max_frames, self._on_notice = max_frames, on_notice
        self._spool = ArraySpool() if cached else None
        self._spooled: dict[tuple[ClipFile, Protocol], tuple[int, Clip, dict[str, MethodScore]]] = {}

    def get(self, file: ClipFile, protocol: Protocol) -> tuple[Clip, dict[str, MethodScore]]:
        if self._spool is not None and (file, protocol) in self._spooled:
            row, clip, baselines = self._spooled[file, protocol]
            arrays = {name: np.asarray(array) for name, array in self._spool[row].items()}
            clip = replace(clip, truth=arrays["truth"], low=arrays["low"])
            return clip, {name: replace(each, middle_frame=arrays[name]) for name, each in baselines.items()}
        clip = prepare_clip(file, protocol, self._max_frames, self._on_notice)
        baselines = interpolation_baselines(clip)
        if protocol.name == "none":
            self._check_phase(clip)
        if self._spool is not None:
            self._store(self._spool, file, clip, baselines)
        return clip, baselines

    def _store(
        self, spool: ArraySpool, file: ClipFile, clip: Clip, baselines: dict[str, MethodScore]
    ) -> None:
        middle_frames = {name: each.middle_frame for name, each in baselines.items()}
        try:
            spool.add({"truth": clip.truth, "low": clip.low, **middle_frames})
        except OutputError as error:
            raise OutputError(
                f"no space in {tempfile.gettempdir()!r} for the decoded clips, which several models share: "
                "free some space there, set TMPDIR, give --frames, or measure one model at a time"
            ) from error
        empty = np.empty(0, np.uint8)
        scores = {name: replace(each, middle_frame=empty) for name, each in baselines.items()}
        self._spooled[file, clip.protocol] = len(spool) - 1, replace(clip, truth=empty, low=empty), scores

    def _check_phase(self, clip: Clip) -> None:
        gain = phase_gain(clip)
        if gain > _PHASE_GAIN_THRESHOLD:
            other = "zero" if clip.protocol.phase == "centre" else "centre"
            self._on_notice(
                f"{clip.name!r}: on the other pixel grid bicubic comes {gain:.1f} dB closer to the truth; "
                f"its low resolution seems to be made for --phase {other}"
            )
