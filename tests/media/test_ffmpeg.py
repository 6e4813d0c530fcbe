from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from vsrcli.errors import FfmpegError, SignalInterruptError
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg
from vsrcli.media.process import FFmpegProcess, describe_exit
from vsrcli.system.signals import catch_signals


def script(folder: Path, body: str) -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


def test_bundled_ffmpeg_needs_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("VSR_FFMPEG", raising=False)
    ffmpeg = find_ffmpeg()
    assert Path(ffmpeg.path).is_file()
    assert ffmpeg.release >= (6, 0)
    assert {"libx264", "libx265", "aac", "mov_text"} <= ffmpeg.encoders()
    assert {"mp4", "matroska", "webm"} <= ffmpeg.muxers()


def test_pixel_formats(ffmpeg: Ffmpeg) -> None:
    assert {"yuv420p", "yuv444p10le"} <= set(ffmpeg.pixel_formats("libx264"))
    assert ffmpeg.pixel_formats("no-such-encoder") == ()
    assert {"vaapi", "cuda", "vulkan"} <= ffmpeg.hardware_pixel_formats()
    assert "yuv420p" not in ffmpeg.hardware_pixel_formats()


@pytest.mark.parametrize("origin", ["argument", "environment"])
def test_requested_ffmpeg_is_never_replaced(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if origin == "environment":
        monkeypatch.setenv("VSR_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(FfmpegError, match=r"/nowhere/ffmpeg.*VSR_FFMPEG"):
        find_ffmpeg("/nowhere/ffmpeg" if origin == "argument" else None)


def test_requested_ffmpeg_is_used(ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_FFMPEG", ffmpeg.path)
    assert find_ffmpeg() == ffmpeg


@pytest.mark.parametrize(
    ("script_body", "problem"),
    [
        ("echo 'ffmpeg version 5.1.6 Copyright'; echo 'libavutil 57. 28.100'", "too old"),
        ("echo 'ffmpeg version N-1234-gabc Copyright'; echo 'libavutil 57. 28.100'", "too old"),
        ("echo hello", "is not ffmpeg"),
    ],
)
def test_unusable_ffmpeg(script_body: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(FfmpegError, match=problem):
        find_ffmpeg(str(script(tmp_path, script_body)))


def test_git_builds_are_identified_by_libavutil(tmp_path: Path) -> None:
    path = script(tmp_path, "echo 'ffmpeg version 2026-01-01-git-abc'; echo 'libavutil      60. 1.100'")
    assert find_ffmpeg(str(path)).release == (8, 0)


def test_much_stderr_does_not_block_the_child() -> None:
    code = "import sys\nfor i in range(50000): print('line', i, 'x' * 100, file=sys.stderr)"
    process = FFmpegProcess([sys.executable, "-c", code])
    assert process.wait() == 0
    assert process.stderr_tail().splitlines()[-1].startswith("line 49999")
    assert len(process.stderr_tail()) < 20_000


def test_stderr_tail_omits_follow_up_errors() -> None:
    messages = (
        "[libx264 @ 0x563009115340] [error] Error setting preset warp",
        "[vf#0:0 @ 0x5630090b2c40] [error] Error sending frames to consumers: Invalid argument",
        "[vf#0:0 @ 0x5630090b2c40] [error] Terminating thread with return code -22 (Invalid argument)",
    )
    process = FFmpegProcess(
        [sys.executable, "-c", f"import sys; print({chr(10).join(messages)!r}, file=sys.stderr)"]
    )
    assert process.wait() == 0
    assert process.stderr_tail() == "[libx264] [error] Error setting preset warp"
    process = FFmpegProcess([sys.executable, "-c", f"import sys; print({messages[2]!r}, file=sys.stderr)"])
    assert process.wait() == 0
    assert (
        process.stderr_tail() == "[vf#0:0] [error] Terminating thread with return code -22 (Invalid argument)"
    )


def test_kill_reaps_and_is_idempotent() -> None:
    process = FFmpegProcess([sys.executable, "-c", "import time; time.sleep(600)"], stdin=True, stdout=True)
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)  # Ctrl-C is not for it
    assert os.getsid(process.pid) == os.getsid(0)  # but niceness is
    process.kill()
    process.kill()
    assert not psutil.pid_exists(process.pid)


def test_signal_during_start_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not interrupt the start between fork and return, when no reference exists yet."""
    start, pids = subprocess.Popen.__init__, []

    def interrupted_start(child: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        start(child, *arguments, **options)
        pids.append(child.pid)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess.Popen, "__init__", interrupted_start)
    with catch_signals():
        process = FFmpegProcess([sys.executable, "-c", "import time; time.sleep(600)"], stdin=True)
        with pytest.raises(SignalInterruptError):
            process.wait()
    assert pids == [process.pid]
    assert not psutil.pid_exists(process.pid)
    process.kill()


SLEEP = "import time; time.sleep(600)"


def test_stalled_read_kills_the_child() -> None:
    process = FFmpegProcess([sys.executable, "-c", SLEEP], stdout=True, stall_timeout=0.5)
    assert process.stdout.read(1) == b""
    assert process.describe_exit(process.wait()) == "made no progress for 0.5 seconds"
    process.kill()


def test_stalled_write_kills_the_child() -> None:
    process = FFmpegProcess([sys.executable, "-c", SLEEP], stdin=True, stall_timeout=0.5)
    with pytest.raises(OSError, match="pipe"):
        process.stdin.write(bytes(1 << 20))
    assert "made no progress" in process.describe_exit(process.wait())
    process.kill()


def test_stalled_wait_kills_the_child() -> None:
    process = FFmpegProcess([sys.executable, "-c", SLEEP], stdin=True, stall_timeout=0.5)
    assert "made no progress" in process.describe_exit(process.wait())


def test_progress_prevents_stall_timeout() -> None:
    progress = iter(range(10**6))
    slow = FFmpegProcess(
        [sys.executable, "-c", "import time; time.sleep(1.5)"],
        progress_marker=lambda: next(progress),
        stall_timeout=0.5,
    )
    assert slow.describe_exit(slow.wait()) == "exit status 0"


def test_no_stall_timeout_without_a_wait() -> None:
    process = FFmpegProcess(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=True, stall_timeout=0.3
    )
    time.sleep(1)  # the network is busy
    assert process.describe_exit(process.wait()) == "exit status 0"


def test_describe_exit() -> None:
    assert describe_exit(1) == "exit status 1"
    assert describe_exit(-9) == "killed by SIGKILL"
