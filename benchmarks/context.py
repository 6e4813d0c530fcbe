"""Measure what a network sees beyond a crop: the same pixels in the middle, from crops and from whole frames.

    python benchmarks/context.py CLIPS [--model duf-r] [--frames 16] [--crops 32,48] [--places 6]

A network that is trained on crops never sees what lies outside. If it learnt to use more than a crop shows,
whole frames would be better in the middle of a crop than the crop alone; if the crops' borders had taught it
something wrong, they would be worse. The difference is in dB of PSNR over the inner 8x8 low-resolution pixels
of random crops, clean and at crf 23, by the degradation of ``vsr evaluate``.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
from common import Table
from flips import label

from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import find_clips
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.inference.selection import choose_models, open_engine

INNER = 8  # low-resolution pixels


def psnr(outputs: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((outputs / 255 - truth / 255.0) ** 2) + 1e-10))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="duf-r")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--crops", default="32,48", help="sides, in low-resolution pixels")
    parser.add_argument("--places", type=int, default=6, help="crops of each clip")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    engine = open_engine(choose_models(options.model, Fraction(options.scale))[0])
    scale, rng = engine.scale, np.random.default_rng(0)
    table = Table(["crop", "video", "crops, dB", "whole frames, dB", "difference"], markdown=options.markdown)
    for crf in (None, 23):
        found: dict[int, list[tuple[float, float]]] = {int(side): [] for side in options.crops.split(",")}
        for file in find_clips(options.clips):
            clip = prepare_clip(file, Protocol("bi", scale, crf), options.frames)
            whole = np.stack(list(upscale_frames(engine, clip.low)))
            for side in found:
                if side > min(clip.low.shape[1:3]):
                    continue
                for _ in range(options.places):
                    top, left = (int(rng.integers(0, each - side + 1)) for each in clip.low.shape[1:3])
                    low = np.ascontiguousarray(clip.low[:, top : top + side, left : left + side])
                    crop = np.stack(list(upscale_frames(engine, low)))
                    first = (side - INNER) // 2
                    inner = slice(scale * first, scale * (first + INNER))
                    window = np.s_[
                        :, scale * top : scale * (top + side), scale * left : scale * (left + side)
                    ]
                    truth = clip.truth[window][:, inner, inner]
                    seen = whole[window][:, inner, inner]
                    found[side].append((psnr(crop[:, inner, inner], truth), psnr(seen, truth)))
        for side, pairs in found.items():
            alone, seen = np.mean(pairs, axis=0)
            table.row(f"{side}x{side}", label(crf), f"{alone:.2f}", f"{seen:.2f}", f"{seen - alone:+.3f}")
    table.print()


if __name__ == "__main__":
    main()
