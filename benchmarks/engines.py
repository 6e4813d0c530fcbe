"""Compare the engines with each other, and with DUF-16L run as its authors do.

    python benchmarks/engines.py [--models duf-16l,duf-s,duf-r-s] [--size 160x90] [--turns 7] [--clip FILE]
        [--precisions fp32,bf16,int8] [--only-openvino]

*Speed*: all runners take turns in one process on the same frames, so that other load affects all alike. The
reference is *the authors' way*: TensorFlow in fp32, one call of one graph (``tf.function`` of the Keras model
on (1, 7, H, W, 3)) for every frame's window. The result is the median over turns of microseconds per
low-resolution pixel; the speed-up is the median of each turn's ratio to the reference. Names of models mean
random weights. The process keeps freed memory (``vsrcli.system.resources``), which helps the reference, too.

``--cpu-time`` measures processor time instead: meaningful on a shared machine if the process is bound to one
core (``taskset -c 0``), and then for single cores.

OpenVINO is measured in the precisions that the CPU has, or in those of ``--precisions``; int8 needs weight
files that have its ranges beside them. ONNX Runtime takes part if it is installed. ``--only-openvino`` leaves
all others out; then fp32 is the reference, for each model by itself. ``ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI``
in the environment makes a processor with AMX one without it.

*Exactness*: frames against those of Keras in fp32, in steps of 8 bits. Random weights say little about bf16:
use weight files.

*Start*: seconds from the start of a process to its first frame, with an empty and with a warm cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import machine, weights_for

from vsrcli.models.weights import Weights

REFERENCE = "duf-16l"
WINDOW = 7

FIRST_FRAME = """
import sys
from vsrcli import EncodeOptions, Options, upscale
engine, source, target = sys.argv[1:]
reported = []
def on_progress(progress):
    if not reported:
        reported.append(True)
        print("first", flush=True)
options = Options(engine=engine, device="cpu", frames=8, encode=EncodeOptions(overwrite=True))
upscale(source, target, options, on_progress=on_progress)
"""


def authors_way(weights, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that upscales frame by frame, with one call of a TensorFlow graph per window."""
    import tensorflow as tf

    from vsrcli.models.weights import load_model

    model = load_model(weights)
    window = tf.TensorSpec((1, WINDOW, height, width, 3), tf.float32)
    graph = tf.function(lambda x: model(x, training=False), input_signature=[window])
    recent: list[np.ndarray] = []

    def push(frame: np.ndarray) -> np.ndarray:
        recent[:] = [*recent, frame][-WINDOW:]
        padded = [recent[0]] * (WINDOW - len(recent)) + recent
        return graph(tf.constant(np.stack(padded)[None])).numpy()[0]

    return push


class Runner:
    """One model in one engine, fed with an endless video."""

    clock = staticmethod(time.perf_counter)

    def __init__(self, name: str, push: Callable[[np.ndarray], np.ndarray | None]) -> None:
        self.name, self.push = name, push
        self.turns: list[float] = []  # microseconds per pixel and frame

    def turn(self, frames: list[np.ndarray]) -> None:
        started = self.clock()
        for frame in frames:
            self.push(frame)
        seconds = self.clock() - started
        self.turns.append(seconds * 1e6 / (len(frames) * frames[0].shape[0] * frames[0].shape[1]))


def measure_speed(options: argparse.Namespace, folder: Path) -> None:
    from vsrcli.inference.engine_plan import onnxruntime_installed
    from vsrcli.inference.keras import KerasEngine
    from vsrcli.inference.onnxruntime import OnnxruntimeEngine
    from vsrcli.inference.openvino import OpenvinoEngine

    width, height = (int(side) for side in options.size.split("x"))
    frames = list(np.random.default_rng(0).random((options.frames, height, width, 3), dtype=np.float32))
    reference = Runner(f"{REFERENCE}, the authors' way", lambda frame: None)
    runners, errors = [reference], {}
    for name in options.models.split(","):
        weights = weights_for(name, options.scale, folder)
        keras = KerasEngine(weights, device="cpu", precision="fp32")
        runners.append(Runner(keras.description, keras.open(height, width).push))
        for precision in precisions_of(options, weights):
            engine = OpenvinoEngine(weights, precision=precision)
            runners.append(Runner(engine.description, engine.open(height, width).push))
            errors[f"{weights.name}, OpenVINO, {precision}"] = compare_outputs(keras, engine)
        if onnxruntime_installed():
            engine = OnnxruntimeEngine(weights, device="cpu")
            runners.append(Runner(engine.description, engine.open(height, width).push))
            errors[f"{weights.name}, ONNX Runtime, fp32"] = compare_outputs(keras, engine)
    reference.push = authors_way(weights_for(REFERENCE, options.scale, folder), height, width)
    for runner in runners:  # compile, and fill the windows
        for _ in range(WINDOW):
            runner.push(frames[0])
    for _ in range(options.turns):
        for runner in runners:
            runner.turn(frames)
    print(f"\nspeed: {width}x{height} to x{options.scale}, {options.turns} turns of {options.frames} frames")
    print(f"{'runner':<46} {'us/pixel':>9} {'fastest':>9} {'speed-up':>9}")
    for runner in runners:
        ratio = float(np.median(np.divide(reference.turns, runner.turns)))
        print(f"{runner.name:<46} {np.median(runner.turns):9.2f} {min(runner.turns):9.2f} {ratio:8.2f}x")
    print("\nexactness: against Keras in fp32, in steps of 8 bits")
    for name, (largest, mean) in errors.items():
        print(f"{name:<46} largest {largest:.5f}, mean {mean:.6f}")


