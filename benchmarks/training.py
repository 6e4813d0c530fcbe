"""How fast a network trains, and what share of its time it waits for data.

    python benchmarks/training.py [DATA_DIR] [--models duf-s,duf-r-s] [--degradation bd] [--precision fp32]

Every model is trained from random weights, in turns with the others, on footage that is generated (or on a
folder), once with batches cut by the host and once out of the device's memory (``--data host`` and
``device``). *Waiting* is the time from the end of a step until the next batch can be handed to the network;
the figures are over all turns but the first, which compiles. Nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from setting import machine

from vsrcli.degradations import PRESETS, degrade
from vsrcli.inference.keras import silence_native_stderr
from vsrcli.models.architectures import architecture
from vsrcli.train.batches import BatchPlan
from vsrcli.train.config import PLACES, PRECISIONS, TrainConfig, check_sequences, margin
from vsrcli.train.footage import Pair, find_footage, prepare_pairs


def generated(scale: int, preset: str, clips: int = 4) -> list[Pair]:
    """Clips of noise that pans: speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(clips):
        scene = rng.integers(0, 256, (288, 432, 3), dtype=np.uint8)
        high = np.stack([scene[:, 3 * t : 3 * t + 384] for t in range(16)])
        low = np.stack([degrade(high, scale, PRESETS[preset], 0, rng)])
        pairs.append(Pair(f"noise{number}", "clip" if number % 2 else "photo", high, low))
    return pairs


class Trainee:
    """One network on one path of data."""

    def __init__(self, config: TrainConfig, pairs: list[Pair]) -> None:
        from vsrcli.train.device_data import open_data
        from vsrcli.train.hardware import parallel
        from vsrcli.train.loop import compiled_network

        chosen, preset = architecture(config.model), PRESETS[config.degradation]
        check_sequences(config, chosen)
        self.config, self.shared = config, parallel(config.gpus, config.batch)
        with self.shared():
            self.model, _, _ = compiled_network(config, chosen, preset.phase)
        ends = margin(chosen)
        plan = BatchPlan(config.batch, config.frames, ends, config.crop, config.scale, phase=preset.phase)
        data = open_data(config.data, pairs, plan, preset, chosen)
        self.batches = data.batches(config.seed, 0, config.steps)
        self.pixels = config.batch * (config.frames - 2 * ends) * config.crop**2
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0

    def turn(self, steps: int, counted: bool) -> None:
        for _ in range(steps):
            began = time.perf_counter()
            low, high = next(self.batches)
            waited = time.perf_counter() - began
            with self.shared():
                self.model.train_on_batch(low, high)
            if counted:
                self.steps += 1
                self.seconds += time.perf_counter() - began
                self.waited += waited


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of training, and its share of waiting for data.")
    parser.add_argument("folder", type=Path, nargs="?", help="footage; by default it is generated")
    parser.add_argument("--cache", type=Path, help="of decoded footage; by default a temporary folder")
    parser.add_argument("--models", default="duf-s,duf-r-s")
    parser.add_argument("--degradation", choices=PRESETS, default="bd")
    parser.add_argument("--data", default="host,device", help=f"of {', '.join(PLACES)}")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5, help="of one turn")
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    names = ("degradation", "scale", "batch", "frames", "crop", "optimizer", "precision", "gpus")
    chosen = {name: getattr(options, name) for name in names}
    with contextlib.ExitStack() as stack:
        cache = options.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.folder:
            preset = PRESETS[options.degradation]
            pairs = prepare_pairs(find_footage(options.folder), cache, options.scale, preset)
        else:
            pairs = generated(options.scale, options.degradation)
        with silence_native_stderr():
            import keras

            from vsrcli.train.device_data import device_memory

            config = TrainConfig(**chosen, steps=options.steps * options.turns)
            trainees = [
                Trainee(replace(config, model=model, data=place), pairs)
                for model in options.models.split(",")
                for place in options.data.split(",")
            ]
        for turn in range(options.turns):
            for trainee in trainees:
                trainee.turn(options.steps, counted=turn > 0)
        for trainee in trainees:
            trainee.batches.close()
    print(f"{machine()}; {keras.backend.backend()} on the {'GPU' if device_memory() else 'CPU'}")
    sizes = f"{options.batch} sequences of {options.frames} frames of {options.crop}x{options.crop}"
    print(f"x{options.scale} {options.degradation}, {sizes}, {options.optimizer}, {options.precision}")
    print(f"{'model':<12} {'data':<8} {'steps/s':>9} {'waiting':>9} {'LR pixels/s':>13}")
    for trainee in trainees:
        pace, share = trainee.steps / trainee.seconds, trainee.waited / trainee.seconds
        figures = f"{pace:9.2f} {share:9.2%} {pace * trainee.pixels:13,.0f}"
        print(f"{trainee.config.model:<12} {trainee.config.data:<8} {figures}")


if __name__ == "__main__":
    main()
