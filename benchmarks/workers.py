"""What workers gain, and what pieces cost: whole commands, in turns.

    python benchmarks/workers.py VIDEO [--turns 3] [--model duf-r-xs] [--frames N]

- ``pieces``: ``--segment shots`` beside the default segments, both on all cores.
- ``workers``: two workers of one core each beside one worker of one core.

A video of several pieces is needed: of a minute and more, with shots of ten seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import Table, machine


def seconds(arguments: Sequence[str], cores: set[int]) -> float:
    """Return how long ``vsr upscale`` takes on some cores."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "vsrcli", "upscale", *arguments, "--quiet"]
        line.insert(5, str(Path(folder, "out.mp4")))
        start = time.perf_counter()
        subprocess.run(line, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="duf-r-xs")
    parser.add_argument("--frames", type=int, help="of the video; default: all")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed")
    base = [str(options.video), "-m", options.model, "--engine", "openvino", "--precision", "fp32"]
    base += ["--frames", str(options.frames)] if options.frames else []
    first, both, every = {cores[0]}, set(cores[:2]), set(cores)
    commands = {
        "default segments": ([*base], every),
        "--segment shots": ([*base, "--segment", "shots"], every),
        "--workers 1, one core": ([*base, "--workers", "1"], first),
        "--workers 2, two cores": ([*base, "--workers", "2"], both),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    seconds([*base, "--frames", "9"], every)  # graphs are in the cache from now on
    for _ in range(options.turns):
        for name, (arguments, where) in commands.items():
            times[name].append(seconds(arguments, where))
    print(f"{machine()}; {options.model}\n")
    table = Table(["command", "seconds, median", "least", "most"])
    for name, values in times.items():
        row = statistics.median(values), min(values), max(values)
        table.row(name, *(f"{value:.1f}" for value in row))
    table.print()
    default, pieces, one, two = times.values()
    slower = statistics.median(b / a for a, b in zip(default, pieces, strict=True)) - 1
    faster = statistics.median(a / b for a, b in zip(one, two, strict=True))
    print(f"\npieces take {slower:+.1%} of the time; two workers are {faster:.2f} times as fast as one")


if __name__ == "__main__":
    main()
