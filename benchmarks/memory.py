"""Measure peak memory: of a video and a longer one, of a network at several tile sizes, of whole runs.

    python benchmarks/memory.py CLIP [--model duf-s] [--times 20]
    python benchmarks/memory.py --tiles 64,96,128 [--network duf-s,duf-16l]
    python benchmarks/memory.py --runs 1920x1080 [--max-memory 4G] [--network duf-s,duf-16l] [-s 2]

*Videos*: the longer video repeats the clip (``ffmpeg -stream_loop``, packets copied). Each run is a process
that reports its own peak (VmHWM), so neither ffmpeg's processes nor this one count. Bounded memory means a
ratio near 1.

*Tiles*: the peak of a process that upscales frames of one size, above its memory before the first frame; per
low-resolution pixel this is ``bytes_per_pixel`` of ``vsrcli.models.architectures``; *marginal* is per pixel
added since the previous size. Names of networks mean random weights.

*Runs*: ``vsr upscale`` on a generated video, measured from outside together with its ffmpeg processes, and
the estimate (``vsrcli.pipeline.memory``). Names of networks mean random weights; ``bicubic`` measures ffmpeg,
given enough frames to fill an encoder's queues (60).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

MIB = 2**20
FRAMES = 9  # pushed at each tile size, enough to fill a window

VIDEO = """
import sys
from fractions import Fraction
from vsrcli import EncodeOptions, Options, upscale
sys.path.insert(0, {here!r})
from memory import peak_rss
source, target, model, scale, device = sys.argv[1:]
encode = EncodeOptions(preset="ultrafast", overwrite=True)
options = Options(Fraction(scale), model, device=device, encode=encode)
result = upscale(source, target, options)
print("MEASURED", peak_rss(), result.frames, f"{{result.seconds:.2f}}")
"""

TILE = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, {here!r})
from memory import FRAMES, reset_peak, peak_rss
from common import weights_for
model, scale, device, precision, engine, side = sys.argv[1:]
import numpy as np, psutil
from vsrcli.inference.selection import ModelChoice, open_engine
with tempfile.TemporaryDirectory() as folder:
    weights = weights_for(model, int(scale), Path(folder))
    choice = ModelChoice(weights.architecture, weights, int(scale))
    engine = open_engine(choice, device=device, precision=precision, engine=engine)
    engine.open(16, 16)
    engine.open(int(side), int(side))  # compiled while the weight file exists
small = engine.open(16, 16)
frame = np.random.default_rng(0).random((int(side), int(side), 3), dtype=np.float32)
for _ in range(FRAMES):
    small.push(frame[:16, :16])  # threads and libraries start here, not below
reset_peak()
before = psutil.Process().memory_info().rss
stream = engine.open(int(side), int(side))
for _ in range(FRAMES):
    stream.push(frame)
print("MEASURED", peak_rss() - before)
"""


