"""Quality and time of models on compressed clips: ``benchmarks/models.py CLIPS -m NAME -m NAME``

Each clip is shrunk by four (centred bicubic) and compressed with H.264. A model enlarges it as
``vsr upscale`` does, and the result is compared with the original: PSNR-Y, VMAF v1 (Netflix, 2026), how
faithful changes from frame to frame are, and microseconds for a source pixel. Interpolation is measured
likewise. ``--image`` writes what each model makes of one clip, enlarged twice.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from common import Table, machine

from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import find_clips
from vsrcli.evaluate.crops import comparison_strip, most_detailed_crop, save_image
from vsrcli.evaluate.ffmpeg_metrics import FfmpegScorer
from vsrcli.evaluate.metrics import ClipScorer
from vsrcli.evaluate.models import EvaluatedModel, resolve_models
from vsrcli.evaluate.protocol import Clip, Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS
from vsrcli.media.ffmpeg import find_ffmpeg

SCALE = 4
INTERPOLATIONS = ["bicubic", "lanczos"]
VMAF = "vmaf_v1"


@dataclass
class Scores:
    """Of one model: a value for each clip, and seconds and source pixels of all timed frames."""

    psnr: list[float] = field(default_factory=list)
    steady: list[float] = field(default_factory=list)
    vmaf: list[float] = field(default_factory=list)
    seconds: float = 0.0
    pixels: int = 0

    def add(self, model: EvaluatedModel, clip: Clip) -> np.ndarray:
        """Score one clip; return the middle frame."""
        engine, seconds, scorer = model.open(device="cpu"), [], ClipScorer(CROP)
        height, width = clip.truth.shape[1:3]
        outputs = upscale_frames(engine, clip.low, model.choice.architecture, seconds)
        with FfmpegScorer(width, height, Fraction(25), [VMAF], ffmpeg=find_ffmpeg()) as vmaf:
            for index, (output, truth) in enumerate(zip(outputs, clip.truth, strict=True)):
                scorer.add(output, truth)
                vmaf.write(output, truth)
                if index == len(clip.truth) // 2:
                    middle = output
            self.vmaf.append(float(np.mean(vmaf.finish()[VMAF])))
        scored = slice(SKIP_ENDS, -SKIP_ENDS)
        self.psnr.append(float(np.mean(scorer.psnr[scored])))
        self.steady.append(float(np.mean(scorer.steady[scored])))
        self.seconds += sum(seconds)
        self.pixels += len(seconds) * clip.low[0, :, :, 0].size
        del engine, outputs
        gc.collect()  # networks hold reference cycles
        return middle


def title(model: EvaluatedModel) -> str:
    return model.name if model.choice.weights else model.choice.architecture.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("-m", "--model", action="append", dest="models", required=True)
    parser.add_argument("--crf", type=int, default=23, help="of H.264; -1: not compressed")
    parser.add_argument("--frames", type=int, default=8, help="of each clip, 6 or more")
    parser.add_argument("--image", type=Path, help="write a strip of crops")
    parser.add_argument("--image-clip", default="", help="the clip to show, by file name")
    parser.add_argument("--panel", type=int, default=112, help="side of a crop, in pixels")
    options = parser.parse_args()

    protocol = Protocol("bi", SCALE, None if options.crf < 0 else options.crf)
    files = find_clips(options.clips)
    models = resolve_models([*INTERPOLATIONS, *options.models], SCALE, "bi")
    scores = {model.name: Scores() for model in models}
    panels: list[tuple[str, np.ndarray]] = []
    shown = options.image_clip or files[0].name
    for file in files:
        clip = prepare_clip(file, protocol, options.frames)
        for model in models:
            middle = scores[model.name].add(model, clip)
            if file.name == shown:
                panels.append((title(model), middle))
        if file.name == shown:
            panels.append(("original", clip.truth[len(clip.truth) // 2]))
        print(f"{file.name} done", flush=True)

    print(f"\n{machine()}")
    print(f"{len(files)} clips, {options.frames} frames each; {protocol.summary}\n")
    table = Table(["model", "MAC/pixel", "PSNR-Y dB", "VMAF v1", "steady dB", "us a pixel"], markdown=True)
    for model in models:
        found, work = scores[model.name], model.choice.architecture.multiply_adds(SCALE)
        table.row(
            f"`{title(model)}`",
            f"{work / 1e6:.2f} M" if work else "-",
            f"{np.mean(found.psnr):.2f}",
            f"{np.mean(found.vmaf):.1f}",
            f"{np.mean(found.steady):.2f}",
            f"{1e6 * found.seconds / found.pixels:.1f}",
        )
    table.print()
    if options.image:
        crop = most_detailed_crop(panels[-1][1], options.panel, options.panel)
        half = (len(panels) + 1) // 2
        rows = [comparison_strip(row, crop, 2) for row in (panels[:half], panels[half:])]
        width = max(row.shape[1] for row in rows)
        background = rows[0][0, 0]
        padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), mode="edge") for row in rows]
        for row, whole in zip(rows, padded, strict=True):
            whole[:, row.shape[1] :] = background
        save_image(options.image, np.concatenate(padded))


if __name__ == "__main__":
    main()
