"""Write a comparison as a video or an image, atomically.

A video has the times and audio of the first compared video, and the frames of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO

from PIL import Image

from vsrcli.compare.alignment import aligned_at, iter_aligned
from vsrcli.compare.canvas import Layout
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.scoring import BORDER, MIN_SIDE, Scorer, ScoreSeries
from vsrcli.errors import OutputError
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y
from vsrcli.media.containers import choose_container
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.source_reader import VideoReader
from vsrcli.media.trial import trial_encode
from vsrcli.system.files import atomic_write, resolve_target


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Raise if the target may not or cannot be written; call before anything is decoded.

    Raises:
        OutputError: the target exists, is one of the videos or a folder, or its folder is not writable.
    """
    try:
        folder = resolve_target(target).parent
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target} is no regular file, so it cannot be replaced by one; choose another")
        if target.exists() and any(target.samefile(source) for source in sources if source.exists()):
            raise OutputError(f"{target} is one of the videos; choose another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"{target} exists; use --overwrite to replace it")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
    except OSError as error:
        raise OutputError(f"{target} cannot be used as a name ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to; choose another folder or change its access rights")


def plan_video(
    comparison: Comparison, target: Path, layout: Layout, options: EncodeOptions, *, ffmpeg: Ffmpeg
) -> OutputPlan:
    """Plan the output video of a comparison.

    Raises:
        OutputError: see :func:`~vsrcli.media.planning.plan_output`.
    """
    first = comparison.videos[0]
    width, height = layout.canvas_size
    source = first.source
    start = end = None  # audio before the first frame, or after the last one, stays
    if comparison.start > 0 or first.origin > source.video.start:
        start = first.origin + comparison.start - source.start
    if comparison.end is not None and not comparison.is_full_length:
        end = first.origin + comparison.end - source.start
    if source.video.has_alpha:
        source = replace(source, video=replace(source.video, has_alpha=False))
    plan = plan_output(
        source,
        target,
        choose_container(target, options.format, ffmpeg),
        width=width,
        height=height,
        sample_aspect_ratio=comparison.sample_aspect_ratio,
        options=options,
        span=VideoReader(source).read_span(start, end),
        ffmpeg=ffmpeg,
    )
    trial_encode(plan, source, ffmpeg=ffmpeg)
    return plan


def write_video(
    comparison: Comparison,
    plan: OutputPlan,
    layout: Layout,
    *,
    vmaf: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
    on_notice: Callable[[str], None] = lambda text: None,
    ffmpeg: Ffmpeg,
) -> tuple[int, ScoreSeries | None]:
    """Write the video of a comparison; with a reference, labels show the PSNR-Y of every frame.

    Args:
        plan: from :func:`plan_video`.
        layout: of the videos, or of videos and reference.
        vmaf: measure VMAF, too, if there is a reference.
        on_progress: called with the number of frames after each.
        on_notice: called with warnings and messages about what was left out.

    Returns:
        The number of frames, and the scores if there is a reference.

    Raises:
        DecodeError: a video is damaged.
        EncodeError: the encoder stopped; no file is left.
    """
    source, count = comparison.videos[0].source, 0
    scorer: Scorer | None = None
    with ExitStack() as stack:
        if comparison.reference is not None:
            scorer = stack.enter_context(Scorer(comparison, vmaf=vmaf, on_notice=on_notice, ffmpeg=ffmpeg))
        encoder = stack.enter_context(VideoEncoder(plan, source, ffmpeg=ffmpeg))
        high_bit_depth = source.video.is_high_bit_depth and scorer is None
        for aligned in iter_aligned(comparison, high_bit_depth=high_bit_depth, ffmpeg=ffmpeg):
            scored = () if scorer is None else scorer.add(aligned)
            labels = _labels(comparison, [psnr for psnr, _ in scored])[: layout.count]
            time = aligned.time - comparison.start
            pixels = layout.compose(aligned.images[: layout.count], labels, time)
            encoder.write(replace(aligned.frame, pixels=pixels, alpha=None))
            count += 1
            on_progress(count)
        scores = None if scorer is None else scorer.finish()
    for warning in encoder.warnings:
        on_notice(warning)
    return count, scores


def write_image(
    comparison: Comparison,
    target: Path,
    layout: Layout,
    time: Fraction,
    *,
    overwrite: bool = False,
    ffmpeg: Ffmpeg,
) -> None:
    """Write the frames at one time as an image; with a reference, labels show their PSNR-Y.

    Args:
        target: a ``.png`` file.
        layout: of the videos, or of videos and reference.
        time: seconds since the first frames.
        overwrite: whether an existing target may be replaced.

    Raises:
        InputError: a video has no frame at that time.
        OutputError: the target cannot be written.
    """
    aligned = next(aligned_at(comparison, [time], ffmpeg=ffmpeg))
    labels = [video.title for video in comparison.all_videos]
    if comparison.reference is not None and min(comparison.width, comparison.height) >= MIN_SIDE:
        *images, truth = aligned.images
        labels = _labels(comparison, [min(psnr_y(image, truth, BORDER), PSNR_CAP) for image in images])
    image = Image.fromarray(layout.compose(aligned.images[: layout.count], labels[: layout.count]))
    write_target(target, lambda file: image.save(file, format="PNG", optimize=True), overwrite=overwrite)


def write_target(target: Path, write: Callable[[IO[bytes]], object], *, overwrite: bool) -> None:
    """Write a file atomically.

    Raises:
        OutputError: the file cannot be written, or the target was created meanwhile.
    """
    try:
        atomic_write(target, write, overwrite=overwrite)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({error.strerror or error}); free some space or choose another"
        ) from error


def _labels(comparison: Comparison, psnrs: Sequence[float]) -> list[str]:
    """Return the videos' titles with their PSNR-Y, if there is any, and the reference's."""
    titles = [video.title for video in comparison.videos]
    for number, psnr in enumerate(psnrs):
        titles[number] += f" · {psnr:.2f} dB"
    return titles if comparison.reference is None else [*titles, f"reference: {comparison.reference.title}"]
