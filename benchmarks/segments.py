"""What segments cost: films written in segments against the same films written in one go.

    python benchmarks/segments.py CLIP... [--model duf-r-s] [--segment auto] [--turns 3] [--frames N]

Both ways run in turns, each in a process of its own, so that a busy machine is busy for both. *Wall* is the
time that a user waits, *processor* that of all processes together (the network's, ffmpeg's), which a busy
machine changes less; figures are medians over the turns, the network's start included. *Size* is that of the
finished film; segments begin with key frames.
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

from setting import machine

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
class Figures:
    """Of one way, turn by turn: seconds, seconds, bytes."""

    wall: list[float]
    processor: list[float]
    size: int = 0


def measure(clip: Path, segment: str, given: argparse.Namespace, folder: Path, figures: Figures) -> int:
    """One run; returns its number of frames."""
    target = folder / f"{clip.stem}-{segment}.mp4"
    command = [
        sys.executable,
        "-c",
        RUN,
        clip,
        target,
        given.model,
        given.scale,
        given.gpu,
        segment,
        given.frames,
    ]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    figures.wall.append(time.perf_counter() - began)
    after = os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    figures.processor.append(
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    figures.size = target.stat().st_size
    target.unlink()
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="What segments cost.")
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="duf-r-s")
    parser.add_argument("-s", "--scale", default="4")
    parser.add_argument("-g", "--gpu", default="auto")
    parser.add_argument("--segment", default="auto", help="auto or a number of frames")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--frames", type=int, default=0, help="of each clip; default: all")
    given = parser.parse_args()
    print(machine())
    for clip in given.clips:
        ways = {"none": Figures([], []), given.segment: Figures([], [])}
        frames = 0
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(given.turns):
                for segment in list(ways) if turn % 2 else reversed(list(ways)):
                    frames = measure(clip, segment, given, Path(folder), ways[segment])
        print(f"\n{clip.name}, {frames} frames, {given.model} x{given.scale}, {given.turns} turns")
        print(f"{'segments':<10} {'wall':>9} {'processor':>10} {'size':>12}")
        for segment, figures in ways.items():
            wall, processor = statistics.median(figures.wall), statistics.median(figures.processor)
            print(f"{segment:<10} {wall:7.2f} s {processor:8.2f} s {figures.size:12,}")
        none, some = ways.values()
        ratios = [
            statistics.median(getattr(some, name)) / statistics.median(getattr(none, name)) - 1
            for name in ("wall", "processor")
        ]
        print(f"{'more':<10} {ratios[0]:9.1%} {ratios[1]:10.1%} {some.size / none.size - 1:12.1%}")


if __name__ == "__main__":
    main()
