"""Write the image of the README: one crop of a video, upscaled by several methods, and the truth.

    python examples/comparison.py LOW TRUTH OUT.png [-m duf-r-s] [--frame 60] [--crop LEFT,TOP,WIDTH,HEIGHT]

LOW and TRUTH are videos of the same frames; TRUTH is larger by an integer factor. Pixels are repeated where
the crop is enlarged.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vsrcli.errors import VsrError
from vsrcli.evaluate.benchmark import StillFrames, upscale_frames
from vsrcli.evaluate.clips import read_frames
from vsrcli.evaluate.crops import (
    DetailCrop,
    comparison_panels,
    comparison_strip,
    most_detailed_crop,
    save_image,
)
from vsrcli.evaluate.models import resolve_model

CONTEXT_FRAMES = 12  # frames before and after the shown one that the model may use


def write_comparison(
    low_path: Path,
    truth_path: Path,
    out: Path,
    *,
    model: str,
    frame: int,
    crop: DetailCrop | None,
    enlargement: int,
) -> str:
    """Write the image; return its description in one line."""
    truths, lows = read_frames(truth_path, frame + 1), read_frames(low_path, frame + CONTEXT_FRAMES + 1)
    if min(len(truths), len(lows)) <= frame:
        raise SystemExit(f"no frame {frame}: {truth_path} and {low_path} end before it")
    first = max(frame - CONTEXT_FRAMES, 0)
    truth, low = truths[frame], lows[first:]
    scale = truth.shape[0] // low.shape[1]
    if low.shape[1] * scale != truth.shape[0] or low.shape[2] * scale != truth.shape[1]:
        raise SystemExit(f"{truth_path} is not larger than {low_path} by an integer factor")

    def upscale(name: str) -> np.ndarray:
        engine = resolve_model(name, None if name.endswith(".h5") else scale, "bi").open()
        return list(upscale_frames(engine, low))[frame - first]

    frames = StillFrames(
        frame, low[frame - first], upscale("bicubic"), upscale("lanczos"), upscale(model), truth
    )
    crop = crop or most_detailed_crop(truth, 160, 160)
    panels = comparison_panels(frames, "vsr", with_low_resolution=True)
    save_image(out, comparison_strip(panels, crop, enlargement))
    return f"{out}: frame {frame}, {crop.width}x{crop.height} at {crop.left},{crop.top}, {model}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Show one crop, upscaled by several methods, and the truth.")
    parser.add_argument("low", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("-m", "--model", default="duf-r-s", help="name or weight file")
    parser.add_argument("--frame", type=int, default=60)
    parser.add_argument(
        "--crop", metavar="LEFT,TOP,WIDTH,HEIGHT", help="in pixels of TRUTH; default: most detail"
    )
    parser.add_argument("--enlarge", type=int, default=2)
    options = parser.parse_args()
    crop = DetailCrop(*(int(part) for part in options.crop.split(","))) if options.crop else None
    try:
        description = write_comparison(
            options.low,
            options.truth,
            options.out,
            model=options.model,
            frame=options.frame,
            crop=crop,
            enlargement=options.enlarge,
        )
    except VsrError as error:
        raise SystemExit(str(error)) from error
    print(description)


if __name__ == "__main__":
    main()
