"""Prepare a job in three steps, before the first frame: inspect, decide, verify.

:func:`inspect` reads the source and the machine, :func:`decide` chooses everything from what was found and
the options alone, and :func:`verify` tries the output. Imports no network. Videos and image sequences differ
in their :class:`~vsrcli.media.source_reader.SourceReader` and their plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import InputError, UsageError
from vsrcli.frames.geometry import choose_geometry
from vsrcli.images.naming import ImageTarget, find_targets, is_image_target, parse_target
from vsrcli.images.plan import check_images, plan_images
from vsrcli.images.reader import open_reader
from vsrcli.images.sequence import video_notices
from vsrcli.inference.engine_plan import EnginePlan, plan_engine
from vsrcli.inference.looks import LOOKS, SHARP, describe_look, requested_look
from vsrcli.inference.selection import (
    INTERPOLATION,
    ModelChoice,
    dial_looks,
    find_models,
    select_interpolation,
    select_passes,
)
from vsrcli.media.containers import Container, choose_container
from vsrcli.media.encoder_options import check_repeated_options, with_fixed_threads
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.planning import check_target, plan_output
from vsrcli.media.safety import check_extra_options
from vsrcli.media.segments import reason_not_segmentable
from vsrcli.media.source_reader import SourceReader, Span
from vsrcli.media.stdin import StdinInput
from vsrcli.media.trial import trial_encode
from vsrcli.media.truncation import find_truncation
from vsrcli.media.types import Source
from vsrcli.media.y4m import STDIO
from vsrcli.models.imported import ImportedModel
from vsrcli.pipeline.job import Job, workload_of
from vsrcli.pipeline.memory import MemoryBudget, memory_budget
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.passes import choose_passes, scale_notices, tile_notices
from vsrcli.pipeline.tuned import apply_tuned, find_tuned
from vsrcli.system.resources import disable_openvino_telemetry, import_in_background


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
    found = inspect(source, parse_target(target), options)
    requested = options
    options, found = _tune(options, found)
    if found.engine and found.engine.engine == "openvino":
        disable_openvino_telemetry()
        import_in_background("openvino", "h5py")  # while ffmpeg rehearses
    job = replace(decide(found, options), requested=requested)
    verify(job, found)
    return job


def _tune(options: Options, found: Inspection) -> tuple[Options, Inspection]:
    """Replace ``auto`` by what ``vsr tune`` has measured for the model and the source's size, if it has."""
    video = found.reader.source.video
    if not options.tuned or len(found.models) != 1:
        return options, found
    network = found.models[0], video.width, video.height
    setting = find_tuned(options, *network)
    if setting is None or not (tuned := apply_tuned(options, setting, *network)):
        return options, found
    options, engine = tuned
    return options, replace(found, engine=engine, memory_budget=_budget([engine], options))


@dataclass(frozen=True)
class Inspection:
    """What was found before anything is decided.

    Attributes:
        reader: of the source.
        target: path of the output.
        container: of the output; None for images.
        span: of the source.
        images: the output's images; None if it is a video.
        models: for each requested model, it at each native scale.
        engine: that computes it.
        ffmpeg: executable.
        memory_budget: memory limits.
        strength: share of the networks' picture, the rest is Lanczos; 1 with sharp weights.
    """

    reader: SourceReader
    target: Path
    container: Container | None
    span: Span
    images: ImageTarget | None
    models: tuple[tuple[ModelChoice, ...], ...]
    engine: EnginePlan
    ffmpeg: Ffmpeg
    memory_budget: MemoryBudget
    strength: float = 1.0


def inspect(source: str | Path | StdinInput, target: Path, options: Options) -> Inspection:
    """Find model, engine and ffmpeg, then read what must be known of the source.

    Raises:
        VsrError: something is missing, or cannot be read.
    """
    start, end = options.start, options.end
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end {float(end):g} is not after --start {float(start):g}: give a later end")
    if not 0 <= options.strength <= 1:
        raise UsageError(f"--strength {options.strength:g} is out of range: 0 (Lanczos) to 1 (the network)")
    if options.look not in (None, *LOOKS):
        raise UsageError(f"--look {options.look!r} is unknown: choose one of {', '.join(LOOKS)}")
    if options.same_size and options.size is not None:
        raise UsageError(f"{options.size} and --same-size both say how large; give one of them")
    check_extra_options(options.encode.extra)
    check_repeated_options(options.encode.extra)
    strength = interpolation_strength(options)
    if strength:
        models = tuple(find_models(each, options.scale, options.look) for each in options.models)
    else:
        models = (find_models(INTERPOLATION, options.scale),)
    requested = options.engine, options.device, options.precision
    engines = [plan_engine(*requested, candidates[0].runs_on) for candidates in models]
    computing = [plan for plan, candidates in zip(engines, models, strict=True) if candidates[0].weights]
    budget = _budget(computing, options)
    ffmpeg = find_ffmpeg(options.ffmpeg)
    container = None
    inputs = () if isinstance(source, StdinInput) else (Path(source),)
    if not is_image_target(target) and (not inputs or not target.is_dir()):
        # before all of a long video has been read in vain
        check_target(target, overwrite=options.encode.overwrite, inputs=inputs)
        container = choose_container(target, options.encode.format, ffmpeg)
    for_counting = container is not None and container.constant_frame_rate
    fps_required = options.fps is not None and "fps" not in options.encode.optional
    reader = open_source(
        source, options.fps, target, fps_required=fps_required, keep_going=options.keep_going
    )
    reader.check_span(start, end)
    if start is None and end is None and not options.keep_going:
        reader.check_damage()
    if end is None and options.frames is None and not options.keep_going and target != STDIO:
        _check_complete(reader.source)
    span = reader.read_span(start, end, options.frames, for_counting=for_counting)
    sequence = reader.source.images
    indices = sequence.indices_in(start, span.end, options.frames) if sequence else range(0)
    images = find_targets(reader.source, indices, target, options.frames)
    return Inspection(reader, target, container, span, images, models, engines[0], ffmpeg, budget, strength)


