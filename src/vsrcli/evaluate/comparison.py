"""Measure several models on the same clips; each clip is prepared and interpolated once for each protocol.

One engine is open at a time, so that memory, tiles and speed are those of a separate run. Prepared clips are
spooled to disk for the next model.
"""

from __future__ import annotations

import gc
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vsrcli.errors import OutputError
from vsrcli.evaluate.benchmark import (
    USUAL_SCORES,
    Measuring,
    MethodScore,
    clip_result,
    interpolation_baselines,
    measure_model,
    phase_gain,
    score_frames,
)
from vsrcli.evaluate.clips import ClipFile
from vsrcli.evaluate.crops import StillFrames
from vsrcli.evaluate.models import EvaluatedModel
from vsrcli.evaluate.others import OtherTool
from vsrcli.evaluate.protocol import Clip, Protocol, exact_truth, prepare_clip
from vsrcli.evaluate.results import ClipResult, Evaluation
from vsrcli.inference.array_spool import ArraySpool
from vsrcli.inference.types import Engine

_PHASE_GAIN_THRESHOLD = 0.5  # dB; above it, the stated phase is most likely wrong


@dataclass(frozen=True)
class ModelComparison:
    """Measurements of all models with one protocol, on the same clips.

    Attributes:
        protocol: how low resolution was made.
        evaluations: one for each model, then one for each other tool, in order.
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
    others: Sequence[OtherTool] = (),
    measuring: Measuring = USUAL_SCORES,
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
        others: tools whose frames are scored, too, see :func:`~vsrcli.evaluate.others.check_others`.
        measuring: what is measured beyond the usual scores.
        on_start: called before a model's first clip of a protocol.
        on_clip: called after each clip of each model.
        on_notice: called with a text about a clip that looks wrong.

    Raises:
        DataError: a clip cannot be scored, or another tool's frames do not match it.
        EngineError, ModelError: a network could not be loaded or run.
        OutputError: there is no disk space for the prepared clips.
    """
    paths = {(each, file): each.find(file, is_only=len(files) == 1) for each in others for file in files}
    prepared = _PreparedClips(max_frames, on_notice, paths, measuring, cached=len(models) > 1)
    evaluations: dict[Protocol, list[Evaluation]] = {protocol: [] for protocol in protocols}
    other_results: dict[tuple[Protocol, OtherTool], list[ClipResult]] = defaultdict(list)
    for model in models:
        engine = open_engine(model)
        network = model.choice.architecture
        for protocol, finished in evaluations.items():
            on_start(model, protocol)
            results = []
            for file in files:
                known = prepared.get(file, protocol)
                clip = known.clip
                result, frames = measure_model(engine, clip, network, known.baselines, model.look, measuring)
                results.append(result)
                if others:
                    frames = _with_others(frames, known.others)
                if model is models[0]:
                    for other in others:
                        score = known.others[other.name]
                        other_results[protocol, other].append(clip_result(clip, known.baselines, score))
                on_clip(model, result, frames)
            omitted = measuring.perception.omitted
            evaluation = Evaluation(
                model.name, engine.description, protocol, tuple(results), model.look, omitted=omitted
            )
            finished.append(evaluation)
            if model is models[-1]:
                finished += [
                    Evaluation(
                        each.name,
                        f"frames in {str(each.folder)!r}",
                        protocol,
                        tuple(other_results[protocol, each]),
                        folder=str(each.folder),
                        omitted=omitted,
                    )
                    for each in others
                ]
                yield ModelComparison(protocol, tuple(finished))
        del engine
        gc.collect()  # networks hold reference cycles