def measure_precisions(options: argparse.Namespace, folder: Path) -> None:
    """Print the times of OpenVINO's precisions, relative to fp32, and their differences from it."""
    from vsrcli.inference.openvino import OpenvinoEngine

    width, height = (int(side) for side in options.size.split("x"))
    frames = list(np.random.default_rng(0).random((options.frames, height, width, 3), dtype=np.float32))
    print(f"\n{width}x{height} to x{options.scale}, {options.turns} turns of {options.frames} frames")
    print(f"{'runner':<46} {'us/pixel':>9} {'fastest':>9} {'of fp32':>9} {'largest':>9} {'mean':>9}")
    for name in options.models.split(","):
        weights = weights_for(name, options.scale, folder)
        others = [each for each in precisions_of(options, weights) if each != "fp32"]
        engines = [OpenvinoEngine(weights, precision=each) for each in ("fp32", *others)]
        runners = [Runner(each.description, each.open(height, width).push) for each in engines]
        for runner in runners:
            for _ in range(WINDOW):
                runner.push(frames[0])
        for _ in range(options.turns):
            for runner in runners:
                runner.turn(frames)
        for engine, runner in zip(engines, runners, strict=True):
            ratio = min(runner.turns) / min(runners[0].turns)
            largest, mean = compare_outputs(engines[0], engine)
            print(
                f"{runner.name:<46} {np.median(runner.turns):9.2f} {min(runner.turns):9.2f} {ratio:9.2f} "
                f"{largest:9.3f} {mean:9.4f}"
            )


def precisions_of(options: argparse.Namespace, weights: Weights) -> list[str]:
    """Return OpenVINO's precisions to measure."""
    from vsrcli.inference.int8_ranges import calibration_path
    from vsrcli.inference.openvino import cpu_capabilities

    if options.precisions:
        return options.precisions.split(",")
    return [each for each in cpu_capabilities() if each != "int8" or calibration_path(weights).is_file()]


def compare_outputs(one, other, height: int = 48, width: int = 64, count: int = 12) -> tuple[float, float]:
    """Return the largest and mean difference of two engines, on a short clip of moving noise and edges."""
    rng = np.random.default_rng(1)
    scene = np.kron(rng.random((6, 10, 3)), np.ones((8, 8, 1))) + rng.normal(0, 0.05, (48, 80, 3))
    scene = np.clip(scene, 0, 1).astype(np.float32)
    frames = [scene[:height, start : start + width] for start in range(count)]
    outputs = []
    for engine in (one, other):
        stream = engine.open(height, width)
        pushed = [stream.push(frame) for frame in frames]
        outputs.append(np.stack([output for output in pushed if output is not None] + stream.flush()))
    difference = 255 * np.abs(outputs[0] - outputs[1])
    return float(difference.max()), float(difference.mean())


def measure_start(clip: Path, folder: Path) -> None:
    print(f"\nstart: seconds from the start of the process to the first frame, {clip.name}")
    for engine, runs in (("keras", ("",)), ("openvino", ("cold cache", "warm cache", "warm cache"))):
        for run in runs:
            arguments = [sys.executable, "-c", FIRST_FRAME, engine, str(clip), str(folder / "out.mp4")]
            changes = {"VSR_CACHE": str(folder / "cache")}
            started = time.perf_counter()
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, **changes})
            assert process.stdout is not None
            process.stdout.readline()
            seconds = time.perf_counter() - started
            if process.wait():
                raise SystemExit(f"{engine} failed")
            print(f"{engine:<10} {run:<12} {seconds:6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=f"{REFERENCE},duf-s,duf-r-s")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--frames", type=int, default=1, help="frames per turn")
    parser.add_argument("--clip", type=Path, help="only measure the start, with this video")
    parser.add_argument("--precisions", help="of OpenVINO; default: those that this CPU has")
    parser.add_argument("--only-openvino", action="store_true", help="against fp32, with weight files")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    if options.cpu_time:
        Runner.clock = staticmethod(time.process_time)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        if options.clip:
            measure_start(options.clip, Path(folder))
        elif options.only_openvino:
            measure_precisions(options, Path(folder))
        else:
            measure_speed(options, Path(folder))


if __name__ == "__main__":
    main()
