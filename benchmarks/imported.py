"""A whole film through a network of others, beside the network alone in plain ONNX Runtime, in turns.

    python benchmarks/imported.py [--model realesr-animevideov3-x4] [--size 320x180] [--frames 48] [--turns 3]

*Alone*: an ONNX Runtime session of the same graph on whole frames that lie in memory, after a first one that
does not count. *Film*: ``vsr upscale`` with ONNX Runtime from the start of the process to the finished file:
decoding, tiles, colours, encoding and sound included. The ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from common import generate_video, machine, run

from vsrcli.inference.onnx_manifest import extract_function, parse_manifest, read_manifest
from vsrcli.inference.onnxruntime import read_network
from vsrcli.inference.selection import choose_models


def alone(session: object, frames: np.ndarray, count: int) -> float:
    """Return the seconds of ``count`` frames, each (1, 1, H, W, 3) float32."""
    (name,) = [each.name for each in session.get_inputs()]  # type: ignore[attr-defined]
    start = time.perf_counter()
    for number in range(count):
        session.run(None, {name: frames[number % len(frames)]})  # type: ignore[attr-defined]
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="realesr-animevideov3-x4", help="ncnn, .pth or .safetensors")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--size", default="320x180", help="of the source")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()

    import onnxruntime

    (choice,) = choose_models(options.model, Fraction(options.scale))
    assert choice.weights is not None
    network = read_network(choice.weights)
    content = extract_function(network, parse_manifest(read_manifest(network)), "upscale")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    width, height = map(int, options.size.split("x"))
    frames = np.random.default_rng(0).random((4, 1, 1, height, width, 3), np.float32)
    alone(session, frames, 1)
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = generate_video(options.size, options.frames, folder)
        command = [sys.executable, "-m", "vsrcli", "upscale", str(clip), str(folder / "out.mp4"), "-y", "-q"]
        command += [
            "-m",
            options.model,
            "--scale",
            str(options.scale),
            "--engine",
            "onnxruntime",
            "--gpu",
            "cpu",
        ]
        ratios, films, networks = [], [], []
        for turn in range(options.turns):
            networks.append(alone(session, frames, options.frames))
            start = time.perf_counter()
            run(command)
            films.append(time.perf_counter() - start)
            ratios.append(films[-1] / networks[-1])
            print(
                f"turn {turn + 1}: alone {networks[-1]:.1f} s, film {films[-1]:.1f} s, ratio {ratios[-1]:.3f}"
            )
    print(
        f"{options.model}, {options.frames} frames of {options.size}: "
        f"alone {statistics.median(networks):.1f} s, "
        f"film {statistics.median(films):.1f} s, ratio {statistics.median(ratios):.3f}"
    )


if __name__ == "__main__":
    main()