def peak_rss() -> int:
    """Return the largest resident set of this process so far, in bytes.

    From ``/proc``, since ``ru_maxrss`` on Linux starts at the parent's size at the fork.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Reset the peak where the kernel supports it: loading a network may take more than using it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def run_measured(program: str, *arguments: str) -> list[str]:
    """Run a program in a new process; return the words that it prints after MEASURED."""
    code = program.format(here=str(Path(__file__).resolve().parent))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("MEASURED")), None)
    if done.returncode or line is None:
        raise SystemExit(f"the measured process failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    return line.split()[1:]


def repeat_clip(clip: Path, times: int, target: Path) -> None:
    """Write the clip ``times`` times in sequence, without re-encoding."""
    from vsrcli.media.ffmpeg import find_ffmpeg

    command = [
        find_ffmpeg().path,
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-stream_loop",
        str(times - 1),
        "-i",
        str(clip),
    ]
    subprocess.run([*command, "-map", "0:v:0", "-map", "0:a?", "-c", "copy", str(target)], check=True)


def measure_videos(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        longer = folder / f"longer{options.clip.suffix}"
        repeat_clip(options.clip, options.times, longer)
        print(f"\nvideos: {options.clip.name}, {options.model}, x{options.scale}, peak of the process itself")
        peaks = []
        for label, source in (("once", options.clip), (f"{options.times} times", longer)):
            target = folder / "out.mkv"
            peak, frames, seconds = run_measured(
                VIDEO, str(source), str(target), options.model, str(options.scale), options.gpu
            )
            target.unlink()
            peaks.append(int(peak))
            print(f"{label:<10} {int(frames):7} frames {float(seconds):9.2f} s {int(peak) / MIB:9.1f} MiB")
        print(f"ratio      {peaks[1] / peaks[0]:.3f}")


def measure_tiles(options: argparse.Namespace) -> None:
    print(f"\ntiles: x{options.scale}, {FRAMES} frames each, peak above the start")
    print(f"{'network':<28} {'tile':>6} {'MiB':>9} {'bytes/pixel':>12} {'marginal':>12}")
    for network in options.network.split(","):
        previous: tuple[int, int] | None = None  # pixels and peak of the previous size
        for side in (int(part) for part in options.tiles.split(",")):
            arguments = (network, str(options.scale), options.gpu, options.precision)
            arguments += (options.engine, str(side))
            peak = int(run_measured(TILE, *arguments)[0])
            marginal = (
                f"{(peak - previous[1]) / (side**2 - previous[0]):12.0f}"
                if previous and side**2 > previous[0]
                else ""
            )
            print(f"{Path(network).name:<28} {side:6} {peak / MIB:9.1f} {peak / side**2:12.0f} {marginal}")
            previous = (side**2, peak)


def measure_runs(options: argparse.Namespace) -> None:
    from common import Table, generate_video, weights_for

    from vsrcli import Options, prepare_job
    from vsrcli.bench.peak_memory import PeakMemory
    from vsrcli.cli.types import SizeParam
    from vsrcli.models.architectures import ARCHITECTURES

    limit = SizeParam().convert(options.max_memory, None, None) if options.max_memory else None
    table = Table(
        ["network", "tiles", "burst", "estimated MiB", "total MiB", "vsr MiB", "ffmpeg MiB", "frames", "s"],
        markdown=options.markdown,
    )
    for size in options.runs.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = generate_video(size, options.frames, folder)
            print(f"\nruns: {source.name} x{options.scale}, --max-memory {options.max_memory or 'not set'}")
            for network in options.network.split(","):
                interpolates = network in ARCHITECTURES and ARCHITECTURES[network].module is None
                model = network if interpolates else str(weights_for(network, options.scale, folder).path)
                target = folder / f"{Path(model).name}.mkv"
                job = prepare_job(source, target, Options(Fraction(options.scale), model, max_memory=limit))
                line = [
                    sys.executable,
                    "-m",
                    "vsrcli",
                    "upscale",
                    str(source),
                    str(target),
                    "-q",
                    "-y",
                    "-m",
                    model,
                ]
                line += ["-s", str(options.scale), "-g", options.gpu, *extra_options(options)]
                started = time.perf_counter()
                child = subprocess.Popen(line)
                with PeakMemory(child.pid) as peak:
                    if child.wait():
                        raise SystemExit(f"vsr ended with status {child.returncode}")
                seconds = time.perf_counter() - started
                tiles = f"{len(job.tiles)} of {job.tiles.tile_width}x{job.tiles.tile_height}"
                peaks = (job.memory_estimate().total, peak.total, peak.process, peak.children)
                cells = [f"{size_bytes / MIB:.0f}" for size_bytes in peaks]
                table.row(
                    Path(network).name, tiles, job.tiles.burst, *cells, options.frames, f"{seconds:.0f}"
                )
    table.print()


def extra_options(options: argparse.Namespace) -> list[str]:
    """Return the options that are passed on to ``vsr upscale``."""
    passed = {
        "--max-memory": options.max_memory,
        "--engine": options.engine,
        "--precision": options.precision,
    }
    return [word for name, value in passed.items() if value for word in (name, value)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure peak memory of videos, tiles and whole runs.")
    parser.add_argument("clip", type=Path, nargs="?", help="a video of a few seconds")
    parser.add_argument("-m", "--model", default="duf-s", help="name or weight file for CLIP")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--tiles", help="sides in low-resolution pixels, separated by commas")
    parser.add_argument(
        "--network", default="duf-s", help="names or weight files for --tiles, separated by commas"
    )
    parser.add_argument("--runs", metavar="WxH,...", help="frame sizes of videos to generate and upscale")
    parser.add_argument("--max-memory", metavar="SIZE", help="for --runs")
    parser.add_argument("--frames", type=int, default=8, help="for --runs")
    parser.add_argument("--engine", default="auto", help="for --tiles and --runs")
    parser.add_argument("--markdown", action="store_true", help="the table of --runs in Markdown")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("-g", "--gpu", default="auto")
    options = parser.parse_args()
    if options.clip is None and options.tiles is None and options.runs is None:
        parser.error("name a CLIP, or sizes with --tiles or --runs")
    from common import machine

    print(machine())
    if options.clip:
        measure_videos(options)
    if options.tiles:
        measure_tiles(options)
    if options.runs:
        measure_runs(options)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
