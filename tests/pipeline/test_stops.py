"""Stopped by a signal: what is said, what is kept, and how it goes on."""

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
from interruptible_runs import frame_hashes, journal

import media_samples as media
from terminal import complete, environment, eventually, goes_on, read_until, spawn
from vsrcli.system.files import workdir_for

Sample = Callable[..., Path]
# small tiles, so that a frame takes a while
SLOW = ("-m", "bicubic", "-s", "2", "-t", "16", "--overlap", "3", "-e", "preset=ultrafast", "--segment", "10")


def until_kept(child: subprocess.Popen[str], target: Path, segments: int) -> None:
    """Wait until so many segments are in the journal."""

    def there() -> bool:
        assert child.poll() is None
        file = workdir_for(target) / "journal.json"
        return file.exists() and len(journal(target)["segments"]) >= segments

    eventually(there, within=60)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_said_and_how_it_goes_on(
    sent: signal.Signals, status: int, sample: Sample, tmp_path: Path
) -> None:
    source, whole, target = sample(media.cfr, frames=60), tmp_path / "whole.mp4", tmp_path / "a film.mp4"
    child = spawn("upscale", source, target, *SLOW)
    until_kept(child, target, 2)
    child.send_signal(sent)
    done = complete(child)
    assert done.status == status
    last = done.err.splitlines()[-1]
    kept = sum(each["frame_count"] for each in journal(target)["segments"])
    assert last.startswith("vsr: stopped at frame ")
    assert f"; {kept} of 60 frames are kept" in last
    assert not target.exists()
    command = shlex.split(last.split("to go on: ")[1])
    assert command[0] == "vsr"
    done = complete(spawn(*command[1:]))
    assert done.status == 0, done.err
    assert f"  resuming at frame {kept} of 60" in done.err.splitlines()
    assert complete(spawn("upscale", source, whole, *SLOW)).status == 0
    assert frame_hashes(target) == frame_hashes(whole)


def test_an_error_says_what_is_kept(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    child = spawn("upscale", sample(media.cfr, frames=60), target, *SLOW)
    until_kept(child, target, 1)
    for helper in psutil.Process(child.pid).children():
        helper.kill()
    done = complete(child)
    done.fails(1, "SIGKILL")
    assert " of 60 frames are kept" in done.err.splitlines()[-1]
    assert "; to go on: vsr upscale " in done.err.splitlines()[-1]


BUSY = """
import hashlib, sys, threading
from vsrcli.system.signals import catch_signals
from vsrcli.errors import SignalInterruptError
from vsrcli.media.process import FFmpegProcess
helper = FFmpegProcess(["sleep", "600"])
try:
    with catch_signals():
        threading.Timer(0.5, lambda: print(helper.pid, file=sys.stderr, flush=True)).start()
        hashlib.pbkdf2_hmac("sha512", b"a", b"b", 10**9)  # minutes in native code, as a large frame may be
except SignalInterruptError:
    print("stopped", file=sys.stderr)
"""


def test_the_second_time_leaves_at_once() -> None:
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY], env=environment(), stdout=pipe, stderr=pipe, text=True
    )
    helper = psutil.Process(int(read_until(child, "\n")))
    child.send_signal(signal.SIGINT)
    assert "stopping as soon as" in read_until(child, "Ctrl-C again leaves at once")
    child.send_signal(signal.SIGINT)
    done = complete(child, timeout=10)
    assert (done.status, done.out, done.err) == (130, "", "")
    eventually(lambda: not goes_on(helper))


def test_the_same_signal_passed_on_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from vsrcli.errors import SignalInterruptError
    from vsrcli.system.signals import catch_signals

    left: list[int] = []

    def twice() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SignalInterruptError), catch_signals(force_exit=left.append):
        twice()
    assert left == []


def test_nobody_reads_the_messages(sample: Sample, tmp_path: Path) -> None:
    """``vsr ... 2>&1 | head -1`` makes the film all the same."""
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


def test_closed_files(sample: Sample, tmp_path: Path) -> None:
    """``vsr ... <&- >&- 2>&-``"""
    target = tmp_path / "out.mp4"

    def close() -> None:
        for number in range(3):
            os.close(number)

    command = [sys.executable, "-m", "vsrcli", "upscale", sample(media.cfr, frames=24), target, *SLOW]
    done = subprocess.run(command, env=environment(), preexec_fn=close, timeout=60)
    assert done.returncode == 0
    assert len(frame_hashes(target)) == 24