def _with_others(frames: StillFrames, others: Mapping[str, MethodScore]) -> StillFrames:
    stills = {name: each.middle_frame for name, each in others.items()}
    moving = {name: each.moving for name, each in others.items()} if frames.moving else {}
    return replace(frames, others=stills, moving={**moving, **frames.moving})


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A clip, with the scores of interpolation and of other tools, by name."""

    clip: Clip
    baselines: dict[str, MethodScore]
    others: dict[str, MethodScore]


class _PreparedClips:
    """Prepares clips, and measures their interpolations and other tools' frames.

    Args:
        max_frames, on_notice, measuring: see :func:`compare_models`.
        paths: of the other tools' frames.
        cached: spool clips to disk, since each will be requested again.
    """

    def __init__(
        self,
        max_frames: int | None,
        on_notice: Callable[[str], None],
        paths: Mapping[tuple[OtherTool, ClipFile], Path],
        measuring: Measuring,
        *,
        cached: bool,
    ) -> None:
        self._max_frames, self._on_notice = max_frames, on_notice
        self._paths, self._measuring = paths, measuring
        self._spool = ArraySpool() if cached else None
        self._spooled: dict[tuple[ClipFile, Protocol], tuple[int, _Prepared]] = {}

    def get(self, file: ClipFile, protocol: Protocol) -> _Prepared:
        if self._spool is not None and (file, protocol) in self._spooled:
            row, known = self._spooled[file, protocol]
            arrays = {name: np.asarray(array) for name, array in self._spool[row].items()}
            clip = replace(known.clip, truth=arrays.pop("/truth"), low=arrays.pop("/low"))
            return _Prepared(clip, *_with_middle_frames(known, arrays))
        clip = prepare_clip(file, protocol, self._max_frames, self._on_notice)
        baselines = interpolation_baselines(clip, self._measuring)
        if protocol.name == "none":
            self._check_phase(clip)
        known = _Prepared(clip, baselines, self._score_others(clip, file))
        if self._spool is not None:
            self._store(self._spool, file, known)
        return known

    def _score_others(self, clip: Clip, file: ClipFile) -> dict[str, MethodScore]:
        """Score other tools' frames, which were decoded and stored by others, against the exact truth."""
        paths = {tool: path for (tool, of), path in self._paths.items() if of == file}
        if not paths:
            return {}
        truth = exact_truth(clip, file, self._max_frames)
        return {
            tool.name: score_frames(
                tool.read(path, clip, self._max_frames, self._on_notice),
                clip,
                tool.name,
                self._measuring,
                truth,
            )
            for tool, path in paths.items()
        }

    def _store(self, spool: ArraySpool, file: ClipFile, known: _Prepared) -> None:
        clip, scores = known.clip, {**known.baselines, **known.others}
        frames = {name: each.middle_frame for name, each in scores.items()}
        try:
            spool.add({"/truth": clip.truth, "/low": clip.low, **frames})
        except OutputError as error:
            raise OutputError(
                f"no space in {tempfile.gettempdir()!r} for the decoded clips, which several models share: "
                "free some space there, set TMPDIR, give --frames, or measure one model at a time"
            ) from error
        empty = np.empty(0, np.uint8)
        without = _with_middle_frames(known, dict.fromkeys(scores, empty))
        stored = _Prepared(replace(clip, truth=empty, low=empty), *without)
        self._spooled[file, clip.protocol] = len(spool) - 1, stored

    def _check_phase(self, clip: Clip) -> None:
        gain = phase_gain(clip)
        if gain > _PHASE_GAIN_THRESHOLD:
            other = "zero" if clip.protocol.phase == "centre" else "centre"
            self._on_notice(
                f"{clip.name!r}: on the other pixel grid bicubic comes {gain:.1f} dB closer to the truth; "
                f"its low resolution seems to be made for --phase {other}"
            )


def _with_middle_frames(
    known: _Prepared, frames: Mapping[str, np.ndarray]
) -> tuple[dict[str, MethodScore], dict[str, MethodScore]]:
    """Return the scores of interpolation and of other tools with other middle frames, by name."""
    baselines, others = (
        {name: replace(each, middle_frame=frames[name]) for name, each in scores.items()}
        for scores in (known.baselines, known.others)
    )
    return baselines, others
