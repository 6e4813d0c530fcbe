"""Stopped from outside: by the user, by the system, or because an ffmpeg dies."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import media_samples as media
from terminal import complete, eventually, is_alive, read_until, spawn

# so many small tiles that the video takes far longer than the test
SLOW = ("-m", "bicubic", "-t", "16", "--overlap", "3", "--crf", "1", "-e", "preset=ultrafast")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.cfr(tmp_path_factory.mktemp("long"), frames=2000, audio=False)


@pytest.fixture
def running(long_video: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run that has begun to write ``tmp_path/out.mp4``, and what it has printed so far."""
    child = spawn("upscale", long_video, tmp_path / "out.mp4", *SLOW)
    try:
        stderr = read_until(child, "engine:")
        eventually(lambda: any(path.stat().st_size for path in tmp_path.glob(".out.mp4.vsr/.*.part.mov")))
        yield child, stderr
    finally:
        child.kill()
        child.communicate()


def ffmpegs(child: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The child's own children: which one decodes, which one encodes."""
    found = psutil.Process(child.pid).children()
    return {"decoder" if "pipe:1" in each.cmdline() else "encoder": each for each in found}


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(
    sent: signal.Signals, status: int, running: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    child, stderr = running
    helpers = ffmpegs(child)
    assert set(helpers) == {"decoder", "encoder"}
    child.send_signal(sent)
    done = complete(child, stderr=stderr)
    assert (done.status, done.out) == (status, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("vsr: stopped at frame ")
    assert last.endswith(f"; nothing was written at {tmp_path / 'out.mp4'}")
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: not any(is_alive(helper) for helper in helpers.values()))


@pytest.mark.parametrize("victim", ["decoder", "encoder"])
def test_an_ffmpeg_that_dies(
    victim: str, running: tuple[subprocess.Popen[str], str], tmp_path: Path, long_video: Path
) -> None:
    child, stderr = running
    ffmpegs(child)[victim].kill()
    done = complete(child, stderr=stderr)
    done.fails(1, "SIGKILL", long_video.name if victim == "decoder" else "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's")
def test_a_file_that_may_not_grow(running: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    """As near to a full disk as a test may come."""
    child, stderr = running
    resource.prlimit(ffmpegs(child)["encoder"].pid, resource.RLIMIT_FSIZE, (1, 1))
    complete(child, stderr=stderr).fails(1, "out.mp4", "full disk")
    assert list(tmp_path.iterdir()) == []


def test_nohup_is_respected(sample: Callable[..., Path], tmp_path: Path) -> None:
    """A signal that was ignored when the program began stays ignored."""
    from vsrcli.system.signals import catch_signals

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with catch_signals() as received:
            signal.raise_signal(signal.SIGTERM)
        assert received.signum == 0
    finally:
        signal.signal(signal.SIGTERM, before)
