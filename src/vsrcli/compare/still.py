"""One moment as a picture file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from PIL import Image

from vsrcli.compare.alignment import aligned_at
from vsrcli.compare.figures import CROP, SMALLEST
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.layout import Layout
from vsrcli.compare.target import atomic_output
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y
from vsrcli.media.ffmpeg import Ffmpeg


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
