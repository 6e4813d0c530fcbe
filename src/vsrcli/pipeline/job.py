"""Prepare a job: open the source, plan the output, and decide everything else before the first frame.

Imports no network. Videos and image sequences differ in :func:`open_source` and :func:`plan_any_output`; all
other decisions are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import UsageError
from vsrcli.frames.geometry import Geometry, geometry_for_scale, geometry_for_size
from vsrcli.frames.tiling import TilePlan
from vsrcli.images.naming import OutputNaming, is_image_target, parse_target, resolve_naming
from vsrcli.images.plan import ImagePlan, plan_images
from vsrcli.images.probe import video_notices
from vsrcli.images.reader import frame_range, open_reader
from vsrcli.inference.selection import EnginePlan, ModelChoice, choose_models, plan_engine
from vsrcli.media.decoder import Decoder, SourceReader
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import check_output_path
from vsrcli.media.preferences import Preferences, plan_with_preferences, try_preferences, without_preferences
from vsrcli.media.resumable_decoder import ResumableDecoder, ResumePoint
from vsrcli.media.safety import check_extra_options
from vsrcli.media.segments import reason_not_segmentable
from vsrcli.media.stdin import StdinInput
from vsrcli.media.trial import trial_encode
from vsrcli.media.types import Source
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.memory import MemoryBudget, MemoryEstimate, Workload, memory_budget
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.passes import Pass, choose_passes, estimate_passes, scale_notices


def open_source(
    source: str | Path | StdinInput, target: Path, encode: EncodeOptions, fps: Fraction | None, ffmpeg: Ffmpeg
) -> SourceReader:
    """Probe a video, an image sequence or stdin.

    Args:
        source: path or pattern, or stdin.
        target: path of the output; with stdin it is checked before stdin is read.
        encode: options, or preferences of a settings file.
        fps: frame rate of an image sequence; ignored for a video if it comes from a settings file.
        ffmpeg: executable.

    Raises:
        InputError: see :func:`vsrcli.images.probe.probe_source`.
        OutputError: the source is stdin and the target cannot be written.
        UsageError: ``fps`` with a video.
    """
    if isinstance(source, StdinInput):
        if not is_image_target(target):
            # before all of a long video has been read in vain
            try_preferences(encode, lambda options: check_output_path(target, options, ffmpeg))
        reader: SourceReader = source.open_reader()
    else:
        reader = open_reader(Path(source), fps)
    preferred = isinstance(encode, Preferences) and encode.fps_optional
    if fps is not None and not preferred and reader.source.images is None:
        raise UsageError(
            f"--fps is for images: {reader.source.display_name} is a video, which has timestamps of its own"
        )
    return reader


def plan_any_output(
    reader: SourceReader,
    target: Path,
    *,
    geometry: Geometry,
    encode: EncodeOptions,
    span: tuple[Fraction | None, Fraction | None],
    frames: int | None,
    deinterlace: bool,
    ffmpeg: Ffmpeg,
) -> OutputPlan:
    """Plan a video or image output; its notices include those about a source of images.

    Args:
        reader: of the source.
        target: see :func:`~vsrcli.images.naming.parse_target`.
        geometry: size of the output.
        encode: options, or preferences of a settings file.
        span, deinterlace, ffmpeg: see :func:`~vsrcli.media.planning.plan_output`.
        frames: maximum number of frames; None: no limit.

    Raises:
        OutputError, UsageError: see ``plan_output`` and :func:`~vsrcli.images.plan.plan_images`.
    """
    source, images = reader.source, reader.source.images
    naming = _output_naming(source, target, span, frames)
    notices = list(images.notices) if images else []
    if naming is not None:
        plan: OutputPlan = plan_images(
            source,
            naming,
            width=geometry.width,
            height=geometry.height,
            sample_aspect_ratio=geometry.sample_aspect_ratio,
            visible_share=geometry.visible_share,
            options=without_preferences(encode),
            span=span,
            max_frames=frames,
            deinterlace=deinterlace,
            ffmpeg=ffmpeg,
        )
    else:
        plan = plan_with_preferences(
            source,
            target,
            width=geometry.width,
            height=geometry.height,
            sample_aspect_ratio=geometry.sample_aspect_ratio,
            options=encode,
            span=span,
            deinterlace=deinterlace,
            trial=False,
            reader=reader,
            ffmpeg=ffmpeg,
        )
        if images is not None:
            notices += video_notices(images, plan)
    return replace(plan, notices=(*notices, *plan.notices))


def _output_naming(
    source: Source, target: Path, span: tuple[Fraction | None, Fraction | None], frames: int | None
) -> OutputNaming | None:
    if target == STDIO:
        return None
    images = source.images
    if images is not None:
        many = len(frame_range(images, *span, frames)) != 1
        return resolve_naming(
            target,
            images.files[0],
            from_images=True,
            is_single_image=images.is_single_image,
            has_many_frames=many,
        )
    name = source.path if source.is_stored else Path("stdin.mp4")
    return resolve_naming(target, name, from_images=False, is_single_image=False, has_many_frames=frames != 1)


@dataclass(frozen=True)
class Job:
    """Everything that is decided before a run, as ``--dry-run`` shows it.

    Attributes:
        reader: of the source.
        plan: how the output is written, stream by stream.
        passes: networks and tiles, in order; more than one with ``--chain``.
        engine: backend, device and precision as far as known before the network is loaded; None for
            interpolation.
        options: as passed.
        end: end of the span in seconds from the start of the source, from ``options.end`` and
            ``options.frames``; None: unlimited.
        ffmpeg: executable.
        expected_frames: number of frames in the span as the container states it, or None.
        segmented: whether the output is written in segments, so that an interruption costs at most the last.
        memory_budget: memory limits.
        geometry: where the source's frame lies in the output's.
    """

    reader: SourceReader
    plan: OutputPlan
    passes: tuple[Pass, ...]
    engine: EnginePlan | None
    options: Options
    end: Fraction | None
    ffmpeg: Ffmpeg
    expected_frames: int | None
    segmented: bool
    memory_budget: MemoryBudget
    geometry: Geometry

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
                end=self.end,
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

    def fits_budget(self, tiles: Sequence[TilePlan]) -> bool:
        """Whether the job with these tiles stays within ``--max-memory``, if that is set."""
        return not self.memory_budget.explicit or self.memory_budget.allows(self.memory_estimate(tiles))

    def can_close_in_background(self, tiles: Sequence[TilePlan]) -> bool:
        """Whether there is memory to close a segment while the next one is computed."""
        return self._fits_second_encoder(self._estimate_with_one_encoder(tiles))

    def _estimate_with_one_encoder(self, tiles: Sequence[TilePlan]) -> MemoryEstimate:
        workload = _workload(self.source, self.model, self.plan, self.engine)
        pairs = zip(self.passes, tiles, strict=True)
        return estimate_passes([replace(each, tiles=plan) for each, plan in pairs], workload)

    def _fits_second_encoder(self, estimate: MemoryEstimate) -> bool:
        """Whether segments are closed in the background at all, and a second encoder fits the budget."""
        return (
            self.segmented
            and estimate.background_closing > 0
            and self.memory_budget.allows(estimate, estimate.background_closing)
        )


def prepare_job(source: str | Path | StdinInput, target: str | Path, options: Options | None = None) -> Job:
    """Check and decide everything that can be known before the first frame; write nothing.

    Args:
        source: a video; an image sequence, see :mod:`vsrcli.images.naming`; or stdin, see
            :func:`~vsrcli.media.stdin.open_input`.
        target: a video, ``-`` for stdout, or an image sequence.
        options: see :class:`~vsrcli.pipeline.options.Options`.

    Raises:
        VsrError: the source cannot be read, the target cannot be written or cannot hold the requested
            streams, or there is no such model or no ffmpeg.
    """
    options = options or Options()
    if options.start is not None and options.end is not None and options.end <= options.start:
        raise UsageError(
            f"--end {float(options.end):g} is not after --start {float(options.start):g}: give a later end"
        )
    check_extra_options(options.encode.extra)
    choose_models(options.model, options.scale)  # fail early: before the source is probed
    engine = plan_engine(options.engine, options.device, options.precision)
    ffmpeg = find_ffmpeg(options.ffmpeg)
    target = parse_target(target)
    reader = open_source(source, target, options.encode, options.fps, ffmpeg)
    probed = reader.source
    reader.check_span(options.start, options.end)
    if options.start is None and options.end is None and not options.keep_going:
        reader.check_damage()
    geometry = _geometry(probed, options)
    models = choose_models(options.model, geometry.factor, chain=options.chain)
    end = reader.span_end(options.start, options.end, options.frames)
    plan = plan_any_output(
        reader,
        target,
        geometry=geometry,
        encode=options.encode,
        span=(options.start, end),
        frames=options.frames,
        deinterlace=options.deinterlace,
        ffmpeg=ffmpeg,
    )
    _check_alpha_crop(geometry, plan, options)
    budget = memory_budget(options.device if models[0].weights else "cpu", options.max_memory)
    passes = choose_passes(
        models,
        _workload(probed, models[0], plan, engine),
        options.overlap,
        budget,
        options.tile if isinstance(options.tile, int) else None,
        auto=options.tile == "auto",
        visible_share=geometry.visible_share,
    )
    plan = replace(plan, notices=(*plan.notices, *scale_notices(passes, geometry)))
    to_images = isinstance(plan, ImagePlan)
    reason = (
        None if options.segment == "none" or to_images else _reason_not_segmentable(probed, plan, options)
    )
    if reason:
        notice = f"{reason}: the video is written in one go, and an interruption costs all of it"
        plan = replace(plan, notices=(*plan.notices, notice))
    segmented = reason is None and options.segment != "none"
    if not to_images:
        trial_encode(plan, probed, segmented=segmented, ffmpeg=ffmpeg)
    expected = _expected_frames(probed, options, end)
    return Job(
        reader=reader,
        plan=plan,
        passes=passes,
        engine=engine if models[0].weights else None,
        options=options,
        end=end,
        ffmpeg=ffmpeg,
        expected_frames=expected,
        segmented=segmented,
        memory_budget=budget,
        geometry=geometry,
    )


def _geometry(source: Source, options: Options) -> Geometry:
    video = source.video
    old = video.width, video.height, video.sample_aspect_ratio
    return (
        geometry_for_scale(*old, options.scale)
        if options.size is None
        else geometry_for_size(*old, options.size)
    )


def _check_alpha_crop(geometry: Geometry, plan: OutputPlan, options: Options) -> None:
    if plan.alpha and not geometry.is_uncropped:
        raise UsageError(
            f"{options.size}: transparency cannot be cropped; leave --fill out, or drop it with "
            "--pix-fmt yuv420p"
        )


def _reason_not_segmentable(source: Source, plan: OutputPlan, options: Options) -> str | None:
    """Return why the output cannot be written in segments; "" if no notice is needed, None if it can."""
    if not plan.to_stdout and source.is_stored:
        return reason_not_segmentable(plan, source.video, options.encode.extra)
    where = "stdout cannot be written twice" if plan.to_stdout else "stdin cannot be read twice"
    return where if isinstance(options.segment, int) else ""


def _workload(source: Source, model: ModelChoice, plan: OutputPlan, engine: EnginePlan | None) -> Workload:
    """Return the properties that the memory of a job depends on."""
    video, preset = source.video, dict(plan.video_options).get("preset")
    size = video.height, video.width, plan.height, plan.width
    backend = "keras" if engine is None else engine.engine
    return Workload(*size, model.scale, video.is_high_bit_depth, plan.codec, preset, backend)


def _expected_frames(source: Source, options: Options, end: Fraction | None) -> int | None:
    """Return the expected number of frames, for progress: as stated, or from the span and the frame rate."""
    video = source.video
    if options.start is None and end is None and video.frame_count:
        return video.frame_count
    duration = video.duration or source.duration
    if video.frame_rate is None or duration is None:
        return options.frames
    end = duration if end is None else min(end, duration)
    expected = max(round((end - (options.start or 0)) * video.frame_rate), 1)
    return expected if options.frames is None else min(expected, options.frames)
