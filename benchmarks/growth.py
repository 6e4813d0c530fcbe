"""Measure how cost grows with frame size, video length and number of cores.

    python benchmarks/growth.py [--sizes 160x90,320x180,640x360] [--lengths 12,24,48] [--cores 1,2]
    python benchmarks/growth.py --model duf-s --engine keras --markdown

Each measurement is one ``vsr bench`` in its own process, bound to the given number of cores
(``sched_setaffinity``, which ffmpeg inherits). It measures the network alone, and from file to file. All rows
take turns, so that other load affects all alike; the result is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, generate_video, machine

MIB = 2**20


def bench(options: argparse.Namespace, source: Path, frames: int, cores: int | None) -> dict[str, Any]:
    """Return the report of one ``vsr bench``."""
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


def measure(
    options: argparse.Namespace, rows: Sequence[tuple[str, str, int, int | None]], folder: Path
) -> list[list[dict[str, Any]]]:
    """Return the reports of every row; a row is a label, a size, frames and cores."""
    reports: list[list[dict[str, Any]]] = [[] for _ in rows]
    for _ in range(options.turns):
        for row_reports, (_, size, frames, cores) in zip(reports, rows, strict=True):
            row_reports.append(bench(options, generate_video(size, frames, folder), frames, cores))
    return reports


def median(reports: list[dict[str, Any]], measurement: str, key: str) -> float:
    return float(np.median([report[measurement][key] for report in reports]))


def print_table(
    options: argparse.Namespace,
    title: str,
    head: str,
    rows: Sequence[tuple[str, str, int, int | None]],
    folder: Path,
) -> None:
    reports = measure(options, rows, folder)
    print(
        f"\n{title}: {options.model} x{options.scale}, {reports[0][0]['engine']}; median of {options.turns}\n"
    )
    heads = [head, "network us/pixel", "network fps", "video us/pixel", "video fps", "ratio", "memory MiB"]
    table = Table(heads, markdown=options.markdown)
    first = median(reports[0], "encoded", "us_per_pixel")
    for (label, *_), row_reports in zip(rows, reports, strict=True):
        network = median(row_reports, "network", "us_per_pixel"), median(row_reports, "network", "fps")
        video = median(row_reports, "encoded", "us_per_pixel"), median(row_reports, "encoded", "fps")
        memory = max(report["encoded"]["memory"]["total"] for report in row_reports) / MIB
        cells = [f"{network[0]:.2f}", f"{network[1]:.2f}", f"{video[0]:.2f}", f"{video[1]:.2f}"]
        table.row(label, *cells, f"{video[0] / first:.2f}", f"{memory:.0f}")
    table.print()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how cost grows with size, length and cores.")
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
    available = len(os.sched_getaffinity(0))
    cores = [int(number) for number in options.cores.split(",") if number]
    if cores and max(cores) > available:
        parser.error(f"there are {available} cores, not {max(cores)}")
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.sizes:
            rows = [(size, size, options.frames, None) for size in options.sizes.split(",")]
            print_table(options, "with size", "frame", rows, folder)
        if options.lengths:
            lengths = [int(number) for number in options.lengths.split(",")]
            print_table(
                options, "with length", "frames", [(str(n), options.size, n, None) for n in lengths], folder
            )
        if cores:
            rows = [(str(number), options.size, options.frames, number) for number in cores]
            print_table(options, "with cores", "cores", rows, folder)


if __name__ == "__main__":
    main()
