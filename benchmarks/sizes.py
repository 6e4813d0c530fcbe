"""The last resample, from the network's picture to the size asked for: in which light, by which kernel.

    python benchmarks/sizes.py DATA_DIR [--model duf-r-s] [--frames 8] [--clips 9]
    python benchmarks/sizes.py --time [--turns 5]

DATA_DIR holds clips (``*.mp4``). The middle of each (384x240) is shrunk by 2, 3 and 6, upscaled by the
network at x4, and resampled to the clip's own size: down by 2, down by 4/3 and up by 3/2. PSNR-Y against the
clip says how well. They are shrunk in gamma light, in linear light, and in gamma light with H.264 (crf 23)
behind it, since a film's own maker may have done any of these. *Linear* is the transfer of BT.1886
(gamma 2.4).

``--time`` measures the resample as a share of network and resample together, and whether the network's next
frame takes longer behind it (threads of NumPy's BLAS that go on spinning would show). Compare a run with
``OPENBLAS_NUM_THREADS=1``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.degradations import recompress
from vsrcli.evaluate.clips import read_frames
from vsrcli.evaluate.metrics import psnr_y
from vsrcli.frames.pixels import to_float, to_integer
from vsrcli.frames.resample import resize
from vsrcli.inference.selection import choose_model, open_engine
from vsrcli.inference.types import Engine

SCALES = (2, 3, 6)
GAMMA = 2.4
SKIPPED = 2  # frames at each end of a clip, where the network repeats neighbours
MOST = 240, 384  # of a clip's rows and columns, in its middle
Resampling = Callable[[np.ndarray, int, int], np.ndarray]


def in_gamma_light(kernel: str) -> Resampling:
    return lambda picture, height, width: resize(picture, height, width, kernel).clip(0, 1)


def in_linear_light(kernel: str) -> Resampling:
    def resample(picture: np.ndarray, height: int, width: int) -> np.ndarray:
        return resize(picture**GAMMA, height, width, kernel).clip(0, 1) ** (1 / GAMMA)

    return resample


METHODS = {
    f"{light} {kernel}": way(kernel)
    for kernel in ("lanczos3", "bicubic")
    for light, way in (("gamma", in_gamma_light), ("linear", in_linear_light))
}


def lows(clip: np.ndarray, scale: int) -> Iterator[tuple[str, np.ndarray]]:
    """A clip in low resolution, uint8, made in several ways."""
    size = clip.shape[1] // scale, clip.shape[2] // scale
    for name, way in (("gamma", in_gamma_light), ("linear", in_linear_light)):
        low = np.stack([to_integer(way("bicubic")(to_float(frame), *size), np.uint8) for frame in clip])
        yield name, low
        if name == "gamma":
            yield "gamma, crf 23", recompress(low)


def upscaled(engine: Engine, frames: np.ndarray) -> list[np.ndarray]:
    stream = engine.open(*frames.shape[1:3])
    answers = [stream.push(to_float(frame)) for frame in frames]
    return [answer for answer in answers if answer is not None] + stream.flush()


def middle(clip: np.ndarray) -> np.ndarray:
    rows, columns = (
        slice((side - min(side, most)) // 2, (side + min(side, most)) // 2)
        for side, most in zip(clip.shape[1:3], MOST, strict=True)
    )
    return clip[:, rows, columns]


def measure(files: list[Path], engine: Engine, count: int) -> None:
    scores: dict[tuple[int, str], dict[str, list[float]]] = {}
    for path in files:
        clip = middle(read_frames(path, count))
        for scale in SCALES:
            height, width = (side - side % (2 * scale) for side in clip.shape[1:3])
            truth = clip[:, :height, :width]
            for made, low in lows(truth, scale):
                pictures = upscaled(engine, low)[SKIPPED:-SKIPPED]
                row = scores.setdefault((scale, made), {})
                ways = {"bicubic alone": None, **METHODS}
                for name, way in ways.items():
                    found = [
                        psnr_y(way(mine, height, width), true)
                        if way
                        else psnr_y(resize(to_float(one), height, width).clip(0, 1), true)
                        for mine, one, true in zip(
                            pictures, low[SKIPPED:-SKIPPED], truth[SKIPPED:-SKIPPED], strict=True
                        )
                    ]
                    row.setdefault(name, []).append(statistics.fmean(found))
        print(f"{path.name} done", flush=True)
    print(f"\nPSNR-Y, dB, mean of {len(files)} clips, {count - 2 * SKIPPED} frames each\n")
    print(f"| from | made in | {' | '.join(['bicubic alone', *METHODS])} |")
    print(f"|---|---|{'---|' * (len(METHODS) + 1)}")
    for (scale, made), row in scores.items():
        print(f"| 1/{scale} | {made} | {' | '.join(f'{statistics.fmean(v):.3f}' for v in row.values())} |")
    print("\ngamma lanczos3 less linear lanczos3, worst and best clip\n")
    for (scale, made), row in scores.items():
        gains = [a - b for a, b in zip(row["gamma lanczos3"], row["linear lanczos3"], strict=True)]
        print(f"1/{scale} {made}: {min(gains):+.3f} to {max(gains):+.3f} dB")


def share(engine: Engine, turns: int, height: int = 120, width: int = 192) -> None:
    """The resample's part of the time: to half and to 3/4 of the network's picture, and up by 3/2."""
    rng = np.random.default_rng(0)
    frames = rng.random((4, height, width, 3), np.float32)
    stream, number = engine.open(height, width), 0
    while (picture := stream.push(frames[number % 4])) is None:
        number += 1
    for factor in (Fraction(1, 2), Fraction(3, 4), Fraction(3, 2)):
        rows, columns = (round(4 * side * factor) for side in (height, width))
        shares, slower = [], []
        for _ in range(turns):
            alone = beside = resampling = 0.0
            for resampled in (False, True) * 4:
                number += 1
                began = time.perf_counter()
                picture = stream.push(frames[number % 4])
                middle = time.perf_counter()
                if resampled:  # the network's next frame comes right behind: do threads get in its way?
                    assert picture is not None
                    resize(picture, rows, columns, "lanczos3").clip(0, 1)
                    resampling += time.perf_counter() - middle
                    alone += middle - began
                else:
                    beside += middle - began
            shares.append(resampling / (resampling + alone))
            slower.append(beside / alone)
        print(
            f"{width}x{height} x4 to {columns}x{rows}: {statistics.median(shares):.1%} of the time; the "
            f"network behind a resample takes {statistics.median(slower):.2f} times what it takes otherwise",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="duf-r-s")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    engine = open_engine(choose_model(given.model, Fraction(4)), device="cpu")
    print(engine.description)
    if given.time:
        share(engine, given.turns)
    if given.folder:
        measure(sorted(given.folder.rglob("*.mp4"))[: given.clips], engine, given.frames)


if __name__ == "__main__":
    main()
