"""``vsr bench``: its figures agree with each other, and no file remains. Their size is not tested."""

from __future__ import annotations

import json
import math
import mmap
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.bench import benchmark
from vsrcli.bench.benchmark import MemoryFigures, RunFigures, StageClock, median_run
from vsrcli.bench.peak_memory import PeakMemory, generate_test_clip
from vsrcli.errors import UsageError
from vsrcli.media.probe import probe
from vsrcli.models.architectures import MODEL_PRESETS
from vsrcli.pipeline.options import Options

Vsr = Callable[..., Outcome]
MEASUREMENTS = ("network", "decoded", "encoded")


def test_figures_agree(vsr: Vsr, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path, "cached")
    run = vsr(
        "bench",
        "-m",
        weights,
        "-s",
        "2",
        "--size",
        "64x48",
        "--frames",
        "9",
        "-g",
        "cpu",
        "--json",
        "--precision",
        "fp32",
    )
    assert run.status == 0, run.err
    assert [line for line in run.err.splitlines() if line.startswith("measuring: ")] == [
        "measuring: the model alone",
        "measuring: from the video to nowhere",
        "measuring: from the video to a video",
    ]
    report = json.loads(run.out)
    assert (report["schema"], report["model"], report["scale"]) == (2, "duf-s-x2-video", 2.0)
    assert (report["width"], report["height"], report["runs"]) == (64, 48, 1)
    assert (report["strength"], report["keep_color"]) == (1.0, False)
    assert (report["precision"], report["device"], report["encoder"]) == ("fp32", "cpu", "libx264")
    assert report["engine"].startswith("duf-s-x2-video on CPU")
    for name in MEASUREMENTS:
        figures = report[name]
        assert figures["frames"] == 9
        assert math.isclose(figures["fps"], 9 / figures["seconds"])
        assert math.isclose(figures["us_per_pixel"], 1e6 * figures["seconds"] / (9 * 64 * 48))
        ratio = report["network"]["multiply_adds_per_second"] / report["network"]["fps"]
        assert math.isclose(figures["multiply_adds_per_second"] / figures["fps"], ratio)
        memory = figures["memory"]
        assert 0 < memory["process"] <= memory["total"] <= memory["process"] + memory["children"]
    assert report["network"]["shares"] is None
    for name in MEASUREMENTS[1:]:
        shares = report[name]["shares"]
        assert list(shares) == ["decode", "network", "encode", "other"]
        assert math.isclose(sum(shares.values()), 1, abs_tol=1e-6)
        assert all(share >= 0 for share in shares.values())
        assert shares["network"] > 0
    assert report["decoded"]["shares"]["encode"] == 0
    assert report["encoded"]["shares"]["encode"] > 0


