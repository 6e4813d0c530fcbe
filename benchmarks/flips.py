"""Measure the gain of a self-ensemble: averaging over flipped copies of every frame.

    python benchmarks/flips.py CLIPS [--model duf-r-s] [--frames 16]

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017, section 3.4: a
network upscales every flipped copy of its input, and the results, flipped back, are averaged. Here each copy
is a separate video with its own recurrent state; there are two copies (flipped horizontally) or four (all
flips of rows and columns). Gains are over the network alone, in dB of PSNR-Y by the protocol of
``vsr evaluate``.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import find_clips
from vsrcli.evaluate.metrics import psnr_y
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS
from vsrcli.inference.selection import choose_models, open_engine

FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # strides of rows and columns


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="duf-r-s")
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    engine = open_engine(choose_models(options.model, Fraction(4))[0])
    for crf in (None, 23):
        gains = []
        for file in find_clips(options.clips):
            clip = prepare_clip(file, Protocol("bi", engine.scale, crf), options.frames)
            copies = [
                np.stack(list(upscale_frames(engine, np.ascontiguousarray(clip.low[:, ::a, ::b]))))[
                    :, ::a, ::b
                ]
                for a, b in FLIPS
            ]
            alone, two, four = (psnr(np.mean(copies[:n], axis=0), clip.truth) for n in (1, 2, 4))
            gains.append((two - alone, four - alone))
            print(f"{file.name}, {label(crf)}: {alone:.2f} dB, {gains[-1][0]:+.3f}, {gains[-1][1]:+.3f}")
        two, four = np.mean(gains, axis=0)
        print(f"mean, {label(crf)}: two copies {two:+.3f} dB, four {four:+.3f} dB", flush=True)


def label(crf: int | None) -> str:
    return "clean" if crf is None else f"crf {crf}"


def psnr(outputs: np.ndarray, truth: np.ndarray) -> float:
    inner = slice(SKIP_ENDS, -SKIP_ENDS)
    codes = np.rint(outputs[inner]).astype(np.uint8)
    return float(np.mean([psnr_y(a, b, CROP) for a, b in zip(codes, truth[inner], strict=True)]))


if __name__ == "__main__":
    main()
