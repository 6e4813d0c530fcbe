"""Runs stopped by a signal: messages, saved frames, and resuming; and closed standard streams."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from interruptible_runs import frame_hashes, journal_content

import media_samples as media
from terminal import complete, environment, eventually, spawn
from vsrcli.system.files import workdir_for

Sample = Callable[..., Path]
# small tiles, so that a frame takes a while
COUNT = 48
SLOW = ("-m", "bicubic", "-s", "2", "-t", "16", "--overlap", "3", "-e", "preset=ultrafast", "--segment", "10")


def wait_for_segments(child: subprocess.Popen[str], target: Path, segments: int) -> None:
    """Wait until the journal has so many segments."""

    def has_segments() -> bool:
        assert child.poll() is None
        file = workdir_for(target) / "journal.json"
        return file.exists() and len(journal_content(target)["segments"]) >= segments

    eventually(has_segments, within=60)


@pytest.fixture(scope="module")
def expected(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Frames of a run that nothing stops."""
    target = tmp_path_factory.mktemp("reference") / "reference.mp4"
    assert complete(spawn("upscale", sample(media.cfr, frames=COUNT), target, *SLOW)).status == 0
    return frame_hashes(target)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_message_and_resume_after_a_signal(
    sent: signal.Signals, status: int, expected: list[str], sample: Sample, tmp_path: Path
) -> None:
    source, target = sample(media.cfr, frames=COUNT), tmp_path / "a video.mp4"
    child = spawn("upscale", source, target, *SLOW)
    wait_for_segments(child, target, 2)
    child.send_signal(sent)
    done = complete(child)
    assert done.status == status
    last = done.err.splitlines()[-1]
    saved = sum(each["frame_count"] for each in journal_content(target)["segments"])
    assert last.startswith("vsr: stopped at frame ")
    assert f"; {saved} of {COUNT} frames are saved" in last
    assert not target.exists()
    command = shlex.split(last.split("to resume: ")[1])
    assert command[0] == "vsr"
    done = complete(spawn(*command[1:]))
    assert done.status == 0, done.err
    assert f"  resuming at frame {saved} of {COUNT}" in done.err.splitlines()
    assert frame_hashes(target) == expected


def test_error_message_names_saved_frames(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    child = spawn("upscale", sample(media.cfr, frames=COUNT), target, *SLOW)
    wait_for_segments(child, target, 1)
    for ffmpeg in psutil.Process(child.pid).children():
        ffmpeg.kill()
    done = complete(child)
    done.fails(1, "SIGKILL")
    assert f" of {COUNT} frames are saved" in done.err.splitlines()[-1]
    assert "; to resume: vsr upscale " in done.err.splitlines()[-1]


def test_stderr_closed_by_its_reader(sample: Sample, tmp_path: Path) -> None:
    """``vsr ... 2>&1 | head -1`` writes the output all the same."""
    target = tmp_path / "out.mp4"
    child = spawn("upscale", sample(media.cfr, frames=24), target, *SLOW)
    assert child.stderr is not None
    child.stderr.readline()
    child.stderr.close()
    assert child.stdout is not None
    assert child.stdout.read() == ""
    child.stdout.close()
    assert child.wait(60) == 0
    assert len(frame_hashes(target)) == 24


def test_closed_standard_streams(sample: Sample, tmp_path: Path) -> None:
    """``vsr ... <&- >&- 2>&-``"""
    target = tmp_path / "out.mp4"

    def close() -> None:
        for number in range(3):
            os.close(number)

    command = [sys.executable, "-m", "vsrcli", "upscale", sample(media.cfr, frames=24), target, *SLOW]
    done = subprocess.run(command, env=environment(), preexec_fn=close, timeout=60)
    assert done.returncode == 0
    assert len(frame_hashes(target)) == 24
