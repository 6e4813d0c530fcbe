"""Compare kernels, in gamma and in linear light, for the resize from the network's output to the target size.

    python benchmarks/sizes.py DATA_DIR [--model duf-r-s] [--frames 8] [--clips 9]
    python benchmarks/sizes.py --time [--turns 5]

DATA_DIR holds clips (``*.mp4``). The middle of each (384x240) is shrunk by 2, 3 and 6, upscaled by the
network at x4, and resized to the clip's own size: down by 2, down by 4/3 and up by 3/2; the result is PSNR-Y
against the clip. They are shrunk in gamma light, in linear light, and in gamma light followed by H.264
(crf 23), since real videos come from any of these. *Linear* is the transfer of BT.1886 (gamma 2.4).

``--time`` measures the resize as a share of network and resize together, and whether the network's next frame
takes longer after it (as it would if threads of NumPy's BLAS kept spinning). Compare a run with
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
from vsrcli.inference.selection import choose_models, open_engine
from vsrcli.inference.types import Engine

SCALES = (2, 3, 6)
GAMMA = 2.4
SKIPPED_FRAMES = 2  # at each end of a clip, where the network repeats neighbours
MAX_SIZE = 240, 384  # rows and columns of the part, in the middle of a clip
Resizing = Callable[[np.ndarray, int, int], np.ndarray]


def in_gamma_light(kernel: str) -> Resizing:
    return lambda image, height, width: resize(image, height, width, kernel).clip(0, 1)


def in_linear_light(kernel: str) -> Resizing:
    def resize_linear(image: np.ndarray, height: int, width: int) -> np.ndarray:
        return resize(image**GAMMA, height, width, kernel).clip(0, 1) ** (1 / GAMMA)

    return resize_linear


METHODS = {
    f"{light} {kernel}": make_resizing(kernel)
    for kernel in ("lanczos3", "bicubic")
    for light, make_resizing in (("gamma", in_gamma_light), ("linear", in_linear_light))
}


def make_low_resolution(clip: np.ndarray, scale: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a clip in low resolution, uint8, shrunk by several methods, with their names."""
    size = clip.shape[1] // scale, clip.shape[2] // scale
    for name, make_resizing in (("gamma", in_gamma_light), ("linear", in_linear_light)):
        low = np.stack(
            [to_integer(make_resizing("bicubic")(to_float(frame), *size), np.uint8) for frame in clip]
        )
        yield name, low
        if name == "gamma":
            yield "gamma, crf 23", recompress(low)


def upscale(engine: Engine, frames: np.ndarray) -> list[np.ndarray]:
    stream = engine.open(*frames.shape[1:3])
    outputs = [stream.push(to_float(frame)) for frame in frames]
    return [output for output in outputs if output is not None] + stream.flush()


def crop_middle(clip: np.ndarray) -> np.ndarray:
    rows, columns = (
        slice((side - min(side, limit)) // 2, (side + min(side, limit)) // 2)
        for side, limit in zip(clip.shape[1:3], MAX_SIZE, strict=True)
    )
    return clip[:, rows, columns]


def measure(files: list[Path], engine: Engine, count: int) -> None:
    scores: dict[tuple[int, str], dict[str, list[float]]] = {}
    for path in files:
        clip = crop_middle(read_frames(path, count))
        for scale in SCALES:
            height, width = (side - side % (2 * scale) for side in clip.shape[1:3])
            truth = clip[:, :height, :width]
            for method, low in make_low_resolution(truth, scale):
                outputs = upscale(engine, low)[SKIPPED_FRAMES:-SKIPPED_FRAMES]
                row = scores.setdefault((scale, method), {})
                resizings = {"bicubic alone": None, **METHODS}
                for name, resizing in resizings.items():
                    scored = [
                        psnr_y(resizing(output, height, width), true)
                        if resizing
                        else psnr_y(resize(to_float(frame), height, width).clip(0, 1), true)
                        for output, frame, true in zip(
                            outputs,
                            low[SKIPPED_FRAMES:-SKIPPED_FRAMES],
                            truth[SKIPPED_FRAMES:-SKIPPED_FRAMES],
                            strict=True,
                        )
                    ]
                    row.setdefault(name, []).append(statistics.fmean(scored))
        print(f"{path.name} done", flush=True)
    print(f"\nPSNR-Y, dB, mean of {len(files)} clips, {count - 2 * SKIPPED_FRAMES} frames each\n")
    print(f"| from | shrunk in | {' | '.join(['bicubic alone', *METHODS])} |")
    print(f"|---|---|{'---|' * (len(METHODS) + 1)}")
    for (scale, method), row in scores.items():
        print(f"| 1/{scale} | {method} | {' | '.join(f'{statistics.fmean(v):.3f}' for v in row.values())} |")
    print("\ngamma lanczos3 less linear lanczos3, worst and best clip\n")
    for (scale, method), row in scores.items():
        gains = [a - b for a, b in zip(row["gamma lanczos3"], row["linear lanczos3"], strict=True)]
        print(f"1/{scale} {method}: {min(gains):+.3f} to {max(gains):+.3f} dB")


def measure_share(engine: Engine, turns: int, height: int = 120, width: int = 192) -> None:
    """Print the share of time of the resize: to 1/2, 3/4 and 3/2 of the network's output size."""
    rng = np.random.default_rng(0)
    frames = rng.random((4, height, width, 3), np.float32)
    stream, number = engine.open(height, width), 0
    while (output := stream.push(frames[number % 4])) is None:
        number += 1
    for factor in (Fraction(1, 2), Fraction(3, 4), Fraction(3, 2)):
        rows, columns = (round(4 * side * factor) for side in (height, width))
        shares, ratios = [], []
        for _ in range(turns):
            alone = after_resize = resizing = 0.0
            for is_resized in (False, True) * 4:
                number += 1
                started = time.perf_counter()
                output = stream.push(frames[number % 4])
                middle = time.perf_counter()
                if is_resized:  # the network's next frame follows directly
                    assert output is not None
                    resize(output, rows, columns, "lanczos3").clip(0, 1)
                    resizing += time.perf_counter() - middle
                    alone += middle - started
                else:
                    after_resize += middle - started
            shares.append(resizing / (resizing + alone))
            ratios.append(after_resize / alone)
        print(
            f"{width}x{height} x4 to {columns}x{rows}: {statistics.median(shares):.1%} of the time; the "
            f"network after a resize takes {statistics.median(ratios):.2f} times what it takes otherwise",
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
    options = parser.parse_args()
    engine = open_engine(choose_models(options.model, Fraction(4))[0], device="cpu")
    print(engine.description)
    if options.time:
        measure_share(engine, options.turns)
    if options.folder:
        measure(sorted(options.folder.rglob("*.mp4"))[: options.clips], engine, options.frames)


if __name__ == "__main__":
    main()