def test_memory_of_ffmpeg(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    class PeakMemoryWithChild(PeakMemory):
        """Adds a child process: the encoder of so small a video may exit between two samples."""

        def __exit__(self, *error: object) -> None:
            super().__exit__(None, None, None)
            self.children += 7 * 2**20

    monkeypatch.setattr(benchmark, "PeakMemory", PeakMemoryWithChild)
    arguments = ("bench", "-m", "lanczos", "-s", "2", "--size", "64x48", "--frames", "9")
    assert json.loads(vsr(*arguments, "--json").out)["encoded"]["memory"]["children"] >= 7 * 2**20


def test_input_video(vsr: Vsr, sample: Callable[..., Path], tmp_path: Path) -> None:
    path = sample(media.cfr, frames=24)
    before = sorted(path.parent.iterdir())
    run = vsr("bench", "--input", path, "-m", "lanczos", "-s", "1.5", "--seconds", "0.5", "--runs", "2", "-q")
    assert (run.status, run.err) == (0, "")
    assert "lanczos interpolation on CPU" in run.out
    assert "64x48 x1.5, whole frames, 12 frames, median of 2" in run.out
    for text in ("frames a second", "waits for the encoder", "memory at the peak", "alone", "to libx264"):
        assert text in run.out
    assert sorted(path.parent.iterdir()) == before


def test_preset_selects_network_and_effort(vsr: Vsr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured: list[Options] = []

    def measure(source: Path, folder: Path, options: Options, **arguments: object) -> None:
        measured.append(options)
        raise UsageError("that is enough")

    monkeypatch.setattr(benchmark, "measure", measure)
    for selection in (("--preset", "fast"), (), ("-m", "duf-s")):
        vsr("bench", *selection, "--size", "16x16", "--frames", "2")
    assert [(each.model, each.encode.effort) for each in measured] == [
        (MODEL_PRESETS["fast"], "fast"),
        (MODEL_PRESETS["balanced"], "balanced"),
        ("duf-s", "balanced"),
    ]
    run = vsr("bench", "--preset", "fast", "-m", "duf-s")
    assert run.status == 2
    assert "both choose the network" in run.err


def test_strength_and_colour(vsr: Vsr, tmp_path: Path) -> None:
    line = ("bench", "-s", "2", "--size", "64x48", "--frames", "5", "-g", "cpu", "-q")
    weights = tiny_weights(tmp_path, "cached")
    report = json.loads(vsr(*line, "-m", weights, "--strength", "0.5", "--keep-color", "--json").out)
    assert (report["model"], report["strength"], report["keep_color"]) == ("duf-s-x2-video", 0.5, True)
    plain = vsr(*line, "-m", "bicubic", "--strength", "0.5").out
    assert "strength 0.5, but for the network alone" in plain
    report = json.loads(vsr(*line, "-m", weights, "--strength", "0", "--json").out)
    assert (report["model"], report["strength"], report["keep_color"]) == ("lanczos-x2", 0, False)


@pytest.mark.parametrize(
    ("arguments", "message_parts"),
    [
        ("--size 10x10", ["--size", "10x10"]),
        ("--size large", ["--size", "640x360"]),
        ("--frames 0", ["--frames"]),
        ("--seconds 0", ["--seconds"]),
        ("--frames 3 --seconds 3", ["--frames", "--seconds"]),
        ("--runs 0", ["--runs"]),
        ("--input missing.mp4", ["missing.mp4"]),
        ("--precision fp8", ["--precision"]),
        ("--scale 9", ["--scale", "9"]),
        ("--strength 2", ["--strength", "2"]),
        ("--max-memory 1M -m bicubic --frames 1 --size 32x32 -q", ["--max-memory 1.0 MiB is too little"]),
        ("extra", ["extra"]),
    ],
)
def test_invalid_arguments(arguments: str, message_parts: list[str], vsr: Vsr) -> None:
    vsr("bench", *arguments.split()).fails(2, *message_parts)


def test_size_with_input_video(vsr: Vsr, sample: Callable[..., Path]) -> None:
    vsr("bench", "--input", sample(media.cfr), "--size", "64x64").fails(2, "--size", "--input")


def test_generate_test_clip(tmp_path: Path) -> None:
    for width, height in ((64, 48), (65, 33)):
        video = probe(generate_test_clip(tmp_path / f"{width}.mp4", width, height, 5, rate=25)).video
        assert (video.width, video.height, video.frame_count, video.frame_rate) == (width, height, 5, 25)


def test_median_run() -> None:
    def figures(fps: float, total: int) -> RunFigures:
        return RunFigures(10, 10 / fps, 0.0, fps, 1.0, 0.0, None, MemoryFigures(total, total, 0))

    result = median_run([figures(3.0, 5), figures(1.0, 9), figures(2.0, 7)])
    assert (result.fps, result.memory.total) == (2.0, 9)


def test_shares_exclude_the_start() -> None:
    clock = StageClock()
    clock.seconds.update(start=10.0, decode=1.0, network=6.0, encode=2.0)
    assert clock.shares(20.0) == pytest.approx({"decode": 0.1, "network": 0.6, "encode": 0.2, "other": 0.1})


def test_peak_memory() -> None:
    size = 256 * 2**20
    code = "import sys; data = b'x' * int(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        data = mmap.mmap(-1, size)  # the allocator may have freed memory left
        np.frombuffer(data, np.uint8)[:] = 1
        command = [sys.executable, "-c", code, str(size)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            deadline = time.monotonic() + 20
            while peak.children < size and time.monotonic() < deadline:
                time.sleep(0.01)
            child.communicate("")
        data.close()
    assert peak.children >= size
    assert peak.process >= before.process + size * 0.8  # other memory may have been returned
    assert peak.total >= before.process + 1.9 * size


def test_shares_add_up_where_stages_overlap() -> None:
    """The decoder may be waited for while the network starts."""
    clock = StageClock()
    clock.seconds.update(start=2.0, decode=1.5, network=1.0)
    assert clock.shares(4.0) == pytest.approx({"decode": 0.6, "network": 0.4, "encode": 0, "other": 0})
    assert clock.shares(7.0) == pytest.approx({"decode": 0.3, "network": 0.2, "encode": 0, "other": 0.5})
