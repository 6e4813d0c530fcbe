"""The looks of a preview side by side: Lanczos, natural and sharp, where there are sharp weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vsrcli.errors import ModelError
from vsrcli.inference.looks import NATURAL, SHARP, offers_look, requested_look
from vsrcli.inference.selection import INTERPOLATION

if TYPE_CHECKING:
    from vsrcli.media.ffmpeg import Ffmpeg
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.options import Options

_MAX_WIDTH, _MAX_HEIGHT = 960, 1080  # of what is shown of each frame: three of them fit a screen of 4K


def looks_target(target: Path) -> Path:
    """Return the name of the comparison beside a preview."""
    return target.with_name(f"{target.stem}-looks{target.suffix}")


def other_looks(source: Path, folder: Path, options: Options, suffix: str) -> list[Job]:
    """Return the jobs that make a natural preview comparable: Lanczos and sharp; none if there is no choice.

    Args:
        source: of the preview.
        folder: for their outputs.
        options: of the preview. With a look or a strength in them, the choice is made.
        suffix: of the outputs.
    """
    from vsrcli.pipeline.preparation import prepare_job

    is_chosen = options.look is not None or options.strength < 1
    models = options.models
    if is_chosen or not all(requested_look(each) == NATURAL and offers_look(each, SHARP) for each in models):
        return []
    changes = {INTERPOLATION: {"model": INTERPOLATION}, SHARP: {"look": SHARP}}
    try:
        return [
            prepare_job(source, folder / f"{name}{suffix}", replace(options, **change))
            for name, change in changes.items()
        ]
    except ModelError:  # no sharp weights for this scale
        return []


def write_looks(
    lanczos: Path,
    natural: Path,
    sharp: Path,
    target: Path,
    *,
    on_frame: Callable[[int], None],
    overwrite: bool,
    ffmpeg: Ffmpeg,
) -> None:
    """Write three previews side by side, with labels; of large frames the middle.

    Args:
        lanczos, natural, sharp: the previews, of one size.
        target: video to write.
        on_frame: called with the number of frames after each.
        overwrite: replace ``target``.
        ffmpeg: encodes the video.

    Raises:
        VsrError: a preview cannot be read, or the video cannot be written.
    """
    from vsrcli.compare.canvas import Layout
    from vsrcli.compare.inputs import plan_comparison
    from vsrcli.compare.writers import plan_video, write_video
    from vsrcli.evaluate.crops import DetailCrop
    from vsrcli.media.output_plan import EncodeOptions

    comparison = plan_comparison([lanczos, natural, sharp], labels=["Lanczos", NATURAL, SHARP])
    width, height = min(comparison.width, _MAX_WIDTH), min(comparison.height, _MAX_HEIGHT)
    crop = DetailCrop((comparison.width - width) // 2, (comparison.height - height) // 2, width, height)
    layout = Layout("side", comparison.width, comparison.height, 3, crop)
    plan = plan_video(comparison, target, layout, EncodeOptions(overwrite=overwrite), ffmpeg=ffmpeg)
    write_video(comparison, plan, layout, on_progress=on_frame, ffmpeg=ffmpeg)
