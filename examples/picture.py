"""The README's picture: one crop of a low-resolution film, upscaled in several ways, beside the truth.

    python examples/picture.py LOW TRUTH OUT.png [--model duf-r-s] [--frame 60] [--crop LEFT,TOP,WIDTH,HEIGHT]

LOW and TRUTH are films of the same frames; TRUTH is larger by a whole factor. Pixels are shown as they are:
the crop is enlarged by repeating them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vsrcli.errors import VsrError
from vsrcli.evaluate.benchmark import Still, run
from vsrcli.evaluate.clips import read_frames
from vsrcli.evaluate.crops import Crop, comparison, detailed_crop, save_picture, still_panels
from vsrcli.evaluate.models import enter

BEFORE = AFTER = 12  # frames around the shown one that the model may look at


def draw(
    low_path: Path, truth_path: Path, out: Path, *, model: str, frame: int, crop: Crop | None, enlarge: int
) -> str:
    """Draw the picture; return one line about what is on it."""
    truths, lows = read_frames(truth_path, frame + 1), read_frames(low_path, frame + AFTER + 1)
    if min(len(truths), len(lows)) <= frame:
        raise SystemExit(f"no frame {frame}: {truth_path} and {low_path} end before it")
    first = max(frame - BEFORE, 0)
    truth, low = truths[frame], lows[first:]
    scale = truth.shape[0] // low.shape[1]
    if low.shape[1] * scale != truth.shape[0] or low.shape[2] * scale != truth.shape[1]:
        raise SystemExit(f"{truth_path} is not larger than {low_path} by a whole factor")

    def middle(name: str):
        return list(run(enter(name, None if name.endswith(".h5") else scale, "bi").open(), low))[
            frame - first
        ]

    still = Still(frame, low[frame - first], middle("bicubic"), middle("lanczos"), middle(model), truth)
    crop = crop or detailed_crop(truth, 160, 160)
    save_picture(out, comparison(still_panels(still, "vsr", low=True), crop, enlarge))
    return f"{out}: frame {frame}, {crop.width}x{crop.height} at {crop.left},{crop.top}, {model}"


def main() -> None:
    parser = argparse.ArgumentParser(description="One crop, upscaled in several ways, beside the truth.")
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
    crop = Crop(*(int(part) for part in options.crop.split(","))) if options.crop else None
    rest = {"model": options.model, "frame": options.frame, "crop": crop, "enlarge": options.enlarge}
    try:
        print(draw(options.low, options.truth, options.out, **rest))
    except VsrError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
