"""The comparison as a film: the first film's times and sound, all films' pictures.

One moment as a picture file.

Where the comparison is written: never over something, never half.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from PIL import Image

from vsrcli.compare.alignment import AlignedFrames, aligned_at, iter_aligned
from vsrcli.compare.canvas import Layout
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.scoring import CROP, SMALLEST, Scorer, ScoreSeries
from vsrcli.errors import OutputError
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.preferences import plan_with_preferences
from vsrcli.media.types import Frame
from vsrcli.system.files import publish_file, resolve_target, temporary_name


def plan_video(
    line: Comparison, target: Path, layout: Layout, options: EncodeOptions, *, ffmpeg: Ffmpeg
) -> OutputPlan:
    """Decide how the film is written.

    Raises:
        OutputError: see :func:`~vsrcli.media.planning.plan_output`.
    """
    first = line.films[0]
    width, height = layout.size
    source = first.source
    start = end = None  # sound before the first picture, or after the last one, stays
    if line.start > 0 or first.zero > source.video.start:
        start = first.zero + line.start - source.start
    if line.end is not None and not line.is_full_length:
        end = first.zero + line.end - source.start
    if source.video.has_alpha:
        source = replace(source, video=replace(source.video, has_alpha=False))
    return plan_with_preferences(
        source,
        target,
        width=width,
        height=height,
        sample_aspect_ratio=line.shape,
        options=options,
        span=(start, end),
        ffmpeg=ffmpeg,
    )


def write_video(
    line: Comparison,
    plan: OutputPlan,
    layout: Layout,
    *,
    vmaf: bool = False,
    on_moment: Callable[[int], None] = lambda count: None,
    on_notice: Callable[[str], None] = lambda text: None,
    ffmpeg: Ffmpeg,
) -> tuple[int, ScoreSeries | None]:
    """Write it; with a reference, labels tell each film's PSNR-Y at every moment.

    Args:
        line: what is compared.
        plan: from :func:`plan_film`.
        layout: for the films, or for them and the reference.
        vmaf: whether VMAF is measured, too, where there is a reference.
        on_moment: told after every frame how many there are.
        on_notice: told what was passed over.
        ffmpeg: the executable to run.

    Returns:
        The number of frames, and the figures if there is a reference.

    Raises:
        DecodeError: a film is damaged.
        EncodeError: the encoder stopped; there is no file then.
    """
    source, count = line.films[0].source, 0
    titles = [film.title for film in line.films]
    scorer: Scorer | None = None
    with ExitStack() as stack:
        if line.reference is not None:
            scorer = stack.enter_context(Scorer(line, vmaf=vmaf, on_notice=on_notice, ffmpeg=ffmpeg))
            titles.append(f"reference: {line.reference.title}")
        encoder = stack.enter_context(VideoEncoder(plan, source, ffmpeg=ffmpeg))
        deep = source.video.is_high_bit_depth and scorer is None
        for moment in iter_aligned(line, deep=deep, ffmpeg=ffmpeg):
            labels = list(titles)
            if scorer is not None:
                for number, (psnr, _) in enumerate(scorer.add(moment)):
                    labels[number] = f"{titles[number]} · {psnr:.2f} dB"
            pixels = layout.compose(
                moment.pictures[: layout.count], labels[: layout.count], moment.time - line.start
            )
            encoder.write(_frame(moment, pixels))
            count += 1
            on_moment(count)
        figures = None if scorer is None else scorer.finish()
    for warning in encoder.warnings:
        on_notice(warning)
    return count, figures


def _frame(moment: AlignedFrames, pixels: object) -> Frame:
    """The first film's frame with other pixels."""
    return replace(moment.frame, pixels=pixels, alpha=None)


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Whether the file may be written, before anything is decoded.

    Raises:
        OutputError: it exists, is one of the films, is a folder, or lies where nothing can be written.
    """
    try:
        folder = resolve_target(target).parent
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target} is no regular file, so it cannot be replaced by one; choose another")
        if target.exists() and any(target.samefile(source) for source in sources if source.exists()):
            raise OutputError(f"{target} is one of the films; choose another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"{target} exists; use --overwrite to replace it")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
    except OSError as error:
        raise OutputError(f"{target} cannot be used as a name ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to; choose another folder or change its access rights")


@contextlib.contextmanager
def atomic_output(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name to write to; after the block the file has its own, and if the block fails there is none.

    Raises:
        OutputError: it cannot be written, or the target has come into being meanwhile.
    """
    part = temporary_name(target)
    try:
        try:
            yield part
        except OSError as error:
            raise OutputError(
                f"{target} cannot be written ({error.strerror or error}); free some space or choose another"
            ) from error
        publish_file(part, target, overwrite=overwrite)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_image(
    line: Comparison, target: Path, layout: Layout, at: Fraction, *, overwrite: bool = False, ffmpeg: Ffmpeg
) -> None:
    """Show one moment; with a reference, labels tell each film's PSNR-Y there.

    Args:
        line: what is compared.
        target: a ``.png``.
        layout: for ``len(line.all)`` pictures, or for the films alone.
        at: the moment.
        overwrite: whether an existing target may be replaced.
        ffmpeg: the executable that decodes.

    Raises:
        InputError: nothing is shown then.
        OutputError: the target cannot be written.
    """
    moment = next(aligned_at(line, [at], ffmpeg=ffmpeg))
    titles = [film.title for film in line.all]
    if line.reference is not None and min(line.width, line.height) >= SMALLEST:
        *films, truth = moment.pictures
        scores = [min(psnr_y(film, truth, CROP), PSNR_CAP) for film in films]
        titles = [
            *(f"{title} · {score:.2f} dB" for title, score in zip(titles, scores, strict=False)),
            f"reference: {titles[-1]}",
        ]
    canvas = layout.compose(moment.pictures[: layout.count], titles[: layout.count], Fraction(0))
    with atomic_output(target, overwrite=overwrite) as part:
        Image.fromarray(canvas).save(part, format="PNG", optimize=True)
