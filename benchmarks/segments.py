"""Measure the cost of segments: videos written in segments against the same videos written directly.

    python benchmarks/segments.py CLIP... [--model duf-r-s] [--segment auto] [--turns 3] [--frames N]

Both run in turns, each in its own process, so that other load affects both alike. *Wall* is the time that a
user waits, *processor* the time of all processes together (network and ffmpeg), on which other load has less
influence; results are medians over the turns, including the start of the network. *Size* is that of the
output; segments start with key frames.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from common import machine

RUN = """
import sys
from fractions import Fraction
from vsrcli import Options, upscale
source, target, model, scale, device, segment, frames = sys.argv[1:]
options = Options(
    Fraction(scale), model, device=device, segment=int(segment) if segment.isdigit() else segment,
    frames=int(frames) or None,
)
print(upscale(source, target, options).frames)
"""


@dataclass
class Measurements:
    """Measurements of one setting: seconds and seconds of each turn, bytes of the output."""

    wall: list[float]
    processor: list[float]
    size: int = 0


def measure(
    clip: Path, segment: str, options: argparse.Namespace, folder: Path, measurements: Measurements
) -> int:
    """Run once; return the number of frames."""
    target = folder / f"{clip.stem}-{segment}.mp4"
    command = [
        sys.executable,
        "-c",
        RUN,
        clip,
        target,
        options.model,
        options.scale,
        options.gpu,
        segment,
        options.frames,
    ]
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    measurements.wall.append(time.perf_counter() - started)
    after = os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    measurements.processor.append(
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    measurements.size = target.stat().st_size
    target.unlink()
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of segments.")
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="duf-r-s")
    parser.add_argument("-s", "--scale", default="4")
    parser.add_argument("-g", "--gpu", default="auto")
    parser.add_argument("--segment", default="auto", help="auto or a number of frames")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--frames", type=int, default=0, help="frames of each clip; default: all")
    options = parser.parse_args()
    print(machine())
    for clip in options.clips:
        settings = {"none": Measurements([], []), options.segment: Measurements([], [])}
        frames = 0
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(options.turns):
                for segment in list(settings) if turn % 2 else reversed(list(settings)):
                    frames = measure(clip, segment, options, Path(folder), settings[segment])
        print(f"\n{clip.name}, {frames} frames, {options.model} x{options.scale}, {options.turns} turns")
        print(f"{'segments':<10} {'wall':>9} {'processor':>10} {'size':>12}")
        for segment, measurements in settings.items():
            wall, processor = statistics.median(measurements.wall), statistics.median(measurements.processor)
            print(f"{segment:<10} {wall:7.2f} s {processor:8.2f} s {measurements.size:12,}")
        direct, segmented = settings.values()
        ratios = [
            statistics.median(getattr(segmented, name)) / statistics.median(getattr(direct, name)) - 1
            for name in ("wall", "processor")
        ]
        print(f"{'extra':<10} {ratios[0]:9.1%} {ratios[1]:10.1%} {segmented.size / direct.size - 1:12.1%}")


if __name__ == "__main__":
    main()
