"""A job: everything that is decided before the first frame, by :mod:`vsrcli.pipeline.preparation`.

Imports no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from vsrcli.frames.geometry import Geometry
from vsrcli.frames.tiling import TilePlan
from vsrcli.inference.engine_plan import EnginePlan
from vsrcli.inference.selection import ModelChoice
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.resumable_decoder import ResumableDecoder, ResumePoint
from vsrcli.media.source_reader import SourceReader
from vsrcli.media.types import Source
from vsrcli.pipeline.memory import MemoryBudget, MemoryEstimate, Workload
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.passes import Pass, estimate_passes


@dataclass(frozen=True)
class Job:
    """Everything that is decided before a run, as ``--dry-run`` shows it.

    Attributes:
        reader: of the source.
        plan: how the output is written, stream by stream.
        passes: networks and tiles, in order; more than one with ``--chain``.
        engine: backend, device and precision as far as known before the network is loaded; None for
            interpolation.
        options: with what ``vsr tune`` has measured in place of ``auto``.
        requested: the options as passed.
        end: end of the span in seconds from the start of the source, from ``options.end`` and
            ``options.frames``, up to which other streams are copied; None: unlimited.
        ffmpeg: executable.
        expected_frames: number of frames in the span as the container states it, or None.
        segmented: whether the output is written in segments, so that an interruption costs at most the last.
        unsegmented_reason: a phrase that says why not, although it was asked for; else empty.
        memory_budget: memory limits.
        geometry: where the source's frame lies in the output's.
        keep_color: whether results take their low frequencies of colour from the source.
        strength: share of the networks' picture, the rest is Lanczos; 1 where all of it is interpolated, too,
            and with sharp weights, whose strength chooses the weights.
        look: of the program's own networks, for people; empty without any.
    """

    reader: SourceReader
    plan: OutputPlan
    passes: tuple[Pass, ...]
    engine: EnginePlan | None
    options: Options
    requested: Options
    end: Fraction | None
    ffmpeg: Ffmpeg
    expected_frames: int | None
    segmented: bool
    memory_budget: MemoryBudget
    geometry: Geometry
    keep_color: bool = False
    strength: float = 1.0
    look: str = ""
    unsegmented_reason: str = ""

    @property
    def is_faithful(self) -> bool:
        """Whether results are changed towards the source after the passes."""
        return self.keep_color or self.strength < 1

    @property
    def is_part(self) -> bool:
        """Whether a part of a video is upscaled, which is complete while its file is still being recorded."""
        has_end = self.plan.span[1] is not None or self.options.frames is not None
        return has_end and self.source.images is None

    @property
    def source(self) -> Source:
        """The source, as probed."""
        return self.reader.source

    def open_decoder(self, resume_point: ResumePoint | None = None) -> ResumableDecoder:
        """Open the frames of the span; with a resume point, those after it."""

        def open_at(point: ResumePoint | None) -> Decoder:
            options, source = self.options, self.source
            start, frames = options.start, options.frames
            if point is not None:
                start = point.pts * source.video.time_base - source.start
                frames = None if frames is None else frames - point.frame_count + 1
            return self.reader.open_decoder(
                start=start,
                end=options.end,  # not `self.end`: packets may outnumber frames, which `max_frames` counts
                max_frames=frames,
                deinterlace=options.deinterlace,
                alpha=self.plan.alpha,
                tolerant=options.keep_going,
                ffmpeg=self.ffmpeg,
            )

        return ResumableDecoder(self.source, open_at, resume_point)

    @property
    def model(self) -> ModelChoice:
        """The model of the first pass."""
        return self.passes[0].model

    @property
    def models(self) -> tuple[ModelChoice, ...]:
        """The models of all passes."""
        return tuple(each.model for each in self.passes)

    @property
    def tiles(self) -> tuple[TilePlan, ...]:
        """The tile plans of all passes."""
        return tuple(each.tiles for each in self.passes)

    def memory_estimate(self, tiles: Sequence[TilePlan] = ()) -> MemoryEstimate:
        """Return the estimated peak memory, with the job's or with other tiles."""
        estimate = self._estimate_with_one_encoder(tiles or self.tiles)
        return (
            replace(estimate, ffmpeg=estimate.ffmpeg + estimate.background_closing)
            if self._fits_second_encoder(estimate)
            else estimate
        )

    def can_keep_tiles(self, tiles: Sequence[TilePlan]) -> bool:
        """Whether a resumed run can keep the tiles of an earlier one: they fit ``--max-memory``, without it
        all memory that is free, or the job's own tiles would not help."""
        limits = self.memory_budget.limits
        kept, own = self._estimate_with_one_encoder(tiles), self._estimate_with_one_encoder(self.tiles)
        return limits.allows(kept) or (not limits.allows(own) and kept.total <= own.total)

    def can_close_in_background(self, tiles: Sequence[TilePlan]) -> bool:
        """Whether there is memory to close a segment while the next one is computed."""
        return self._fits_second_encoder(self._estimate_with_one_encoder(tiles))

    def _estimate_with_one_encoder(self, tiles: Sequence[TilePlan]) -> MemoryEstimate:
        workload = workload_of(self.source, self.model, self.plan, self.engine)
        pairs = zip(self.passes, tiles, strict=True)
        passes = [replace(each, tiles=plan) for each, plan in pairs]
        return estimate_passes(passes, workload, is_faithful=self.is_faithful)

    def _fits_second_encoder(self, estimate: MemoryEstimate) -> bool:
        """Whether segments are closed in the background at all, and a second encoder fits the budget."""
        return (
            self.segmented
            and estimate.background_closing > 0
            and self.memory_budget.allows(estimate, estimate.background_closing)
        )


def workload_of(source: Source, model: ModelChoice, plan: OutputPlan, engine: EnginePlan | None) -> Workload:
    """Return the properties that the memory of a job depends on."""
    video, preset = source.video, dict(plan.video_options).get("preset")
    size = video.height, video.width, plan.height, plan.width
    backend = "keras" if engine is None else engine.engine
    return Workload(*size, model.scale, video.is_high_bit_depth, plan.codec, preset, backend)
