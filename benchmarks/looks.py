"""Seconds a frame of ``--strength`` and ``--keep-color``, beside the network: ``benchmarks/looks.py``."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from vsrcli.frames.color_transfer import transfer_color
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.selection import choose_models, open_engine


def median_seconds(function: Callable[[], object], turns: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    seconds = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="480x270", help="of the source")
    parser.add_argument("--model", default="", help="also time this model, on the CPU")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    source = np.random.default_rng(0).random((height, width, 3), np.float32)
    stream = ResampleEngine("lanczos", 4).open(height, width)
    result, lanczos = stream.push(source) * np.float32(0.9), stream.push(source)

    def blend() -> np.ndarray:
        change = result - stream.push(source)
        change *= np.float32(0.5)
        change += lanczos
        return change

    figures = {
        "--keep-color": median_seconds(lambda: transfer_color(result, source), options.turns),
        "--strength 0.5": median_seconds(blend, options.turns),
    }
    if options.model:
        network = open_engine(choose_models(options.model, Fraction(4))[0], device="cpu").open(height, width)
        for _ in range(8):
            network.push(source)
        figures[options.model] = median_seconds(lambda: network.push(source), options.turns)
    for name, seconds in figures.items():
        print(f"{name:>16}: {seconds:.4f} s a frame of {width}x{height} to x4")


if __name__ == "__main__":
    main()