def _budget(engines: Sequence[EnginePlan], options: Options) -> MemoryBudget:
    """Return the memory limits of networks: those of a GPU only if it may compute one of them."""
    on_gpu = any(each.may_use_gpu for each in engines)
    return memory_budget(options.device if on_gpu else "cpu", options.max_memory)


def _check_complete(source: Source) -> None:
    """Raise InputError if the end of the file is missing, which decoding would show last of all."""
    if source.images is not None or source.is_live:
        return
    if truncation := find_truncation(source.path):
        raise InputError(
            f"{source.display_name} is truncated: {truncation}; get a complete copy, or use --keep-going "
            "to upscale what there is"
        )


def open_source(
    source: str | Path | StdinInput,
    fps: Fraction | None = None,
    target: Path | None = None,
    *,
    fps_required: bool = True,
    keep_going: bool = False,
) -> SourceReader:
    """Probe a video, an image sequence or stdin, and return the reader that fits.

    Args:
        source: path or pattern, or stdin.
        fps: frame rate of an image sequence.
        target: see :func:`~vsrcli.images.naming.match_files`.
        fps_required: whether ``fps`` with a video is an error; otherwise it is ignored.
        keep_going: see :func:`~vsrcli.images.sequence.probe_source`.

    Raises:
        InputError: see :func:`vsrcli.images.sequence.probe_source`.
        UsageError: ``fps`` with a video.
    """
    is_stdin = isinstance(source, StdinInput)
    reader = (
        source.open_reader() if is_stdin else open_reader(Path(source), fps, target, keep_going=keep_going)
    )
    if fps_required and fps is not None and reader.source.images is None:
        raise UsageError(
            f"--fps is for images: {reader.source.display_name} is a video, which has timestamps of its own"
        )
    return reader


def decide(found: Inspection, options: Options) -> Job:
    """Decide everything; read no file and run no ffmpeg, but ask it for what it can do.

    Raises:
        VsrError: the options contradict what was found.
    """
    source, span, ffmpeg = found.reader.source, found.span, found.ffmpeg
    video, images = source.video, source.images
    expected_frames = _expected_frames(source, span, options.frames)
    geometry = choose_geometry(
        video.width,
        video.height,
        video.sample_aspect_ratio,
        Fraction(1) if options.same_size else options.scale,
        options.size,
    )
    models = _select_models(found, geometry.factor, options)
    looks = [each.look for each in models if each.look]
    if SHARP in looks:
        models = dial_looks(models, options.strength)
    if found.images is not None:
        plan: OutputPlan = plan_images(
            source,
            found.images,
            geometry=geometry,
            options=options.encode,
            span=span,
            deinterlace=options.deinterlace,
            ffmpeg=ffmpeg,
        )
    else:
        assert found.container is not None
        plan = plan_output(
            source,
            found.target,
            found.container,
            width=geometry.width,
            height=geometry.height,
            sample_aspect_ratio=geometry.sample_aspect_ratio,
            options=options.encode,
            span=span,
            deinterlace=options.deinterlace,
            ffmpeg=ffmpeg,
        )
    if plan.alpha and not geometry.is_uncropped:
        remedy = "write .jpg or .bmp, which have none" if found.images else "drop it with --pix-fmt yuv420p"
        raise UsageError(f"{options.size}: transparency cannot be cropped; leave --fill out, or {remedy}")
    strength = found.strength or 1.0
    if strength < 1:
        _check_phase(models, geometry.factor, strength)
    keep_color = keeps_color(models, replace(options, strength=found.strength))
    reach = scale_notices(models, geometry.factor, chain=len(found.models) == 1)
    passes = choose_passes(
        models,
        workload_of(source, models[0], plan, found.engine),
        options.overlap,
        found.memory_budget,
        options.tile,
        geometry.visible_share,
        is_faithful=keep_color or strength < 1,
    )
    notices = [*(images.notices if images else ()), *plan.notices]
    if images and not found.images:
        notices[len(images.notices) : 0] = video_notices(images, plan)
    notices += [*reach, *tile_notices(passes)]
    if options.segment == "shots" and found.images is not None:
        if "segment" not in options.encode.optional:
            raise UsageError("--segment shots is for videos: give a number of images, or auto")
        notices.append("left out of your settings: --segment shots (it is for videos)")
        options = replace(options, segment="auto")
    segmented, reason = options.segment != "none", ""
    if options.segment == "shots":
        plan = replace(plan, video_options=with_fixed_threads(plan.codec, plan.video_options))
    if segmented and (plan.to_stdout or not source.is_stored):
        segmented = False
        if options.segment != "auto":
            reason = f"{'stdout cannot be written' if plan.to_stdout else 'stdin cannot be read'} twice"
    elif segmented and not found.images:
        reason = reason_not_segmentable(plan, video, plan.extra) or ""
        segmented = not reason
    if reason:
        written = "images are" if found.images else "video is"
        notices.append(f"{reason}: the {written} written in one go, and an interruption costs all of it")
    return Job(
        reader=found.reader,
        plan=replace(plan, notices=tuple(notices)),
        passes=passes,
        engine=found.engine if any(each.weights for each in models) else None,
        options=options,
        requested=options,
        end=span.end,
        ffmpeg=ffmpeg,
        expected_frames=expected_frames,
        segmented=segmented,
        unsegmented_reason=reason,
        memory_budget=found.memory_budget,
        geometry=geometry,
        keep_color=keep_color,
        strength=strength,
        look=describe_look(looks, options.strength),
    )


