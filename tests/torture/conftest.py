"""A video with three shots, tiny networks, and a check that no ffmpeg process is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import media_samples as media
from tiny_networks import tiny_weights


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """Fail a test that leaves an ffmpeg process."""
    yield
    remaining = [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()]
    assert remaining == []


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots, 40 frames, B-frames and audio; segments end at shot boundaries and between them."""
    path = tmp_path_factory.mktemp("video") / "three shots.mp4"
    shots = (("testsrc2", 17), ("mandelbrot", 11), ("smptehdbars", 12))
    inputs = [
        argument for source, frames in shots for argument in media.moving_pattern(frames, source=source)
    ]
    media.run_ffmpeg(
        *inputs, *media.sine_tone(40 * 1001 / 24000), "-filter_complex", "[0:v][1:v][2:v]concat=n=3:v=1[v]",
        "-map", "[v]", "-map", "3:a", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-g", "9",
        "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weight files of tiny random networks, by kind."""
    folder = tmp_path_factory.mktemp("weights")
    return {kind: tiny_weights(folder, kind) for kind in ("cached", "recurrent")}
