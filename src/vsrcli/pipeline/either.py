"""At either end there is a film or there are pictures; everything between them is the same."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import UsageError
from vsrcli.frames.geometry import Geometry
from vsrcli.images.naming import OutputNaming, is_image_target, resolve_naming
from vsrcli.images.plan import plan_images
from vsrcli.images.probe import image_sequence_source, video_notices
from vsrcli.images.reader import frame_range
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import check_output_path
from vsrcli.media.preferences import Preferences, as_preferred, asked_for, plan_preferred
from vsrcli.media.stdin import StdinInput, StdinSource, display_name
from vsrcli.media.types import ImageSequence, Source
from vsrcli.media.y4m import STDIO


def open_source(
    given: str | Path | StdinInput, target: Path, encode: EncodeOptions, fps: Fraction | None, ffmpeg: Ffmpeg
) -> Source:
    """The film or the pictures that are to be upscaled.

    Args:
        given: a name, or stdin.
        target: where it goes, which is looked at before all of stdin is read.
        encode: what the user asked for, or prefers.
        fps: pictures a second; of a film an error, unless it is merely preferred.
        ffmpeg: the executable.

    Raises:
        InputError: see :func:`vsrcli.images.probe.image_sequence_source`.
        OutputError: the target of a film from stdin cannot be written.
        UsageError: ``fps`` of a film.
    """
    if isinstance(given, StdinInput):
        if not is_image_target(target):
            # before a long film has come through for nothing
            as_preferred(encode, lambda options: check_output_path(target, options, ffmpeg))
        film: Source = given.probe()
    else:
        film = image_sequence_source(Path(given), fps)
    preferred = isinstance(encode, Preferences) and encode.fps
    if fps is not None and not preferred and not isinstance(film, ImageSequence):
        raise UsageError(f"--fps is for pictures: {display_name(film)} is a film, which has times of its own")
    return film


def plan_any_output(
    film: Source,
    target: Path,
    *,
    geometry: Geometry,
    encode: EncodeOptions,
    span: tuple[Fraction | None, Fraction | None],
    frames: int | None,
    deinterlace: bool,
    ffmpeg: Ffmpeg,
) -> OutputPlan:
    """Decide how a film or pictures are written, and say what people should know of pictures that come in.

    Args:
        film: what is upscaled.
        target: as typed, see :func:`~vsrcli.images.naming.parse_target`.
        geometry: the new size.
        encode: what the user asked for, or prefers.
        span, deinterlace, ffmpeg: as of :func:`~vsrcli.media.planning.plan_output`.
        frames: at most so many.

    Raises:
        OutputError, UsageError: see ``plan_output`` and :func:`~vsrcli.images.plan.plan_images`.
    """
    found = _targets(film, target, span, frames)
    told = list(film.notices) if isinstance(film, ImageSequence) else []
    if found is not None:
        plan: OutputPlan = plan_images(
            film,
            found,
            width=geometry.width,
            height=geometry.height,
            shape=geometry.sample_aspect_ratio,
            seen=geometry.shares,
            options=asked_for(encode),
            span=span,
            frames=frames,
            deinterlace=deinterlace,
            ffmpeg=ffmpeg,
        )
    else:
        plan = plan_preferred(
            film,
            target,
            width=geometry.width,
            height=geometry.height,
            shape=geometry.sample_aspect_ratio,
            options=encode,
            span=span,
            deinterlace=deinterlace,
            trial=False,
            ffmpeg=ffmpeg,
        )
        if isinstance(film, ImageSequence):
            told += video_notices(film, plan)
    return replace(plan, notices=(*told, *plan.notices))


def _targets(
    film: Source, target: Path, span: tuple[Fraction | None, Fraction | None], frames: int | None
) -> OutputNaming | None:
    if target == STDIO:
        return None
    if isinstance(film, ImageSequence):
        many = len(frame_range(film, *span, frames)) != 1
        return resolve_naming(target, film.files[0], pictures=True, single=film.single, many=many)
    name = Path("stdin.mp4") if isinstance(film, StdinSource) else film.path
    return resolve_naming(target, name, pictures=False, single=False, many=frames != 1)