def verify(job: Job, found: Inspection) -> None:
    """Check that the target can be written, and encode a few frames as the job will.

    Raises:
        OutputError: it cannot, or ffmpeg refuses.
    """
    source, overwrite = job.source, job.plan.overwrite
    if found.images is not None:
        check_images(found.images, source, overwrite=overwrite)
        return
    check_target(found.target, overwrite=overwrite, inputs=source.input_files)
    trial_encode(job.plan, source, segmented=job.segmented, ffmpeg=job.ffmpeg)


def interpolation_strength(options: Options) -> float:
    """Return the share of the networks' picture beside Lanczos: ``strength``, unless one of them is sharp."""
    is_sharp = any(requested_look(each, options.look) == SHARP for each in options.models)
    return 1.0 if is_sharp else options.strength


def _select_models(found: Inspection, factor: Fraction, options: Options) -> tuple[ModelChoice, ...]:
    """Return the model of each pass.

    Raises:
        UsageError: the output has the source's size, and the models give another.
        ModelError: there are no sharp weights for the factor.
    """
    if not found.strength:
        return select_interpolation(factor, chain=options.chain)
    models = select_passes(found.models, factor, chain=options.chain)
    if factor == 1 and not options.same_size and any(each.scale > 1 for each in models):
        model = next(each for each in models if each.scale > 1)
        raise UsageError(
            f"--scale 1: {model.name} upscales by {model.scale}; give --same-size, which resamples its "
            "result to the source's size, or a model of x1 (see `vsr models`)"
        )
    return models


def _check_phase(models: Sequence[ModelChoice], factor: Fraction, strength: float) -> None:
    """Raise UsageError if the networks' results lie on a grid that Lanczos does not give at this factor."""
    shifted = next((each for each in models if each.phase != "centre"), None)
    if shifted and (len(models) > 1 or factor != shifted.scale):
        raise UsageError(
            f"--strength {strength:g}: {shifted.name} has a pixel grid of its own (phase {shifted.phase}), "
            f"on which Lanczos is blended at x{shifted.scale} alone: leave --strength out, or give --scale "
            f"{shifted.scale} and this model alone"
        )


def keeps_color(models: Sequence[ModelChoice], options: Options) -> bool:
    """Whether low frequencies of colour come from the source: as requested, else if a network is imported."""
    if not options.strength:
        return False
    if options.keep_color is not None:
        return options.keep_color
    imported = [each.weights for each in models if isinstance(each.weights, ImportedModel)]
    return any(each.description.kind != "functions" for each in imported)  # those are this program's exports


def _expected_frames(source: Source, span: Span, max_frames: int | None) -> int | None:
    """Return the expected number of frames, for progress: as stated, or from the span and the frame rate."""
    video, start, end = source.video, span.start, span.end
    if start is None and end is None and video.frame_count:
        return video.frame_count
    duration = video.duration or source.duration
    if video.frame_rate is None or duration is None:
        return max_frames
    end = duration if end is None else min(end, duration)
    expected = max(round((end - (start or 0)) * video.frame_rate), 1)
    return expected if max_frames is None else min(expected, max_frames)
