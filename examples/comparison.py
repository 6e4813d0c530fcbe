"""Write the image of the README: one crop of a video, upscaled by several methods, and the truth.

    python examples/comparison.py LOW TRUTH OUT.png [-m natural=duf-r -m sharp=duf-r-sharp] [--crf 23]
        [--frame 60] [--crop LEFT,TOP,WIDTH,HEIGHT]

LOW and TRUTH are videos of the same frames; TRUTH is larger by an integer factor. With ``--crf``, LOW is
compressed once more, with H.264. Pixels are repeated where the crop is enlarged.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from vsrcli.degradations.compression import recompress
from vsrcli.errors import VsrError
from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import read_frames
from vsrcli.evaluate.crops import DetailCrop, comparison_strip, most_detailed_crop, save_image
from vsrcli.evaluate.metrics import psnr_y
from vsrcli.evaluate.models import resolve_model

CONTEXT_FRAMES = 12  # frames before and after the shown one that the models may use


def write_comparison(
    low_path: Path,
    truth_path: Path,
    out: Path,
    *,
    models: Mapping[str, str],
    frame: int,
    crf: int | None,
    crop: DetailCrop | None,
    enlargement: int,
) -> str:
    """Write the image; return its description in one line.

    Args:
        low_path, truth_path: videos.
        out: the image.
        models: by the labels of their panels.
        frame: which one is shown.
        crf: of H.264, through which low resolution goes first; None: as it is.
        crop: in pixels of the truth; None: where there is most detail.
        enlargement: whole factor by which pixels are repeated.
    """
    truths, lows = read_frames(truth_path, frame + 1), read_frames(low_path, frame + CONTEXT_FRAMES + 1)
    if min(len(truths), len(lows)) <= frame:
        raise SystemExit(f"no frame {frame}: {truth_path} and {low_path} end before it")
    if crf is not None:
        lows = recompress(lows, crf=crf)
    first = max(frame - CONTEXT_FRAMES, 0)
    truth, low = truths[frame], lows[first:]
    scale = truth.shape[0] // low.shape[1]
    if low.shape[1] * scale != truth.shape[0] or low.shape[2] * scale != truth.shape[1]:
        raise SystemExit(f"{truth_path} is not larger than {low_path} by an integer factor")
    panels = [("source" if crf is None else f"source, crf {crf}", low[frame - first])]
    for label, name in {"Lanczos": "lanczos", **models}.items():
        engine = resolve_model(name, None if name.endswith(".h5") else scale, "bi").open()
        image = list(upscale_frames(engine, low))[frame - first]
        panels.append((f"{label}  {psnr_y(image, truth):.2f} dB", image))
    crop = crop or most_detailed_crop(truth, 160, 160)
    save_image(out, comparison_strip([*panels, ("truth", truth)], crop, enlargement))
    place = f"{crop.width}x{crop.height} at {crop.left},{crop.top}"
    return f"{out}: frame {frame}, {place}, {', '.join(models.values())}"


def labelled_model(text: str) -> tuple[str, str]:
    """Return label and model of ``LABEL=MODEL``; without a label, the model is its own."""
    label, found, model = text.partition("=")
    return (label, model) if found else (text, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show one crop, upscaled by several methods, and the truth.")
    parser.add_argument("low", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "-m",
        "--model",
        type=labelled_model,
        action="append",
        metavar="[LABEL=]MODEL",
        help="name or weight file; repeatable",
    )
    parser.add_argument("--crf", type=int, help="compress LOW with H.264 first")
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
            models=dict(options.model or [("natural", "duf-r"), ("sharp", "duf-r-sharp")]),
            frame=options.frame,
            crf=options.crf,
            crop=crop,
            enlargement=options.enlarge,
        )
    except VsrError as error:
        raise SystemExit(str(error)) from error
    print(description)


if __name__ == "__main__":
    main()
