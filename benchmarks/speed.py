"""How fast: networks alone against DUF-16L, and whole films against ffmpeg's own scaler.

    python benchmarks/speed.py [--models duf-s,duf-16l] [--size 160x90] [--precision fp32] [--clip FILE]

*Networks alone*: every model runs through the same engine that films run through, on the same frames, in
turns in one process, so that a busy machine is busy for all of them; the figure is the median over turns of
microseconds per low-resolution pixel, and its ratio to ``duf-16l`` (which computes its whole window of seven
frames anew for every frame, as its authors do). Names mean random weights.

*Whole films*: ``vsrcli.upscale`` and ``ffmpeg -vf scale=...:flags=lanczos``, the same clip and codec.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from setting import machine, weights_for

REFERENCE = "duf-16l"
CRF, PRESET = 18, "medium"


class Runner:
    """One model on an endless film."""

    def __init__(
        self, name: str, scale: int, size: tuple[int, int], precision: str, device: str, folder: Path
    ) -> None:
        from vsrcli.engine.keras import KerasEngine

        self.name = name
        weights = weights_for(name, scale, folder)
        self.macs = weights.architecture.macs(scale)
        self.engine = KerasEngine(weights, device=device, precision=precision)
        self.stream = self.engine.open(*size)
        self.turns: list[float] = []  # microseconds per pixel and frame

    def turn(self, frames: list[np.ndarray]) -> None:
        began = time.perf_counter()
        answers = sum(self.stream.push(frame) is not None for frame in frames)
        seconds = time.perf_counter() - began
        if self.turns or answers == len(frames):  # the first turns fill the window
            self.turns.append(seconds * 1e6 / (answers * frames[0].shape[0] * frames[0].shape[1]))


def networks(options: argparse.Namespace) -> None:
    width, height = (int(side) for side in options.size.split("x"))
    frames = list(np.random.default_rng(0).random((options.frames, height, width, 3), dtype=np.float32))
    names = list(dict.fromkeys([*options.models.split(","), REFERENCE]))
    with tempfile.TemporaryDirectory() as folder:
        place = (options.precision, options.gpu, Path(folder))
        runners = [Runner(name, options.scale, (height, width), *place) for name in names]
        for runner in runners:  # compile, and fill the windows
            for _ in range(7):
                runner.stream.push(frames[0])
        for _ in range(options.turns):
            for runner in runners:
                runner.turn(frames)
    reference = float(np.median(next(r for r in runners if r.name == REFERENCE).turns))
    turns = f"{options.turns} turns of {options.frames} frames"
    print(f"\nnetworks alone: {width}x{height} to x{options.scale}, {turns}")
    print(f"{'model':<28} {'us/pixel':>9} {'fastest':>9} {'speed-up':>9} {'multiply-adds':>14}   device")
    for runner in runners:
        median, least = float(np.median(runner.turns)), min(runner.turns)
        name = Path(runner.name).name
        figures = f"{median:9.2f} {least:9.2f} {reference / median:8.2f}x {runner.macs:14,}"
        print(f"{name:<28} {figures}   {runner.engine.description}")


def films(options: argparse.Namespace) -> None:
    from vsrcli import EncodeOptions, Options, upscale
    from vsrcli.media.ffmpeg import find_ffmpeg

    ffmpeg, scale = find_ffmpeg(), options.scale
    encode = EncodeOptions(codec="libx264", crf=CRF, preset=PRESET, pix_fmt="yuv420p", overwrite=True)
    print(
        f"\nwhole films: {options.clip.name} to x{scale}, libx264 crf {CRF} {PRESET}, ffmpeg {ffmpeg.version}"
    )
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out.mp4"
        settings = f"scale=iw*{scale}:ih*{scale}:flags=lanczos"
        command = [ffmpeg.path, "-v", "error", "-nostdin", "-y", "-i", str(options.clip), "-vf", settings]
        command += [
            "-c:v",
            "libx264",
            "-crf",
            str(CRF),
            "-preset",
            PRESET,
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "copy",
        ]
        began = time.perf_counter()
        subprocess.run([*command, str(out)], check=True)
        seconds, frames = time.perf_counter() - began, 0
        rows = [("ffmpeg lanczos", seconds)]
        for model in options.film_models.split(","):
            chosen = Options(
                Fraction(scale), model, device=options.gpu, precision=options.precision, encode=encode
            )
            began = time.perf_counter()
            frames = upscale(options.clip, out, chosen).frames
            rows.append((f"vsr {Path(model).name}", time.perf_counter() - began))
    for label, seconds in rows:
        ratio = f"{seconds / rows[0][1]:8.2f} times ffmpeg's"
        print(f"{label:<28} {seconds:8.2f} s {frames / seconds:8.2f} frames/s {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of networks and of whole films.")
    parser.add_argument("--models", default="duf-s", help="names or weight files, separated by commas")
    parser.add_argument("--size", default="160x90", help="low-resolution frame, default 160x90")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3, help="of one turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("-g", "--gpu", default="auto")
    parser.add_argument("--clip", type=Path, help="also upscale this film, beside ffmpeg")
    parser.add_argument("--film-models", default="bicubic,duf-s", help="names or weight files for --clip")
    options = parser.parse_args()
    print(machine())
    networks(options)
    if options.clip:
        films(options)


if __name__ == "__main__":
    main()
