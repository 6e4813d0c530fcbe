"""Measure what is gained where frames are shown twice: a network with a state gets each of them once.

    python benchmarks/repeats.py CLIPS [--model duf-r] [--frames 32] [--count]

Conversions of the frame rate and recordings of screens repeat frames. A network that remembers makes a
slightly different picture of each repetition, so what should stand still moves. ``vsr upscale`` leaves them
out (``vsrcli.frames.repeats``); here that is compared with computing all of them. Scores are those of ``vsr
evaluate``; clips without repeated frames are named only. ``--count`` only looks for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.clips import ClipFile, find_clips
from vsrcli.evaluate.metrics import ClipScorer
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, SKIP_ENDS
from vsrcli.frames.repeats import RepeatDetector
from vsrcli.inference.selection import ModelChoice, choose_models, open_engine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="duf-r")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--count", action="store_true")
    options = parser.parse_args()
    [choice] = choose_models(options.model, Fraction(4))
    if options.count:
        print_counts(find_clips(options.clips), choice.scale, options.frames)
    else:
        print_gains(find_clips(options.clips), choice, options.frames)


def print_counts(files: Sequence[ClipFile], scale: int, frames: int) -> None:
    """Print for clips that repeat frames which ones, and how many clips do."""
    repeating = 0
    for file in files:
        clip = prepare_clip(file, Protocol("bi", scale), frames)
        repeats = find_repeats(clip.low)
        repeating += any(repeats)
        if any(repeats):
            print(f"{file.name}: {''.join('R' if each else '-' for each in repeats)}", flush=True)
    print(f"{repeating} of {len(files)} clips repeat frames")


def print_gains(files: Sequence[ClipFile], choice: ModelChoice, frames: int) -> None:
    """Print scores with and without what repeats, clean and compressed."""
    engine = open_engine(choice)
    for file in files:
        for crf in (None, 23):
            clip = prepare_clip(file, Protocol("bi", engine.scale, crf), frames)
            repeats = sum(find_repeats(clip.low))
            label = f"{file.name}, {'clean' if crf is None else f'crf {crf}'}: {repeats} of {len(clip.low)}"
            if not repeats:
                print(f"{label} frames repeat the one before", flush=True)
                continue
            outputs = np.stack(list(upscale_frames(engine, clip.low)))
            once = np.stack(list(upscale_frames(engine, clip.low, choice.architecture)))
            rows = [scores(outputs, clip.truth), scores(once, clip.truth)]
            text = "; after ".join(f"{psnr:.2f} dB, steady {steady:.2f} dB" for psnr, steady in rows)
            print(f"{label} frames left out: before {text}", flush=True)


def find_repeats(frames: np.ndarray) -> list[bool]:
    """Return for each of the frames, uint8 (T, H, W, 3), whether it repeats the one before."""
    detector = RepeatDetector()
    return [detector.is_repeat(frame) for frame in frames]


def scores(outputs: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return PSNR-Y and steady, means over frames, dB."""
    scorer = ClipScorer(CROP)
    for output, frame in zip(outputs[SKIP_ENDS:-SKIP_ENDS], truth[SKIP_ENDS:-SKIP_ENDS], strict=True):
        scorer.add(np.rint(output).astype(np.uint8), frame)
    return float(np.mean(scorer.psnr)), float(np.mean(scorer.steady))


if __name__ == "__main__":
    main()
