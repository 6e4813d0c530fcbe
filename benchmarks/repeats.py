"""Measure what is gained where frames are shown twice: the network gets each of them once.

    python benchmarks/repeats.py CLIPS [--model duf-r] [--frames 32]

Conversions of the frame rate and recordings of screens repeat frames. A network that looks at several frames
makes a slightly different picture of each repetition, so what should stand still moves. Here a frame that
differs nowhere from the last one that was computed, but by what an encoder leaves, is left out, and its
picture is shown again. Scores are those of ``vsr evaluate``; clips without repeated frames are named only.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import find_clips
from vsrcli.evaluate.metrics import ClipScorer
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS
from vsrcli.inference.selection import choose_models, open_engine

BLOCK = 8  # side of the blocks that are compared, low-resolution pixels
MAX_MEAN, MAX_BLOCK = 0.35, 6.0  # codes: largest mean difference of a repetition, over the frame and a block


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="duf-r")
    parser.add_argument("--frames", type=int, default=32)
    options = parser.parse_args()
    engine = open_engine(choose_models(options.model, Fraction(4))[0])
    for file in find_clips(options.clips):
        for crf in (None, 23):
            clip = prepare_clip(file, Protocol("bi", engine.scale, crf), options.frames)
            kept = distinct_frames(clip.low)
            label = f"{file.name}, {'clean' if crf is None else f'crf {crf}'}: {len(kept)} of {len(clip.low)}"
            if len(kept) == len(clip.low):
                print(f"{label} frames differ", flush=True)
                continue
            outputs = np.stack(list(upscale_frames(engine, clip.low)))
            once = np.stack(list(upscale_frames(engine, np.ascontiguousarray(clip.low[kept]))))
            shown = np.searchsorted(kept, np.arange(len(clip.low)), side="right") - 1
            rows = [scores(outputs, clip.truth), scores(once[shown], clip.truth)]
            text = "; ".join(f"{psnr:.2f} dB, steady {steady:.2f} dB" for psnr, steady in rows)
            print(f"{label} frames computed: all {text}", flush=True)


def distinct_frames(frames: np.ndarray) -> list[int]:
    """Return the numbers of the frames of a clip, uint8 (T, H, W, 3), that repeat no earlier one."""
    kept = [0]
    for number, frame in enumerate(frames[1:], start=1):
        change = np.abs(np.float32(frame) - frames[kept[-1]]).mean(-1)
        height, width = (side // BLOCK * BLOCK for side in change.shape)
        blocks = change[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))
        if change.mean() > MAX_MEAN or blocks.max() > MAX_BLOCK:
            kept.append(number)
    return kept


def scores(outputs: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return PSNR-Y and steady, means over frames, dB."""
    scorer = ClipScorer(CROP)
    for output, frame in zip(outputs[SKIP_ENDS:-SKIP_ENDS], truth[SKIP_ENDS:-SKIP_ENDS], strict=True):
        scorer.add(np.rint(output).astype(np.uint8), frame)
    return float(np.mean(scorer.psnr)), float(np.mean(scorer.steady))


if __name__ == "__main__":
    main()
