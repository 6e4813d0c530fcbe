"""Measure shot detection: precision and recall on sequences cut together from real clips.

    python benchmarks/shots.py DATA_DIR

DATA_DIR holds clips without a cut inside (``*.mp4``, searched recursively). They are decoded at 240 pixels
wide, concatenated in a fixed shuffled order, and run through the detector:

- *plain*: every frame; *every 2nd*, *every 3rd*: the same clips at a half and a third of the frame rate,
  with two and three times the motion;
- *night*: at a quarter of the brightness;
- *flash*: every eighth frame at twice the brightness, clipped: not a cut;
- *shake*: each frame moved by up to 3 % of its width, at random;
- *punch-in*: a cut inside each clip to its own centre, enlarged 1.5 times: the hardest cut.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.frames.shots import THRESHOLD, ShotDetector

WIDTH, HEIGHT = 240, 136
LabelledFrames = Iterator[tuple[np.ndarray, bool]]


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            f.reformat(width=WIDTH, height=HEIGHT, format="rgb24", interpolation="AREA").to_ndarray()
            for f in container.decode(video=0)
        ]


def concatenate(clips: list[list[np.ndarray]], step: int = 1) -> LabelledFrames:
    for number, clip in enumerate(clips):
        for index, frame in enumerate(clip[::step]):
            yield frame, index == 0 and number > 0


def change_brightness(frames: LabelledFrames, gain: Callable[[int], float]) -> LabelledFrames:
    for index, (frame, cut) in enumerate(frames):
        yield np.clip(frame * gain(index), 0, 255).astype(np.uint8), cut


def shake(frames: LabelledFrames) -> LabelledFrames:
    rng = random.Random(1)
    amplitude = round(0.03 * WIDTH)
    for frame, cut in frames:
        y, x = rng.randint(0, amplitude), rng.randint(0, amplitude)
        yield frame[y : y + HEIGHT - amplitude, x : x + WIDTH - amplitude], cut


def punch_in(clips: list[list[np.ndarray]]) -> LabelledFrames:
    for number, clip in enumerate(clips):
        for index, frame in enumerate(clip):
            if index >= len(clip) // 2:
                y, x = HEIGHT // 6, WIDTH // 6
                frame = resize(frame[y:-y, x:-x], HEIGHT, WIDTH).clip(0, 255).astype(np.uint8)
            yield frame, index == len(clip) // 2 or (index == 0 and number > 0)


def measure(name: str, frames: LabelledFrames, threshold: float) -> None:
    detector = ShotDetector(threshold)
    hits = false = missed = count = 0
    for frame, cut in frames:
        detected = detector.is_cut(frame)
        hits += detected and cut
        false += detected and not cut
        missed += cut and not detected
        count += 1
    precision, recall = hits / max(1, hits + false), hits / max(1, hits + missed)
    print(
        f"{name:<10} {count:6} frames {hits + missed:5} cuts   precision {precision:.4f}   "
        f"recall {recall:.4f}   ({false} false, {missed} missed)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure precision and recall of shot detection.")
    parser.add_argument("data", type=Path, help="folder with clips that hold no cut")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    arguments = parser.parse_args()
    paths = sorted(arguments.data.rglob("*.mp4"))
    if not paths:
        parser.error(f"no .mp4 under {arguments.data}")
    clips = [decode(path) for path in paths]
    random.Random(0).shuffle(clips)
    print(f"{len(clips)} clips, threshold {arguments.threshold}")
    measure("plain", concatenate(clips), arguments.threshold)
    measure("every 2nd", concatenate(clips, 2), arguments.threshold)
    measure("every 3rd", concatenate(clips, 3), arguments.threshold)
    measure("night", change_brightness(concatenate(clips), lambda i: 0.25), arguments.threshold)
    measure(
        "flash",
        change_brightness(concatenate(clips), lambda i: 2.0 if i % 8 == 5 else 1.0),
        arguments.threshold,
    )
    measure("shake", shake(concatenate(clips)), arguments.threshold)
    measure("punch-in", punch_in(clips), arguments.threshold)
    frame = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    detector, start = ShotDetector(), time.perf_counter()
    for _ in range(200):
        detector.is_cut(frame)
    print(f"{(time.perf_counter() - start) * 5:.2f} ms for a 960x540 frame")


if __name__ == "__main__":
    main()
