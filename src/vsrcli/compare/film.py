"""The comparison as a film: the first film's times and sound, all films' pictures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from vsrcli.compare.alignment import AlignedFrames, iter_aligned
from vsrcli.compare.figures import Scorer, ScoreSeries
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.layout import Layout
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.preferences import plan_preferred
from vsrcli.media.types import Frame


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
    return plan_preferred(
        source,
        target,
        width=width,
        height=height,
        shape=line.shape,
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
