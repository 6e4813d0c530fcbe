"""How cost grows: with the frame's size, with the film's length, and with the number of cores.

    python benchmarks/growth.py [--sizes 160x90,320x180,640x360] [--lengths 12,24,48] [--cores 1,2]
    python benchmarks/growth.py --model duf-s --engine keras --markdown

Each figure is that of one ``vsr bench`` in a process of its own, which runs on as many cores as it is given
(``sched_setaffinity``, which ffmpeg inherits). Sizes and cores measure the model alone and film to film;
lengths film to film. Turns go round all rows, so that a busy machine is busy for all of them; shown is the
median.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from setting import Table, film, machine

MIB = 2**20


def bench(options: argparse.Namespace, source: Path, frames: int, cores: int | None) -> dict[str, Any]:
    """What one ``vsr bench`` says."""
    line = [sys.executable, "-m", "vsrcli", "bench", "-q", "--json", "--input", str(source)]
    line += ["--frames", str(frames), "-m", options.model, "-s", str(options.scale), "-g", "cpu"]
    line += ["--engine", options.engine, "--precision", options.precision]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(os.sched_setaffinity, 0, allowed),
    )
    if done.returncode:
        raise SystemExit(f"vsr bench ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def measured(
    options: argparse.Namespace, rows: list[tuple[str, str, int, int | None]], folder: Path
) -> list[list[dict[str, Any]]]:
    """Reports of every row; a row is a label, a size, frames and cores."""
    reports: list[list[dict[str, Any]]] = [[] for _ in rows]
    for _ in range(options.turns):
        for found, (_, size, frames, cores) in zip(reports, rows, strict=True):
            found.append(bench(options, film(size, frames, folder), frames, cores))
    return reports


def median(reports: list[dict[str, Any]], way: str, figure: str) -> float:
    return float(np.median([report[way][figure] for report in reports]))


def show(
    options: argparse.Namespace,
    title: str,
    head: str,
    rows: list[tuple[str, str, int, int | None]],
    folder: Path,
) -> None:
    reports = measured(options, rows, folder)
    print(
        f"\n{title}: {options.model} x{options.scale}, {reports[0][0]['engine']}; median of {options.turns}\n"
    )
    heads = [head, "alone us/pixel", "alone fps", "film us/pixel", "film fps", "ratio", "memory MiB"]
    table = Table(heads, markdown=options.markdown)
    first = median(reports[0], "encoded", "us_per_pixel")
    for (label, *_), found in zip(rows, reports, strict=True):
        alone = median(found, "network", "us_per_pixel"), median(found, "network", "fps")
        whole = median(found, "encoded", "us_per_pixel"), median(found, "encoded", "fps")
        memory = max(report["encoded"]["memory"]["total"] for report in found) / MIB
        figures = [f"{alone[0]:.2f}", f"{alone[1]:.2f}", f"{whole[0]:.2f}", f"{whole[1]:.2f}"]
        table.row(label, *figures, f"{whole[0] / first:.2f}", f"{memory:.0f}")
    table.print()


def main() -> None:
    parser = argparse.ArgumentParser(description="How cost grows with size, length and cores.")
    parser.add_argument("-m", "--model", default="duf-s", help="a name or weight file")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--sizes", default="", help="low-resolution frames, separated by commas")
    parser.add_argument("--lengths", default="", help="frames, separated by commas")
    parser.add_argument("--cores", default="", help="numbers of cores, separated by commas")
    parser.add_argument("--size", default="160x90", help="for --lengths and --cores")
    parser.add_argument("--frames", type=int, default=12, help="for --sizes and --cores")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    options = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        parser.error("this system cannot bind processes to cores")
    if not (options.sizes or options.lengths or options.cores):
        parser.error("name --sizes, --lengths or --cores")
    there = len(os.sched_getaffinity(0))
    cores = [int(number) for number in options.cores.split(",") if number]
    if cores and max(cores) > there:
        parser.error(f"there are {there} cores, not {max(cores)}")
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.sizes:
            rows = [(size, size, options.frames, None) for size in options.sizes.split(",")]
            show(options, "with size", "frame", rows, folder)
        if options.lengths:
            lengths = [int(number) for number in options.lengths.split(",")]
            show(options, "with length", "frames", [(str(n), options.size, n, None) for n in lengths], folder)
        if cores:
            rows = [(str(number), options.size, options.frames, number) for number in cores]
            show(options, "with cores", "cores", rows, folder)


if __name__ == "__main__":
    main()
