"""Write one image with a row for each video: a crop as it is, by Lanczos, and by models.

    python examples/strips.py OUT.jpg VIDEO@FRAME:LEFT,TOP,WIDTH,HEIGHT [VIDEO@...] [--scale 4]
        [-m natural=duf-r -m sharp=duf-r-sharp] [--width 320]

Crops are in pixels of the video, and of one shape. There is no truth, as with people's own videos: look.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from comparison import CONTEXT_FRAMES, labelled_model

from vsrcli.errors import VsrError
from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import read_frames
from vsrcli.evaluate.crops import DetailCrop, comparison_strip, enlarge, save_image
from vsrcli.evaluate.models import resolve_model

MARGIN = 48  # pixels around the crop that are upscaled with it
PLACE = re.compile(r"(?P<path>.+)@(?P<frame>\d+):(?P<crop>\d+,\d+,\d+,\d+)")


@dataclass(frozen=True)
class Place:
    """A crop of one frame of a video, in its pixels."""

    path: Path
    frame: int
    crop: DetailCrop


def place(text: str) -> Place:
    """Return what ``VIDEO@FRAME:LEFT,TOP,WIDTH,HEIGHT`` names."""
    found = PLACE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no VIDEO@FRAME:LEFT,TOP,WIDTH,HEIGHT")
    crop = DetailCrop(*(int(part) for part in found["crop"].split(",")))
    return Place(Path(found["path"]), int(found["frame"]), crop)


def strip(place: Place, models: Mapping[str, str], scale: int, width: int) -> np.ndarray:
    """Return the row of a video, uint8 (rows, columns, 3).

    Args:
        place: what is shown.
        models: by the labels of their panels.
        scale: that it is enlarged by.
        width: of a panel, at least; pixels are repeated for it.
    """
    lows = read_frames(place.path, place.frame + CONTEXT_FRAMES + 1)
    if len(lows) <= place.frame:
        raise SystemExit(f"no frame {place.frame}: {place.path} ends before it")
    first = max(place.frame - CONTEXT_FRAMES, 0)
    crop, index = place.crop, place.frame - first
    top, left = max(crop.top - MARGIN, 0), max(crop.left - MARGIN, 0)
    crop.extract(lows[0])  # inside the frame
    low = lows[first:, top : crop.top + crop.height + MARGIN, left : crop.left + crop.width + MARGIN]
    panels = [("source", enlarge(low[index], scale))]
    for label, name in {"Lanczos": "lanczos", **models}.items():
        engine = resolve_model(name, None if name.endswith(".h5") else scale, "bi").open()
        panels.append((label, list(upscale_frames(engine, low))[index]))
    shown = (crop.left - left, crop.top - top, crop.width, crop.height)
    return comparison_strip(
        panels, DetailCrop(*(scale * part for part in shown)), -(-width // (scale * crop.width))
    )


def write_strips(
    out: Path, places: Sequence[Place], models: Mapping[str, str], scale: int, width: int
) -> None:
    """Write the rows, one below the other."""
    rows = [strip(each, models, scale, width) for each in places]
    if len({row.shape for row in rows}) > 1:
        raise SystemExit("all crops must have the same size: they stand one below the other")
    save_image(out, np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="Show crops of videos, upscaled by several methods.")
    parser.add_argument("out", type=Path)
    parser.add_argument("places", type=place, nargs="+", metavar="VIDEO@FRAME:LEFT,TOP,WIDTH,HEIGHT")
    parser.add_argument(
        "-m", "--model", type=labelled_model, action="append", metavar="[LABEL=]MODEL", help="repeatable"
    )
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--width", type=int, default=320, help="of a panel")
    options = parser.parse_args()
    models = dict(options.model or [("natural", "duf-r"), ("sharp", "duf-r-sharp")])
    try:
        write_strips(options.out, options.places, models, options.scale, options.width)
    except VsrError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
